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
from chain.rules.genesis import genesis_block
from chain.rules.params import COIN, NETWORKS, Network, NetworkParams
from chain.service.messages import NodeInfo, TransactionView, to_wire
from chain.wallet.keys import Key
from chain.wallet.keystore import keystore_address, load_keystore, save_keystore
from chain.wallet.transactions import build_transfer
from kernels.backends import Backend
from kernels.errors import RainbowError

app = typer.Typer(no_args_is_help=True, help="The ZION chain: node, miner, wallet.")
wallet = typer.Typer(no_args_is_help=True, help="Keys in an encrypted keystore, balances, payments.")
zion = typer.Typer(no_args_is_help=True, help="Look at a ZION node: its head, blocks, transactions, mempool.")
app.add_typer(wallet, name="wallet")
app.add_typer(zion, name="zion")

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
def address(
    keystore: Keystore,
    password_file: PasswordFile = None,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Do not ask for the password; the file may lie.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the keystore's address, checked against its key; that takes the password."""
    if unverified:
        text = _guard(as_json, lambda: keystore_address(keystore))
        typer.echo("unverified: anybody who can write to the file can change this address", err=True)
    else:
        text = _load(keystore, password_file, as_json).address
    _show(as_json, {"address": text, "verified": not unverified}, text)


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
    network: NetworkOption = Network.DEV,
    fee: Annotated[str | None, typer.Option(help="Fee in ZION (else what the node advises).")] = None,
    max_fee: Annotated[str, typer.Option(help="Most to pay in ZION when the node advises the fee.")] = "0.1",
    as_json: Json = False,
) -> None:
    """Send ZION on the network you name; prints the transaction id."""
    units = _guard(as_json, lambda: parse_amount(amount))
    fee_units = _guard(as_json, lambda: None if fee is None else parse_amount(fee))
    cap = _guard(as_json, lambda: parse_amount(max_fee))
    recipient = _guard(as_json, lambda: decode_address(to))
    key = _load(keystore, password_file, as_json)

    from chain.service.client import ZionClient

    async def pay() -> Any:
        async with ZionClient(rpc) as client:
            check_network(NETWORKS[network], await client.get_info())
            account = await client.get_account(key.address)
            bid = (
                fee_units if fee_units is not None else capped((await client.estimate_fee()).next_block, cap)
            )
            tx = build_transfer(
                key,
                NETWORKS[network],
                nonce=account.pending_nonce,
                recipient=recipient,
                amount=units,
                fee=bid,
            )
            return await client.submit(tx)

    done = _run(as_json, pay())
    _show(as_json, done, done.txid)


def _ask(rpc: str, as_json: bool, question: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    from chain.service.client import ZionClient

    async def ask() -> Any:
        async with ZionClient(rpc) as client:
            return await question(client)

    return _run(as_json, ask())


@zion.command()
def info(rpc: RpcUrl = _DEFAULT_RPC, as_json: Json = False) -> None:
    """Print a node's network, head, supply and mempool, and what does not work."""
    found = _ask(rpc, as_json, lambda client: client.get_info())
    lines = [
        f"{found.network} · height {found.height} · {found.best_id}",
        f"issued {format_amount(found.issued)} ZION, locked {format_amount(found.locked)}",
        f"{found.mempool_size} transactions wait · hash rate {found.hash_rate:.0f}/s",
        *(f"problem: {problem}" for problem in found.problems),
    ]
    _show(as_json, found, "\n".join(lines))


@zion.command()
def block(
    which: Annotated[str, typer.Argument(help="Height, or id in hex.")],
    rpc: RpcUrl = _DEFAULT_RPC,
    as_json: Json = False,
) -> None:
    """Print a block and its transactions."""
    name: str | int = int(which) if which.isdecimal() and len(which) < 64 else which
    found = _ask(rpc, as_json, lambda client: client.get_block(name))
    head = found.header
    place = f"{head.confirmations} confirmations" if head.main_chain else "not on the main chain"
    lines = [
        f"block {head.height} {head.id} · {place}",
        f"previous {head.previous} · time {head.time} · miner {found.miner}",
        *(_line(tx) for tx in found.transactions),
    ]
    _show(as_json, found, "\n".join(lines))


@zion.command()
def tx(
    txid: Annotated[str, typer.Argument(help="Transaction id in hex.")],
    rpc: RpcUrl = _DEFAULT_RPC,
    as_json: Json = False,
) -> None:
    """Print where a transaction is and what it says."""
    found = _ask(rpc, as_json, lambda client: client.get_transaction(txid))
    place = f" in block {found.height} · {found.confirmations} confirmations" if found.block_id else ""
    lines = [f"{found.status.value}{place}"] + ([_line(found.transaction)] if found.transaction else [])
    _show(as_json, found, "\n".join(lines))


@zion.command()
def mempool(
    limit: Annotated[int, typer.Option(help="Most to print.", min=1, max=1_000)] = 20,
    rpc: RpcUrl = _DEFAULT_RPC,
    as_json: Json = False,
) -> None:
    """Print what waits for a block, highest fee first."""
    found = _ask(rpc, as_json, lambda client: client.get_mempool(limit))
    _show(as_json, found, "\n".join([f"{found.size} transactions wait", *map(_line, found.transactions)]))


def _line(view: TransactionView) -> str:
    amount, fee = format_amount(view.amount), format_amount(view.fee)
    return f"{view.txid} {view.kind} {amount} ZION, fee {fee}, nonce {view.nonce}, from {view.sender or '-'}"


def check_network(params: NetworkParams, info: NodeInfo) -> None:
    """Refuse a node of another network than the user named: a node does not choose what a wallet signs for.

    Raises `WalletError`.
    """
    genesis = genesis_block(params).id.hex()
    if (info.network, info.chain_id, info.genesis_id) != (params.network.value, params.chain_id, genesis):
        raise WalletError(
            f"the node is on the network {info.network!r}, you named {params.network.value!r}",
            hint="give --network and --rpc of the same network",
        )


def capped(advised: int, cap: int) -> int:
    """Return the fee that a node advises, unless it is over the user's cap. Raises `WalletError`."""
    if advised > cap:
        raise WalletError(
            f"the node advises a fee of {format_amount(advised)} ZION, your cap is {format_amount(cap)}",
            hint="wait, give --fee, or raise --max-fee",
        )
    return advised


def _load(keystore: Path, password_file: Path | None, as_json: bool) -> Key:
    key: Key = _guard(
        as_json,
        lambda: load_keystore(keystore, _password(password_file, confirm=False, as_json=as_json)),
    )
    return key


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
