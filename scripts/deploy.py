"""Deploy the Ethereum HTLC: `ape run deploy --network ethereum:sepolia:node --account NAME`.

Through the standard deterministic deployer (CREATE2), so the address is the same on every chain; checks the
code by its hash; writes contracts/ethereum/deployments/NETWORK.json, which the relayer's config names.
Running it again where the contract is already there only writes the record. docs/chains/evm.md walks
through it.
"""

import sys
from pathlib import Path
from typing import Any

import click
from ape import chain, networks
from ape.cli import ConnectedProviderCommand, account_option
from eth_hash.auto import keccak

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # ape imports this file by itself

from relayers.evm import artifacts

DEPLOYMENTS = Path(__file__).resolve().parent.parent / "contracts" / "ethereum" / "deployments"


def deploy(account: Any, record_folder: Path = DEPLOYMENTS) -> artifacts.Deployment:
    """Deploy with an ape account on the connected network, verify, write the record and return it."""
    provider = networks.provider
    network = f"{networks.ecosystem.name}-{networks.network.name}"
    path = record_folder / f"{network}.json"
    address = artifacts.deployed_address()
    transaction, block = None, None
    if not provider.get_code(address):
        if not provider.get_code(artifacts.DEPLOYER):
            raise click.ClickException(
                f"{network} has no deterministic deployer at {artifacts.DEPLOYER}: it must be put there first"
                " (github.com/Arachnid/deterministic-deployment-proxy)"
            )
        receipt = account.transfer(artifacts.DEPLOYER, value=0, data=artifacts.deployment_calldata())
        transaction, block = receipt.txn_hash, receipt.block_number
    code = bytes(provider.get_code(address))
    if keccak(code) != artifacts.load().runtime_keccak:
        raise click.ClickException(f"the code at {address} on {network} is not RainbowHtlc of this version")
    if block is None:
        known = artifacts.read_deployment(path) if path.exists() else None
        transaction = known.transaction if known else None
        # Without a record of its creation, logs are looked for from the start.
        block = known.block if known else 0
    record = artifacts.Deployment(
        network=network,
        chain_id=chain.chain_id,
        address=address,
        block=block,
        transaction=transaction,
        runtime_keccak="0x" + artifacts.load().runtime_keccak.hex(),
    )
    artifacts.write_deployment(path, record)
    return record


@click.command(cls=ConnectedProviderCommand)
@account_option()
def cli(account: Any) -> None:
    """Deploy the Ethereum HTLC and write its deployment record."""
    record = deploy(account)
    done = f"in block {record.block}" if record.transaction else "before"
    click.echo(f"RainbowHtlc on {record.network}: {record.address}, deployed {done}, code verified")
