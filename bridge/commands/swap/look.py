"""`rainbow swap list`, `status`, `restore` and `recover`: how your swaps stand. They need no chain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from bridge.client.client import DEFAULT_URL, BridgeClient
from bridge.commands.output import Json, Output, speaking
from bridge.commands.swap.app import app
from bridge.commands.swap.shown import find_record, find_swap_id
from bridge.commands.user import (
    DEFAULT_RECOVERY,
    ApiUrl,
    Recovery,
    SwapArgument,
    client_token,
    swap_lines,
)
from bridge.protocol.amounts import to_text
from bridge.protocol.status import TERMINAL_STATES
from kernels.errors import RainbowError

if TYPE_CHECKING:
    from bridge.client.recovery import RecoveryError, RecoveryRecord

UNKNOWN = "unknown"
"""The status of a swap whose bridge does not answer, or refuses."""


@app.command(name="list")
def list_swaps(recovery_dir: Recovery = DEFAULT_RECOVERY, as_json: Json = False) -> None:
    """List your recovery files, without asking the bridge."""

    from bridge.client.recovery import RecoveryDir

    with speaking(as_json) as output:
        records, damaged = RecoveryDir(recovery_dir).readable()
        _name_damaged(damaged, output)
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
        output.result(
            {"swaps": values, "unreadable": _unreadable(damaged)}, *(lines or ["no recovery files"])
        )


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
            swap_id = find_swap_id(recovery_dir, swap)
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
        record = find_record(recovery_dir, swap)
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
        records, damaged = RecoveryDir(recovery_dir).readable()
        _name_damaged(damaged, output)
        found = [await one(record) for record in records]
        lines = [
            f"{(item['swap_id'] or item['hashlock'])[:8]} {item['status']}: {item['next']} — {item['detail']}"
            for item in found
        ]
        output.result({"swaps": found, "unreadable": _unreadable(damaged)}, *(lines or ["no recovery files"]))
        if damaged or any(item["status"] == UNKNOWN for item in found):
            raise typer.Exit(1)

    async def one(record: RecoveryRecord) -> dict[str, Any]:
        """Return how one swap stands; that its bridge does not answer concerns no other."""
        shown = {"swap_id": record.swap_id, "hashlock": record.hashlock.hex()}
        try:
            async with BridgeClient(record.bridge_url or api, token=client_token()) as client:
                mine = UserSwap.resume(client, RecoveryDir(recovery_dir), record)
                if not mine.id:
                    await mine.place()
                view = await mine.status()
        except RainbowError as error:
            return {**shown, "status": UNKNOWN, "next": error.hint, "detail": error.message}
        return {
            **shown,
            "swap_id": mine.id,
            "status": view.status.value,
            "next": view.next.value,
            "detail": view.detail,
        }

    with speaking(as_json) as output:
        asyncio.run(look(output))


def _name_damaged(damaged: Sequence[RecoveryError], output: Output) -> None:
    for error in damaged:
        output.note(f"passed over: {error.message}; {error.hint}")


def _unreadable(damaged: Sequence[RecoveryError]) -> list[dict[str, str]]:
    return [{"message": error.message, "hint": error.hint} for error in damaged]
