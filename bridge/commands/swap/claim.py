"""`rainbow swap claim`: wait for the bridge's lock on your own node, then reveal the secret."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bridge.client.client import DEFAULT_URL, BridgeClient
from bridge.commands.output import ConfigFile, Json, Output, WrongUsageError, speaking
from bridge.commands.swap.app import app
from bridge.commands.swap.shown import find_record, pretty, tx_fields
from bridge.commands.user import (
    DEFAULT_RECOVERY,
    SWAP_ID_LENGTH,
    ApiUrl,
    Keystore,
    KeystorePassword,
    Recovery,
    RecoveryPassword,
    SwapArgument,
    client_token,
    recovery_password,
    swap_lines,
    user_key,
)
from bridge.protocol.amounts import to_units
from bridge.protocol.types import Amount, SwapId

if TYPE_CHECKING:
    from bridge.client.recovery import RecoveryError
    from bridge.client.swap import LockWatch, UserSwap

POLL_SECONDS = 1.0


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
            record = find_record(recovery_dir, swap)
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
                    await until_safe(mine, watch, output)
                    if keystore and not relayed:
                        tx = await mine.claim(password, watch, UserWallet(port))
                        output.result({"swap_id": mine.id, "claim_tx": tx}, f"claimed by {tx}")
                    elif not (record.gasless or relayed):
                        builder = wallet_builder(settings, chain)
                        try:
                            body = tx_fields(await mine.claim_to_sign(password, watch, builder))
                        finally:
                            await builder.close()
                        output.result(
                            {"swap_id": mine.id, **body}, "sign and send this immediately:", pretty(body)
                        )
                    else:
                        await until_bridge_takes_it(mine, watch, output)
                        authorizer = port.authorizer if keystore else None
                        view = await mine.reveal_to_bridge(password, watch, authorizer, fee)
                        output.result(
                            msgspec.to_builtins(view), "the bridge claims for you", *swap_lines(view)
                        )
            finally:
                await port.close()

        asyncio.run(work())


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


async def until_bridge_takes_it(swap: UserSwap, watch: LockWatch, output: Output) -> None:
    """Wait until the bridge sees its own lock as deep as the user's node did, as long as that is safe: a
    bridge that never says so must not make the user miss the time to claim alone."""
    said = False
    while not (swap.record.revealed or await swap.bridge_takes_secret()):
        await swap.check_counterlock(watch)
        if not said:
            output.note("your node is ahead of the bridge's: waiting until the bridge calls its lock final")
            said = True
        await asyncio.sleep(POLL_SECONDS)


async def until_safe(swap: UserSwap, watch: LockWatch, output: Output) -> None:
    """Wait until the bridge's lock is deep enough on the user's own node. A bridge that answered once may be
    silent for a while: it is started again, or has too much to do."""
    from bridge.client.errors import BridgeRefusedError, BridgeUnreachableError

    shown = -1
    silent = False
    while not swap.record.revealed:
        try:
            evidence = await swap.check_counterlock(watch)
        except (BridgeUnreachableError, BridgeRefusedError) as error:
            passing = isinstance(error, BridgeUnreachableError) or error.retry_after is not None
            if shown < 0 or not passing:
                raise
            if not silent:
                output.note(f"{error.message}: asking again until it is too late to claim")
            silent = True
            await asyncio.sleep(POLL_SECONDS)
            continue
        silent = False
        if swap.is_deep_enough(evidence):
            return
        if evidence.confirmations != shown:
            shown = evidence.confirmations
            wanted = swap.record.destination_confirmations
            output.note(f"the bridge's lock: {evidence.status.value}, {shown} of {wanted} confirmations")
        await asyncio.sleep(POLL_SECONDS)
