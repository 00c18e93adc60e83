"""`rainbow swap …`: a user's own swaps, safe against crashes and against the bridge.

What signs or reads a chain is imported where it is used: looking at a swap needs none of it.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from bridge.client.client import DEFAULT_URL, BridgeClient
from bridge.commands.output import ConfigFile, Json, Output, WrongUsageError, speaking
from bridge.commands.quote import ask_quote, quote_lines
from bridge.commands.user import (
    DEFAULT_RECOVERY,
    SWAP_ID_LENGTH,
    ApiUrl,
    Firm,
    Gasless,
    Keystore,
    KeystorePassword,
    LockFee,
    Receive,
    Recovery,
    RecoveryPassword,
    SwapArgument,
    check_named_config,
    client_token,
    recovery_password,
    swap_lines,
    user_key,
)
from bridge.protocol.amounts import to_text, to_units
from bridge.protocol.status import TERMINAL_STATES
from bridge.protocol.types import Amount, LockTerms, Purpose, SwapId
from bridge.wire.base import Moment
from bridge.wire.swaps import RefundView, UnsignedTxView

if TYPE_CHECKING:
    from bridge.chains.port import UnsignedTx
    from bridge.client.recovery import RecoveryError, RecoveryRecord
    from bridge.client.swap import LockWatch, UserSwap

app = typer.Typer(no_args_is_help=True, help="Your own swaps. Secrets stay in encrypted recovery files.")

POLL_SECONDS = 1.0
RECIPE_SUFFIX = "-recipe"
"""Ends the name of a format that only describes a transaction: a part of it is for the user alone to make."""


@app.command()
def start(
    source: Annotated[str, typer.Argument(help="What you pay with, e.g. ethereum:ETH.")],
    destination: Annotated[str, typer.Argument(help="What you get, e.g. zion:ZION.")],
    amount: Annotated[str, typer.Argument(help='In whole coins, e.g. "0.5".')],
    refund_address: Annotated[str, typer.Option(help="Your address on the paying chain: it locks.")],
    recipient: Annotated[str, typer.Option(help="Your address on the other chain.")],
    receive: Receive = False,
    gasless: Gasless = False,
    firm: Firm = False,
    lock_fee: LockFee = "",
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
    """Begin a swap. The secret is in the recovery file before the bridge learns its hash.

    With --keystore the lock is signed and sent from your account; else the transaction to sign is printed.
    """
    from bridge.client.recovery import RecoveryDir
    from bridge.client.swap import UserSwap

    with speaking(as_json) as output:
        check_named_config(config)
        password = recovery_password(password_file, new=True)

        async def begin() -> None:
            async with BridgeClient(api, token=client_token()) as client:
                made = await ask_quote(
                    client,
                    source,
                    destination,
                    amount,
                    receive=receive,
                    gasless=gasless,
                    firm=firm,
                    lock_fee=lock_fee,
                )
                output.note("")
                if not as_json:
                    output.console.print(quote_lines(made))
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
                    sent = await _lock(config, swap, keystore, keystore_password_file, output)
                transaction = created.transaction
                if not sent and transaction.format.endswith(RECIPE_SUFFIX):
                    transaction = await _from_recipe(config, swap.record.source, output) or transaction
                body = {**msgspec.to_builtins(created), "lock_tx": sent}
                output.result(
                    {**body, "transaction": msgspec.to_builtins(transaction)},
                    f"swap {swap.id}",
                    f"locked by {sent}" if sent else "sign and send this with your wallet:",
                    *([] if sent else [_pretty(transaction)]),
                    f"then: rainbow swap claim {swap.id[:8]}",
                )

        asyncio.run(begin())


@app.command(name="list")
def list_swaps(recovery_dir: Recovery = DEFAULT_RECOVERY, as_json: Json = False) -> None:
    """List your recovery files, without asking the bridge."""

    from bridge.client.recovery import RecoveryDir

    with speaking(as_json) as output:
        records = RecoveryDir(recovery_dir).all()
        lines = []
        values = []
        for record in records:
            paid, got = (
                f"{to_text(terms.amount, terms.asset.decimals)} {terms.asset.key}"
                for terms in (record.source, record.destination)
            )
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
            lines.append(f"swap {record.swap_id or '(not placed)'}: {paid} → {got}")
            secret = "shown" if record.revealed else "still secret"
            lines.append(f"  made {made}, hashlock {record.hashlock.hex()[:16]}, preimage {secret}")
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
        output.result({"swaps": values}, *(lines or ["no recovery files"]))


@app.command()
def status(
    swap: SwapArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow it until it has ended.")] = False,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show a swap's status, and whose turn it is."""

    async def show(output: Output) -> None:
        async with BridgeClient(api, token=client_token()) as client:
            swap_id = SwapId(swap) if len(swap) == SWAP_ID_LENGTH else _record(recovery_dir, swap).swap_id
            while True:
                view = await client.swap(swap_id)
                output.result(msgspec.to_builtins(view), *swap_lines(view))
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
    if the swap was quoted with --gasless, the bridge gets the preimage and claims for you: on
    some chains your keystore must sign that, on others it is needed only to allow a fee. Without either the
    claim is printed, for any wallet: it holds the preimage, so sign and send it immediately. The secret is
    never revealed too late or for a wrong lock.
    """
    from bridge import config as configuration
    from bridge.client.recovery import RecoveryDir, RecoveryError
    from bridge.client.swap import LockWatch, UserSwap, UserWallet
    from bridge.keys.keystore import SecretKey
    from bridge.wiring.ports import open_port, wallet_builder

    with speaking(as_json) as output:
        try:
            record = _record(recovery_dir, swap)
        except RecoveryError as error:
            raise asyncio.run(_without_the_secret(api, swap, error)) from None
        password = recovery_password(password_file)
        record.preimage(password)  # a wrong password is noticed now, not when it is urgent
        settings = configuration.load(config)
        try:
            fee = Amount(to_units(max_fee, record.destination.asset.decimals))
        except ValueError as error:
            raise WrongUsageError(str(error), 'write --max-fee in whole coins, e.g. "0.5"') from None

        async def work() -> None:
            chain = record.destination.chain
            key = user_key(settings, keystore, keystore_password_file) if keystore else SecretKey.generate()
            port = open_port(settings, chain, key)
            try:
                async with BridgeClient(record.bridge_url or api, token=client_token()) as client:
                    mine = UserSwap.resume(client, RecoveryDir(recovery_dir), record)
                    if not mine.id:
                        await mine.place()
                    watch = LockWatch(port, mine.record.destination)
                    await _until_safe(mine, watch, output)
                    if keystore and not relayed:
                        tx = await mine.claim(password, watch, UserWallet(port))
                        output.result({"swap_id": mine.id, "claim_tx": tx}, f"claimed by {tx}")
                    elif not (record.gasless or relayed):
                        builder = wallet_builder(settings, chain)
                        try:
                            body = _shown(await mine.claim_to_sign(password, watch, builder))
                        finally:
                            await builder.close()
                        output.result(
                            {"swap_id": mine.id, **body}, "sign and send this immediately:", _pretty(body)
                        )
                    else:
                        await _until_bridge_takes_it(mine, watch, output)
                        authorizer = port.authorizer if keystore else None
                        view = await mine.reveal_to_bridge(password, watch, authorizer, fee)
                        output.result(
                            msgspec.to_builtins(view), "the bridge claims for you", *swap_lines(view)
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

    With --keystore the refund is signed and sent; else the transaction is printed, for any wallet. Without
    its recovery file a swap needs its whole id, and the bridge says what to sign.
    """
    from bridge.client.recovery import RecoveryError

    with speaking(as_json) as output:
        check_named_config(config)
        try:
            record = _record(recovery_dir, swap)
        except RecoveryError:
            if offline or keystore is not None or len(swap) != SWAP_ID_LENGTH:
                raise
            _refund_without_record(api, swap, output)
            return
        if not offline and record.swap_id:
            asked = asyncio.run(_ask_refund(record.bridge_url or api, record.swap_id))
            if _nothing_to_sign(asked, output, signs=keystore is not None):
                return
        if keystore is None:
            unsigned = asyncio.run(_unsigned_refund(config, record))
            body = {"not_before": record.source.deadline, **_shown(unsigned)}
            when = Moment.at(record.source.deadline).rfc3339
            output.result(body, f"sign and send this after {when}:", _pretty(_shown(unsigned)))
        else:
            tx = asyncio.run(_sign_refund(config, record, recovery_dir, keystore, keystore_password_file))
            output.result({"swap_id": record.swap_id, "refund_tx": tx}, f"refunded by {tx}")


