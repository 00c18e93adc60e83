"""`rainbow quote` and `rainbow swap …`: a user's own swaps, safe against crashes and against the bridge."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bridge import config as configuration
from bridge.api.models import NextStep, QuoteView, Side, SwapView, UnsignedTxView
from bridge.api.views import unsigned_view
from bridge.chains.port import UnsignedTx
from bridge.client.client import DEFAULT_URL, BridgeClient, new_token
from bridge.client.recovery import RecoveryDir, RecoveryError
from bridge.client.swap import LockWatch, Unsafe, UserSwap, Wallet
from bridge.commands.output import ConfigFile, Json, Output, speaking
from bridge.config import ConfigError, Settings, to_text, to_units
from bridge.keys.keystore import KeystoreError, SecretKey, find_password, load
from bridge.protocol.status import TERMINAL_STATES
from bridge.protocol.types import LockTerms, Purpose, SwapId
from bridge.wiring.ports import open_port, wallet_builder

app = typer.Typer(no_args_is_help=True, help="Your own swaps. Secrets stay in encrypted recovery files.")

ApiUrl = Annotated[str, typer.Option("--api", envvar="RAINBOW_API_URL", help="Address of the bridge.")]
Recovery = Annotated[
    Path,
    typer.Option("--recovery-dir", envvar="RAINBOW_RECOVERY_DIR", help="Where recovery files are kept."),
]
Keystore = Annotated[
    Path | None, typer.Option("--keystore", help="Your own keystore on the chain to sign for.")
]
KeystorePassword = Annotated[
    Path | None,
    typer.Option("--keystore-password-file", help="A private file with that keystore's password."),
]
RecoveryPassword = Annotated[
    Path | None, typer.Option("--password-file", help="A private file with the recovery password.")
]
SwapArgument = Annotated[str, typer.Argument(help="The swap's id or hashlock, or an unambiguous beginning.")]
Receive = Annotated[bool, typer.Option("--receive", help="AMOUNT is what arrives, not what is paid.")]
Gasless = Annotated[
    bool, typer.Option("--gasless", help="The relayer claims for you; you need no coins there.")
]

DEFAULT_RECOVERY = Path.home() / ".rainbow" / "swaps"
POLL_SECONDS = 1.0
STELLAR_RECIPE = "stellar-recipe"
"""`relayers.stellar.wallet.FORMAT`, named here because importing it takes a second."""
RECOVERY_PASSWORD = "RAINBOW_RECOVERY_PASSWORD"  # noqa: S105 -- the variable's name


def quote(
    source: Annotated[str, typer.Argument(help="What you pay with, e.g. ethereum:ETH.")],
    destination: Annotated[str, typer.Argument(help="What you get, e.g. zion:ZION.")],
    amount: Annotated[str, typer.Argument(help='In whole coins, e.g. "0.5".')],
    receive: Receive = False,
    gasless: Gasless = False,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Ask the bridge for a price. It is reserved for you until it expires; `rainbow swap start` asks anew."""

    async def ask() -> QuoteView:
        async with BridgeClient(api, token=_token()) as client:
            return await _quote(client, source, destination, amount, receive=receive, gasless=gasless)

    with speaking(as_json) as output:
        made = asyncio.run(ask())
        output.result(made.model_dump(mode="json", by_alias=True), _quote_table(made))


