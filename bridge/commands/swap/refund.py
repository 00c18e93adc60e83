"""`rainbow swap refund`: get the source back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bridge.client.client import DEFAULT_URL, BridgeClient
from bridge.commands.output import ConfigFile, Json, Output, speaking
from bridge.commands.swap.app import app
from bridge.commands.swap.shown import find_record, pretty, tx_fields, user_wallet
from bridge.commands.user import (
    DEFAULT_RECOVERY,
    SWAP_ID_LENGTH,
    ApiUrl,
    Keystore,
    KeystorePassword,
    Recovery,
    SwapArgument,
    check_named_config,
    client_token,
    swap_lines,
)
from bridge.protocol.status import TERMINAL_STATES
from bridge.protocol.types import Purpose, SwapId
from bridge.wire.base import Moment
from bridge.wire.swaps import RefundView

if TYPE_CHECKING:
    from bridge.chains.port import UnsignedTx
    from bridge.client.recovery import RecoveryRecord


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
            record = find_record(recovery_dir, swap)
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
            body = {"not_before": record.source.deadline, **tx_fields(unsigned)}
            when = Moment.at(record.source.deadline).rfc3339
            output.result(body, f"sign and send this after {when}:", pretty(tx_fields(unsigned)))
        else:
            tx = asyncio.run(_sign_refund(config, record, recovery_dir, keystore, keystore_password_file))
            output.result({"swap_id": record.swap_id, "refund_tx": tx}, f"refunded by {tx}")


def _refund_without_record(api: str, swap: str, output: Output) -> None:
    """Show what the bridge says is to be signed: a refund needs nothing secret."""
    asked = asyncio.run(_ask_refund(api, SwapId(swap)))
    if _nothing_to_sign(asked, output, signs=False):
        return
    body = {"not_before": asked.not_before.unix, "transactions": msgspec.to_builtins(asked.transactions)}
    output.result(
        body, f"sign and send this after {asked.not_before.rfc3339}:", *map(pretty, asked.transactions)
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
    from bridge.chains.errors import PortError
    from bridge.client.recovery import RecoveryDir, RecoveryError
    from bridge.client.swap import UserSwap

    async with (
        user_wallet(config, record.source.chain, keystore, password_file) as wallet,
        BridgeClient(record.bridge_url or DEFAULT_URL) as client,  # it is not asked anything
    ):
        mine = UserSwap.resume(client, RecoveryDir(recovery_dir), record)
        try:
            return await mine.refund(wallet)
        except PortError as error:
            left = record.source.deadline - (await wallet.port.tip()).time
            if left <= 0:
                raise
            when = Moment.at(record.source.deadline).rfc3339
            raise RecoveryError(
                f"refundable from {when}, in {-(-left // 60)} min by the chain's clock",
                f"run the command again then; the chain said: {error.message}",
            ) from None
