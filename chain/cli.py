"""Command line of the chain: node, mine, wallet. `bridge.cli` mounts `app` under `rainbow`.

Exit codes: 0 done, 1 refused or failed (the reason on standard error), 2 wrong usage.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from chain.network.config import NetworkConfig
from chain.node import NodeConfig, node_main
from chain.rules.address import decode_address
from chain.rules.errors import WalletError, ZionError
from chain.rules.params import COIN, NETWORKS, Network
from chain.service.messages import to_wire
from chain.wallet.keys import Key
from chain.wallet.keystore import keystore_address, load_keystore, save_keystore
from chain.wallet.transactions import build_transfer
from kernels.backends import Backend
from kernels.errors import RainbowError

app = typer.Typer(no_args_is_help=True, help="The ZION chain: node, miner, wallet.")
wallet = typer.Typer(no_args_is_help=True, help="Keys in an encrypted keystore, balances, payments.")
app.add_typer(wallet, name="wallet")

PASSWORD_VARIABLE = "ZION_PASSWORD"  # noqa: S105 - the variable's name

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Keystore = Annotated[Path, typer.Option("--keystore", help="The encrypted keystore file.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help=f"File with the password (else ${PASSWORD_VARIABLE}, else asked)."),
]
RpcUrl = Annotated[str, typer.Option("--rpc", help="The node's RPC URL.", envvar="ZION_RPC")]
NetworkOption = Annotated[Network, typer.Option("--network", help="main, test or dev.")]

_DEFAULT_RPC = f"http://127.0.0.1:{NETWORKS[Network.DEV].rpc_port}"


def _fail(error: RainbowError, as_json: bool) -> NoReturn:
    if as_json:
        reason = str(getattr(error, "reason", ""))
        typer.echo(json.dumps({"error": error.message, "reason": reason, "hint": error.hint}), err=True)
    else:
        typer.echo(f"error: {error.with_hint}", err=True)
    raise typer.Exit(error.exit_code)


def _guard(as_json: bool, act: Callable[[], Any]) -> Any:
    try:
        return act()
    except RainbowError as error:
        _fail(error, as_json)


def _run(as_json: bool, work: Coroutine[Any, Any, Any]) -> Any:
    return _guard(as_json, lambda: asyncio.run(work))


def _show(as_json: bool, value: Any, text: str) -> None:
    typer.echo(json.dumps(to_wire(value)) if as_json else text)


@app.command()
def node(
    data_dir: Annotated[Path, typer.Option(help="Where the chain is kept.")],
    network: NetworkOption = Network.DEV,
    rpc_host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    rpc_port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Mine, too.")] = False,
    miner_address: Annotated[str | None, typer.Option(help="Who is paid for blocks.")] = None,
    block_interval: Annotated[float, typer.Option(help="Seconds between blocks (dev).", min=0.01)] = 1.0,
    backend: Annotated[Backend, typer.Option(help="What mines.")] = Backend.NUMBA,
    listen: Annotated[list[str] | None, typer.Option(help="host:port to accept other nodes at.")] = None,
    connect: Annotated[
        list[str] | None, typer.Option(help="[KEY@]host:port of a node to stay connected with.")
    ] = None,
    seeds: Annotated[Path | None, typer.Option(help="File with one host:port of a node a line.")] = None,
    dns_seed: Annotated[list[str] | None, typer.Option(help="Name whose addresses run nodes.")] = None,
    proxy: Annotated[str | None, typer.Option(help="SOCKS5 proxy (Tor) for connections out.")] = None,
    source: Annotated[str | None, typer.Option(help="Local address of connections out.")] = None,
    as_json: Json = False,
) -> None:
    """Run a node until it is stopped; prints its RPC URL when it answers."""
    config = NodeConfig(
        network=network,
        data_dir=data_dir,
        rpc_host=rpc_host,
        rpc_port=rpc_port,
        mine=mine,
        miner_address=miner_address,
        block_interval=block_interval,
        backend=backend.value,
        peers=_peers(network, listen, connect, seeds, dns_seed, proxy, source),
    )

    def ready(url: str) -> None:
        text = f"ZION {network.value} node: {url}"
        print(json.dumps({"rpc_url": url, "network": network.value}) if as_json else text, flush=True)

    _guard(as_json, lambda: node_main(config, ready=ready))


def _peers(
    network: Network,
    listen: list[str] | None,
    connect: list[str] | None,
    seeds: Path | None,
    dns_seed: list[str] | None,
    proxy: str | None,
    source: str | None,
) -> NetworkConfig | None:
    """Return how the node takes part. A dev node stays alone unless told otherwise."""
    dev = network is Network.DEV
    if dev and not (listen or connect or seeds):
        return None
    return NetworkConfig(
        listen=tuple(listen or ()),
        connect=tuple(connect or ()),
        seeds=seeds,
        dns_seeds=tuple(dns_seed or ()),
        proxy=proxy,
        source=source,
        discover=not dev or seeds is not None,
        local=dev,
    )


@app.command()
def mine(
    address: Annotated[str, typer.Option(help="Who is paid for blocks.")],
    rpc: RpcUrl = _DEFAULT_RPC,
    backend: Annotated[Backend, typer.Option(help="What mines.")] = Backend.NUMBA,
    threads: Annotated[int, typer.Option(help="CPU threads (numba).", min=1)] = 1,
    blocks: Annotated[int, typer.Option(help="Stop after so many blocks; 0: never.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Mine for a running node; prints each block found and the hash rate."""

    from chain.mining.solo import mine_main  # with httpx, which a node does not need

    def report(event: dict[str, Any]) -> None:
        text = " ".join(f"{key}={value}" for key, value in event.items())
        print(json.dumps(event) if as_json else text, flush=True)

    _guard(as_json, lambda: decode_address(address))
    _run(as_json, mine_main(rpc, address, backend.value, threads, blocks, report))


