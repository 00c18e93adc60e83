"""Try the deployed HTLC: `ape run smoke --network ethereum:sepolia:node --account NAME`.

Locks a few wei for the account itself and claims them, locks again and refunds at the deadline, and checks
logs and balances on the way. Needs a deployment record (`ape run deploy`); costs gas only.
"""

import secrets
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
from ape import chain, networks
from ape.cli import ConnectedProviderCommand, account_option

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # ape imports this file by itself

from relayers.evm import artifacts, htlc
from scripts.deploy import DEPLOYMENTS

AMOUNT = 1000  # wei


class Smoke:
    """One account that locks for itself."""

    def __init__(self, account: Any, record: artifacts.Deployment) -> None:
        self.account = account
        self.record = record

    def send(self, what: str, call: htlc.Call) -> htlc.HtlcLog:
        """One transaction to the HTLC; returns its log."""
        receipt = self.account.transfer(self.record.address, value=call.value, data=call.data)
        logs = [htlc.decode_log(log) for log in receipt.logs if log["address"] == self.record.address]
        (log,) = [log for log in logs if log is not None]
        click.echo(f"{what}: {receipt.gas_used:,} gas, {receipt.txn_hash}")
        return log

    def lock(self, seconds: int) -> tuple[htlc.EvmLockTerms, bytes]:
        preimage = secrets.token_bytes(32)
        terms = htlc.EvmLockTerms(
            sender=str(self.account.address),
            recipient=str(self.account.address),
            token=htlc.COIN,
            amount=AMOUNT,
            hashlock=sha256(preimage).digest(),
            deadline=chain.pending_timestamp + seconds,
        )
        if self.send("lock", htlc.encode_lock(terms)) != htlc.Locked(terms):
            raise click.ClickException("the Locked log does not say what was locked")
        self.expect_open(terms, True)
        return terms, preimage

    def expect_open(self, terms: htlc.EvmLockTerms, expected: bool) -> None:
        slot = htlc.storage_slot(self.record.chain_id, self.record.address, terms)
        value = networks.provider.get_storage(self.record.address, int.from_bytes(slot, "big"))
        is_open = htlc.slot_is_open(self.record.chain_id, self.record.address, terms, bytes(value))
        if is_open != expected:
            raise click.ClickException(f"the lock is {'open' if is_open else 'not open'}, which is wrong")

    def lock_id(self, terms: htlc.EvmLockTerms) -> bytes:
        return htlc.lock_id(self.record.chain_id, self.record.address, terms)

    def run(self, wait: int) -> None:
        terms, preimage = self.lock(3600)
        claimed = self.send("claim", htlc.encode_claim(terms, preimage))
        if claimed != htlc.Claimed(self.lock_id(terms), preimage):
            raise click.ClickException("the Claimed log does not say what was claimed")
        self.expect_open(terms, False)
        terms, _ = self.lock(wait)
        self.wait_for(terms.deadline)
        if self.send("refund", htlc.encode_refund(terms)) != htlc.Refunded(self.lock_id(terms)):
            raise click.ClickException("the Refunded log does not say what was refunded")
        self.expect_open(terms, False)

    def wait_for(self, deadline: int) -> None:
        if networks.network.is_dev:
            chain.pending_timestamp = deadline
            return
        click.echo(f"waiting for the deadline, {max(0, deadline - int(time.time()))} s")
        while chain.blocks.head.timestamp < deadline:
            time.sleep(5)


def smoke(account: Any, record_path: Path | None = None, wait: int = 90) -> None:
    """Lock, claim, lock, refund with an ape account on the connected network."""
    network = f"{networks.ecosystem.name}-{networks.network.name}"
    path = record_path or DEPLOYMENTS / f"{network}.json"
    try:
        record = artifacts.read_deployment(path)
    except artifacts.DeploymentError as error:
        raise click.ClickException(str(error)) from error
    Smoke(account, record).run(wait)
    click.echo("locked, claimed and refunded as it should be")


@click.command(cls=ConnectedProviderCommand)
@account_option()
@click.option("--wait", default=90, show_default=True, help="Seconds to the deadline of the refunded lock.")
def cli(account: Any, wait: int) -> None:
    """Lock, claim and refund a few wei on the deployed HTLC."""
    smoke(account, wait=wait)