@app.command()
def start(
    source: Annotated[str, typer.Argument(help="What you pay with, e.g. ethereum:ETH.")],
    destination: Annotated[str, typer.Argument(help="What you get, e.g. zion:ZION.")],
    amount: Annotated[str, typer.Argument(help='In whole coins, e.g. "0.5".')],
    refund_address: Annotated[str, typer.Option(help="Your address on the paying chain: it locks.")],
    recipient: Annotated[str, typer.Option(help="Your address on the other chain.")],
    receive: Receive = False,
    gasless: Gasless = False,
    keystore: Keystore = None,
    keystore_password_file: KeystorePassword = None,
    password_file: RecoveryPassword = None,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    public_key: Annotated[str, typer.Option(help="The bridge's key, to pin it.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: ConfigFile = None,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Begin a swap. The secret is in the recovery file before the bridge hears of it.

    With --keystore the lock is signed and sent from your account; else the transaction to sign is printed.
    """
    with speaking(as_json) as output:
        password = _recovery_password(password_file, new=True)

        async def begin() -> None:
            async with BridgeClient(api, token=_token()) as client:
                made = await _quote(client, source, destination, amount, receive=receive, gasless=gasless)
                output.note("")
                if not as_json:
                    output.console.print(_quote_table(made))
                if not (yes or as_json or typer.confirm("Swap on these terms?")):
                    raise typer.Exit(1)
                swap = await UserSwap.begin(
                    client,
                    RecoveryDir(recovery_dir),
                    made,
                    refund_address=refund_address,
                    recipient=recipient,
                    password=password,
                    bridge_url=api,
                    public_key=public_key,
                )
                created = await swap.place()
                sent = ""
                if keystore is not None:
                    settings = configuration.load(config)
                    sent = await _lock(settings, swap, keystore, keystore_password_file, output)
                transaction = created.transaction
                if not sent and transaction.format == STELLAR_RECIPE:
                    transaction = await _from_recipe(config, swap.record.source, output) or transaction
                body = {**created.model_dump(mode="json", by_alias=True), "lock_tx": sent}
                output.result(
                    {**body, "transaction": transaction.model_dump(mode="json")},
                    f"swap {swap.id}",
                    f"locked by {sent}" if sent else "sign and send this with your wallet:",
                    *([] if sent else [transaction.model_dump_json(indent=2)]),
                    f"then: rainbow swap claim {swap.id[:8]}",
                )

        asyncio.run(begin())


@app.command(name="list")
def list_swaps(recovery_dir: Recovery = DEFAULT_RECOVERY, as_json: Json = False) -> None:
    """List your recovery files. Asks nobody."""
    with speaking(as_json) as output:
        records = RecoveryDir(recovery_dir).all()
        table = Table("swap", "hashlock", "from", "to", "made", "revealed", box=None, pad_edge=False)
        values = []
        for record in records:
            paid, got = (
                f"{to_text(terms.amount, terms.asset.decimals)} {terms.asset.key}"
                for terms in (record.source, record.destination)
            )
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
            table.add_row(
                record.swap_id or "(not placed)",
                record.hashlock.hex()[:16],
                paid,
                got,
                made,
                "yes" if record.revealed else "no",
            )
            values.append(
                {
                    "swap_id": record.swap_id,
                    "hashlock": record.hashlock.hex(),
                    "from": paid,
                    "to": got,
                    "created": record.created,
                    "revealed": record.revealed,
                }
            )
        output.result({"swaps": values}, table if records else "no recovery files")


@app.command()
def status(
    swap: SwapArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until it has ended.")] = False,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show how a swap stands, and whose turn it is."""

    async def show(output: Output) -> None:
        async with BridgeClient(api, token=_token()) as client:
            swap_id = SwapId(swap) if len(swap) == 32 else RecoveryDir(recovery_dir).find(swap).swap_id
            while True:
                view = await client.swap(swap_id)
                output.result(view.model_dump(mode="json"), *_lines(view))
                if not follow or view.status in TERMINAL_STATES:
                    return
                async for event in client.events(swap_id, view.last_event):
                    output.note(f"{event.at.rfc3339} {event.kind} → {event.status.value}")
                    if event.status in TERMINAL_STATES:
                        break

    with speaking(as_json) as output:
        asyncio.run(show(output))


@app.command()
def claim(
    swap: SwapArgument,
    keystore: Keystore = None,
    keystore_password_file: KeystorePassword = None,
    relayed: Annotated[
        bool,
        typer.Option(
            "--relayed", help="Let the relayer claim; the keystore only signs what it needs for that."
        ),
    ] = False,
    max_fee: Annotated[
        str, typer.Option(help="What the relayer may take out of the amount for it, in whole coins.")
    ] = "0",
    password_file: RecoveryPassword = None,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    config: ConfigFile = None,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Wait for the bridge's lock on your own node, check it, then claim.

    With --keystore you claim from your own account, which pays the fee. With --relayed, or without a keystore
    if the swap was quoted with --gasless, the preimage is handed to the bridge, which claims for you: on
    Stellar your keystore signs that, elsewhere it is needed only to allow a fee. Without either the claim is
    printed, for any wallet: it holds the preimage, sign and send it at once. The secret is never revealed too
    late or for a wrong lock.
    """
    with speaking(as_json) as output:
        record = RecoveryDir(recovery_dir).find(swap)
        password = _recovery_password(password_file)
        record.preimage(password)  # a wrong password is told now, not when it is urgent
        settings = configuration.load(config)
        try:
            fee = to_units(max_fee, record.destination.asset.decimals)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

        async def work() -> None:
            chain = record.destination.chain
            key = _user_key(settings, keystore, keystore_password_file) if keystore else SecretKey.generate()
            port = open_port(settings, chain, key)
            try:
                async with BridgeClient(record.bridge_url or api, token=_token()) as client:
                    mine = UserSwap.resume(client, RecoveryDir(recovery_dir), record)
                    if not mine.id:
                        await mine.place()
                    watch = LockWatch(port, mine.record.destination)
                    await _until_safe(mine, watch, output)
                    if keystore and not relayed:
                        tx = await mine.claim(password, watch, Wallet(port))
                        output.result({"swap_id": mine.id, "claim_tx": tx}, f"claimed by {tx}")
                    elif not (record.gasless or relayed):
                        builder = wallet_builder(settings, chain)
                        try:
                            body = _shown(await mine.claim_to_sign(password, watch, builder))
                        finally:
                            await builder.close()
                        output.result({"swap_id": mine.id, **body}, "sign and send this at once:", body)
                    else:
                        authorizer = port.authorizer if keystore else None
                        view = await mine.reveal_to_bridge(password, watch, authorizer, fee)
                        output.result(
                            view.model_dump(mode="json"), "the bridge claims for you", *_lines(view)
                        )
            finally:
                await port.close()

        asyncio.run(work())


@app.command()
def refund(
    swap: SwapArgument,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Do not ask the bridge: needs its chain and the recovery file alone."),
    ] = False,
    keystore: Keystore = None,
    keystore_password_file: KeystorePassword = None,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    config: ConfigFile = None,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Get the source back: by agreement, or with the refund that is yours after the deadline.

    With --keystore the refund is signed and sent; else the transaction is printed, for any wallet.
    """
    with speaking(as_json) as output:
        record = RecoveryDir(recovery_dir).find(swap)

        async def work() -> None:
            if not offline:
                async with BridgeClient(record.bridge_url or api, token=_token()) as client:
                    answer = await client.refund(record.swap_id)
                    if answer.cooperative and keystore is None:
                        output.result(
                            answer.model_dump(mode="json"), "the bridge gives it back", *_lines(answer.swap)
                        )
                        return
            if keystore is None:
                settings = configuration.load(config)
                builder = wallet_builder(settings, record.source.chain)
                try:
                    unsigned = await builder.unsigned(Purpose.REFUND, record.source)
                finally:
                    await builder.close()
                body = {"not_before": record.source.deadline, **_shown(unsigned)}
                output.result(body, "sign and send this after the deadline:", body)
                return
            settings = configuration.load(config)
            port = open_port(
                settings, record.source.chain, _user_key(settings, keystore, keystore_password_file)
            )
            try:
                async with BridgeClient(record.bridge_url or api, token=_token()) as client:
                    mine = UserSwap.resume(client, RecoveryDir(recovery_dir), record)
                    tx = await mine.refund(Wallet(port))
                output.result({"swap_id": mine.id, "refund_tx": tx}, f"refunded by {tx}")
            finally:
                await port.close()

        asyncio.run(work())


@app.command()
def recover(
    recovery_dir: Recovery = DEFAULT_RECOVERY, api: ApiUrl = DEFAULT_URL, as_json: Json = False
) -> None:
    """After a crash: find what each recovery file's swap needs, and place those that were not placed."""

    async def look(output: Output) -> None:
        found: list[dict[str, Any]] = []
        for record in RecoveryDir(recovery_dir).all():
            async with BridgeClient(record.bridge_url or api, token=_token()) as client:
                mine = UserSwap.resume(client, RecoveryDir(recovery_dir), record)
                if not mine.id:
                    await mine.place()
                view = await mine.status()
            found.append(
                {
                    "swap_id": mine.id,
                    "status": view.status.value,
                    "next": view.next.value,
                    "detail": view.detail,
                }
            )
        lines = [
            f"{item['swap_id'][:8]} {item['status']}: {item['next']} — {item['detail']}" for item in found
        ]
        output.result({"swaps": found}, *(lines or ["no recovery files"]))

    with speaking(as_json) as output:
        asyncio.run(look(output))


async def _quote(
    client: BridgeClient, source: str, destination: str, amount: str, *, receive: bool, gasless: bool
) -> QuoteView:
    """Quote an amount given in whole coins; the bridge's list says how many decimals they have."""
    decimals = {
        side.asset: side.decimals
        for pair in (await client.pairs()).pairs
        for side in (pair.source, pair.destination)
    }
    named = destination if receive else source
    if named not in decimals:
        raise typer.BadParameter(f"the bridge does not know {named}; it has {', '.join(sorted(decimals))}")
    try:
        units = to_units(amount, decimals[named])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    side = Side.DESTINATION if receive else Side.SOURCE
    return await client.quote(source, destination, units, side=side, gasless=gasless)


async def _from_recipe(config: Path | None, terms: LockTerms, output: Output) -> UnsignedTxView | None:
    """Make the lock that a recipe describes, here, where the gate's key is nobody else's; None without a
    Horizon of the user's own."""
    try:
        builder = wallet_builder(configuration.load(config), terms.chain)
    except (ConfigError, ValueError):
        output.note("with [chains.stellar] in a configuration file this would be XDR and a SEP-7 link")
        return None
    try:
        unsigned = await builder.unsigned(Purpose.LOCK, terms)
    finally:
        await builder.close()
    return unsigned_view(terms.chain, Purpose.LOCK, unsigned)


def _shown(unsigned: UnsignedTx) -> dict[str, Any]:
    return {"format": unsigned.format, "summary": unsigned.summary, "payload": unsigned.payload}


async def _lock(
    settings: Settings, swap: UserSwap, keystore: Path, password_file: Path | None, output: Output
) -> str:
    terms = swap.record.source
    port = open_port(settings, terms.chain, _user_key(settings, keystore, password_file))
    try:
        wallet = Wallet(port)
        if wallet.address != terms.sender:
            raise Unsafe(
                f"the keystore is of {wallet.address}, not of the refund address", "use the right one"
            )
        for approval in await wallet.approvals(terms.asset):
            output.note(f"approval {approval.tx_id}")
            await wallet.settled(approval)
        return await swap.lock(wallet)
    finally:
        await port.close()


async def _until_safe(swap: UserSwap, watch: LockWatch, output: Output) -> None:
    """Wait until the bridge's lock is deep enough on the user's own node."""
    shown = -1
    while not swap.record.revealed:
        evidence = await swap.check_counterlock(watch)
        if swap.is_deep_enough(evidence):
            return
        if evidence.confirmations != shown:
            shown = evidence.confirmations
            wanted = swap.record.destination_confirmations
            output.note(f"the bridge's lock: {evidence.status.value}, {shown} of {wanted} confirmations")
        await asyncio.sleep(POLL_SECONDS)


def _user_key(settings: Settings, keystore: Path, password_file: Path | None) -> SecretKey:
    return load(keystore, find_password(password_file), settings.network.value)


def _recovery_password(file: Path | None, *, new: bool = False) -> str:
    if RECOVERY_PASSWORD in os.environ:
        return os.environ[RECOVERY_PASSWORD]
    if file is not None:
        try:
            return find_password(file, environment={})
        except KeystoreError as error:
            raise RecoveryError(str(error), error.hint) from None
    if not sys.stdin.isatty():
        raise RecoveryError("no recovery password", f"set {RECOVERY_PASSWORD} or give --password-file")
    if new:
        return str(typer.prompt("Recovery password", hide_input=True, confirmation_prompt=True))
    return getpass.getpass("Recovery password: ")


def _token() -> str:
    return os.environ.get("RAINBOW_CLIENT_TOKEN", "") or new_token()


def _quote_table(made: QuoteView) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("you pay", f"{made.source.display} {made.source.asset}")
    table.add_row("you get", f"[bold]{made.destination.display}[/] {made.destination.asset}")
    table.add_row("rate", made.rate)
    for line in made.fees:
        table.add_row(f"  {line.name}", f"{line.money.display} {line.money.asset}")
    table.add_row("lock by", made.lock_by.rfc3339)
    table.add_row("refundable from", made.source_deadline.rfc3339)
    table.add_row("quote expires", made.expires.rfc3339)
    return table


def _lines(view: SwapView) -> list[str]:
    lines = [f"swap {view.id}: [bold]{view.status.value}[/]"]
    if view.next is not NextStep.NONE:
        lines.append(f"next: {view.next.value} — {view.detail}")
    for name, leg in (("source", view.source), ("destination", view.destination)):
        money = f"{leg.terms.money.display} {leg.terms.money.asset}"
        text = f"{name}: {money} on {leg.terms.chain}, {leg.state.value}"
        if leg.lock_tx:
            text += f", {leg.confirmations}/{leg.required_confirmations} confirmations, lock {leg.lock_tx}"
        if leg.spend_tx:
            text += f", spent by {leg.spend_tx}"
        lines.append(text)
    return lines