@wallet.command()
def new(keystore: Keystore, password_file: PasswordFile = None, as_json: Json = False) -> None:
    """Make a key and write it to a new encrypted keystore."""
    key = Key.generate()
    _guard(
        as_json, lambda: save_keystore(key, keystore, _password(password_file, confirm=True, as_json=as_json))
    )
    _show(as_json, {"address": key.address, "keystore": str(keystore)}, key.address)


@wallet.command()
def address(keystore: Keystore, as_json: Json = False) -> None:
    """Print the keystore's address; needs no password."""
    text = _guard(as_json, lambda: keystore_address(keystore))
    _show(as_json, {"address": text}, text)


@wallet.command()
def balance(
    address: Annotated[str, typer.Argument(help="The address, zion1…")],
    rpc: RpcUrl = _DEFAULT_RPC,
    as_json: Json = False,
) -> None:
    """Print an address's confirmed balance, nonce and consciousness level."""
    _guard(as_json, lambda: decode_address(address))

    from chain.service.client import ZionClient

    async def ask() -> Any:
        async with ZionClient(rpc) as client:
            return await client.get_account(address)

    account = _run(as_json, ask())
    _show(as_json, account, f"{format_amount(account.balance)} ZION · level {account.level}")


@wallet.command()
def send(
    to: Annotated[str, typer.Argument(help="Recipient, zion1…")],
    amount: Annotated[str, typer.Argument(help="Amount in ZION, for example 1.5")],
    keystore: Keystore,
    password_file: PasswordFile = None,
    rpc: RpcUrl = _DEFAULT_RPC,
    fee: Annotated[str | None, typer.Option(help="Fee in ZION (else what the node advises).")] = None,
    as_json: Json = False,
) -> None:
    """Send ZION; prints the transaction id."""
    units = _guard(as_json, lambda: parse_amount(amount))
    fee_units = _guard(as_json, lambda: None if fee is None else parse_amount(fee))
    recipient = _guard(as_json, lambda: decode_address(to))
    key = _guard(
        as_json,
        lambda: load_keystore(keystore, _password(password_file, confirm=False, as_json=as_json)),
    )

    from chain.service.client import ZionClient

    async def pay() -> Any:
        async with ZionClient(rpc) as client:
            info = await client.get_info()
            account = await client.get_account(key.address)
            bid = fee_units if fee_units is not None else (await client.estimate_fee()).next_block
            tx = build_transfer(
                key,
                NETWORKS[Network(info.network)],
                nonce=account.pending_nonce,
                recipient=recipient,
                amount=units,
                fee=bid,
            )
            return await client.submit(tx)

    done = _run(as_json, pay())
    _show(as_json, done, done.txid)


def parse_amount(text: str) -> int:
    """Read an amount in ZION as smallest units. Raises `ZionError`."""
    try:
        units = Decimal(text) * COIN
        exact = units == units.to_integral_value()
    except InvalidOperation:
        exact, units = False, Decimal(0)
    if not exact or not 0 < units < 2**60:
        raise ZionError(
            f"{text!r} is not an amount of ZION", hint="a positive number with at most 8 decimals"
        )
    return int(units)


def format_amount(units: int) -> str:
    """Write smallest units as ZION with 8 decimals."""
    return f"{units // COIN}.{units % COIN:08d}"


def _password(file: Path | None, *, confirm: bool, as_json: bool) -> str:
    if file is not None:
        try:
            return file.read_text().rstrip("\n")
        except OSError as error:
            raise WalletError(f"{file} cannot be read: {error.strerror}") from None
    if (given := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return given
    if as_json or not sys.stdin.isatty():
        raise WalletError("no password", hint=f"give --password-file or set {PASSWORD_VARIABLE}")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm))


def main() -> None:
    """Run the command line."""
    app()


__all__ = ["app", "main", "node_main"]

if __name__ == "__main__":
    main()