@app.command()
def restore(
    swap: SwapArgument,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Hand your receipt in at a bridge that lost the swap. Repeating it is safe."""

    from bridge.client.recovery import RecoveryDir
    from bridge.client.swap import UserSwap

    async def hand_in(output: Output) -> None:
        record = _record(recovery_dir, swap)
        async with BridgeClient(record.bridge_url or api, token=client_token()) as client:
            view = await UserSwap.resume(client, RecoveryDir(recovery_dir), record).restore()
        output.result(msgspec.to_builtins(view), f"{view.id}: {view.state.value}: {view.detail}")

    with speaking(as_json) as output:
        asyncio.run(hand_in(output))


@app.command()
def recover(
    recovery_dir: Recovery = DEFAULT_RECOVERY, api: ApiUrl = DEFAULT_URL, as_json: Json = False
) -> None:
    """After a crash: show what each swap needs, and place those that were not placed."""

    from bridge.client.recovery import RecoveryDir
    from bridge.client.swap import UserSwap

    async def look(output: Output) -> None:
        found: list[dict[str, Any]] = []
        for record in RecoveryDir(recovery_dir).all():
            async with BridgeClient(record.bridge_url or api, token=client_token()) as client:
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


def _record(recovery_dir: Path, swap: str) -> RecoveryRecord:
    from bridge.client.recovery import RecoveryDir

    return RecoveryDir(recovery_dir).find(swap)


async def _without_the_secret(api: str, swap: str, error: RecoveryError) -> RecoveryError:
    """Return `error`, with what becomes of a swap whose recovery file is lost if the bridge knows it."""
    from bridge.client.errors import BridgeRefusedError, BridgeUnreachableError
    from bridge.client.recovery import RecoveryError

    if len(swap) != SWAP_ID_LENGTH:
        return error
    try:
        async with BridgeClient(api, token=client_token()) as client:
            leg = (await client.swap(SwapId(swap))).source
    except (BridgeRefusedError, BridgeUnreachableError):
        return error
    money = f"{leg.terms.money.display} {leg.terms.money.asset}"
    return RecoveryError(
        f"{error.message}: without it the secret is lost and this swap cannot be claimed",
        f"from {leg.terms.deadline.rfc3339} on you can take back your {money}: "
        f"`rainbow swap refund {swap}` needs no recovery file",
    )


def _refund_without_record(api: str, swap: str, output: Output) -> None:
    """Show what the bridge says is to be signed: a refund needs nothing secret."""
    asked = asyncio.run(_ask_refund(api, SwapId(swap)))
    if _nothing_to_sign(asked, output, signs=False):
        return
    body = {"not_before": asked.not_before.unix, "transactions": msgspec.to_builtins(asked.transactions)}
    output.result(
        body, f"sign and send this after {asked.not_before.rfc3339}:", *map(_pretty, asked.transactions)
    )


async def _ask_refund(url: str, swap_id: SwapId) -> RefundView:
    from bridge.client.errors import BridgeUnreachableError

    try:
        async with BridgeClient(url, token=client_token()) as client:
            return await client.refund(swap_id)
    except BridgeUnreachableError as error:
        raise BridgeUnreachableError(
            error.message, "with --offline the refund needs no bridge, only its chain and the recovery file"
        ) from None


def _nothing_to_sign(asked: RefundView, output: Output, *, signs: bool) -> bool:
    """Return whether there is nothing to sign for a refund, saying why. `signs`: the user signs anyway."""
    if asked.cooperative and not signs:
        output.result(msgspec.to_builtins(asked), "the bridge gives it back", *swap_lines(asked.swap))
        return True
    if asked.transactions or asked.swap.status not in TERMINAL_STATES:
        return False
    ended = f"this swap is {asked.swap.status.value}: there is nothing to refund"
    output.result(msgspec.to_builtins(asked), ended, *swap_lines(asked.swap))
    return True


async def _unsigned_refund(config: Path | None, record: RecoveryRecord) -> UnsignedTx:
    from bridge import config as configuration
    from bridge.wiring.ports import wallet_builder

    builder = wallet_builder(configuration.load(config), record.source.chain)
    try:
        return await builder.unsigned(Purpose.REFUND, record.source)
    finally:
        await builder.close()


async def _sign_refund(
    config: Path | None,
    record: RecoveryRecord,
    recovery_dir: Path,
    keystore: Path,
    password_file: Path | None,
) -> str:
    """Sign and send the refund; returns its id. Before the deadline the error says how long to wait."""
    from bridge import config as configuration
    from bridge.chains.errors import PortError
    from bridge.client.recovery import RecoveryDir, RecoveryError
    from bridge.client.swap import UserSwap, UserWallet
    from bridge.wiring.ports import open_port

    settings = configuration.load(config)
    port = open_port(settings, record.source.chain, user_key(settings, keystore, password_file))
    try:
        async with BridgeClient(record.bridge_url or DEFAULT_URL) as client:  # it is not asked anything
            mine = UserSwap.resume(client, RecoveryDir(recovery_dir), record)
            try:
                return await mine.refund(UserWallet(port))
            except PortError as error:
                left = record.source.deadline - (await port.tip()).time
                if left <= 0:
                    raise
                when = Moment.at(record.source.deadline).rfc3339
                raise RecoveryError(
                    f"refundable from {when}, in {-(-left // 60)} min by the chain's clock",
                    f"run the command again then; the chain said: {error.message}",
                ) from None
    finally:
        await port.close()


async def _from_recipe(config: Path | None, terms: LockTerms, output: Output) -> UnsignedTxView | None:
    """Make the lock that a recipe describes, on the user's side; None without a node of the user's."""
    from bridge import config as configuration
    from bridge.config import ConfigError
    from bridge.wiring.ports import wallet_builder

    try:
        builder = wallet_builder(configuration.load(config), terms.chain)
    except (ConfigError, ValueError):
        output.note(
            f"with [chains.{terms.chain}] in a configuration file this would be a transaction ready to sign"
        )
        return None
    try:
        unsigned = await builder.unsigned(Purpose.LOCK, terms)
    finally:
        await builder.close()
    return UnsignedTxView(purpose=Purpose.LOCK.value, chain=terms.chain, **_shown(unsigned))


def _shown(unsigned: UnsignedTx) -> dict[str, Any]:
    return {"format": unsigned.format, "summary": unsigned.summary, "payload": unsigned.payload}


def _pretty(value: Any) -> str:
    """Return JSON for people to copy; square brackets are not markup."""
    return msgspec.json.format(msgspec.json.encode(value)).decode().replace("[", "\\[")


async def _lock(
    config: Path | None, swap: UserSwap, keystore: Path, password_file: Path | None, output: Output
) -> str:
    from bridge import config as configuration
    from bridge.client.errors import UnsafeError
    from bridge.client.swap import UserWallet
    from bridge.wiring.ports import open_port

    terms = swap.record.source
    settings = configuration.load(config)
    port = open_port(settings, terms.chain, user_key(settings, keystore, password_file))
    try:
        wallet = UserWallet(port)
        if wallet.address != terms.sender:
            raise UnsafeError(
                f"the keystore belongs to {wallet.address}, not to the refund address {terms.sender}",
                "give the keystore of the refund address",
            )
        for approval in await wallet.approvals(terms.asset):
            output.note(f"approval {approval.tx_id}")
            await wallet.settled(approval)
        return await swap.lock(wallet)
    finally:
        await port.close()


async def _until_bridge_takes_it(swap: UserSwap, watch: LockWatch, output: Output) -> None:
    """Wait until the bridge sees its own lock as deep as the user's node did, as long as that is safe: a
    bridge that never says so must not make the user miss the time to claim alone."""
    said = False
    while not (swap.record.revealed or await swap.bridge_takes_secret()):
        await swap.check_counterlock(watch)
        if not said:
            output.note("your node is ahead of the bridge's: waiting until the bridge calls its lock final")
            said = True
        await asyncio.sleep(POLL_SECONDS)


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
