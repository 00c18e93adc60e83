"""`python -m relayers.stellar.deploy`: put the committed contract on a network; what is there stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from stellar_sdk import Keypair
from stellar_sdk import Network as StellarNetwork

from bridge.chains.errors import PortError
from bridge.chains.network import Network
from bridge.keys.keystore import KeystoreError, find_password, load
from bridge.protocol.types import Asset, ChainId
from relayers.stellar.deploying import contract_address, deploy
from relayers.stellar.rpc import ask, open_rpc
from relayers.stellar.settings import DECIMALS, XLM

PASSPHRASES = {
    Network.MAIN: StellarNetwork.PUBLIC_NETWORK_PASSPHRASE,
    Network.TEST: StellarNetwork.TESTNET_NETWORK_PASSPHRASE,
    Network.DEV: StellarNetwork.STANDALONE_NETWORK_PASSPHRASE,
}
_CHAIN = ChainId("stellar")
_PATIENCE = 30.0
"""Seconds for one request."""

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def main(
    rpc: Annotated[str, typer.Option(help="URL of a Stellar RPC of the network.")],
    keystore: Annotated[Path, typer.Option(help="The deployer's keystore; its account pays.")],
    network: Annotated[Network, typer.Option(help="Which network the RPC must serve.")] = Network.TEST,
    asset: Annotated[
        list[str] | None, typer.Option(help="CODE:ISSUER, to deploy its asset contract too.")
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="Holds the keystore's password.")] = None,
) -> None:
    """Upload the code, make the contract, and the asset contracts of XLM and the given assets."""
    assets = [XLM, *(Asset(_CHAIN, each.partition(":")[0], DECIMALS, each) for each in asset or ())]
    passphrase = PASSPHRASES[network]
    try:
        seed = load(keystore, find_password(password_file), network.value)
        key = Keypair.from_raw_ed25519_seed(seed.reveal())
        typer.echo(f"the contract's address will be {contract_address(key.public_key, passphrase)}")
        address = asyncio.run(_deploy(rpc, key, passphrase, assets))
    except (PortError, KeystoreError) as error:
        typer.echo(f"error: {error}\n{error.hint}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"deployed; set contract = {address!r} in the chain's section")


async def _deploy(url: str, key: Keypair, passphrase: str, assets: list[Asset]) -> str:
    rpc = open_rpc((url,), _PATIENCE, _CHAIN)
    try:
        served = str((await ask(rpc, "getNetwork"))["passphrase"])
        if served != passphrase:
            raise PortError(f"the RPC serves the network {served!r}", "name its network with --network")
        return await rpc.pinned(lambda one: deploy(one, key, passphrase, assets))
    finally:
        await rpc.close()


if __name__ == "__main__":
    app()
