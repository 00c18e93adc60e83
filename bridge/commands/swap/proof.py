"""`rainbow swap proof`: fetch the proof of how a swap ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bridge.client.client import DEFAULT_URL, BridgeClient
from bridge.commands.output import Json, Output, speaking
from bridge.commands.swap.app import app
from bridge.commands.swap.shown import find_swap_id
from bridge.commands.user import (
    DEFAULT_RECOVERY,
    ApiUrl,
    Recovery,
    SwapArgument,
    client_token,
)


@app.command()
def proof(
    swap: SwapArgument,
    out: Annotated[Path | None, typer.Option("--out", help="Where to save it; SWAP.bundle without.")] = None,
    since: Annotated[
        int | None, typer.Option(help="Height of the first header, at or below a block you trust.", min=0)
    ] = None,
    recovery_dir: Recovery = DEFAULT_RECOVERY,
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Save the proof of how a swap ended; check it with `rainbow verify`."""

    async def fetch(output: Output) -> None:
        async with BridgeClient(api, token=client_token()) as client:
            swap_id = find_swap_id(recovery_dir, swap)
            view = await client.proof(swap_id, since=since)
        target = out or Path(f"{swap_id}.bundle")
        target.write_text(view.bundle)
        output.result({"bundle": str(target)}, f"saved: {target}", f"check it: rainbow verify {target}")

    with speaking(as_json) as output:
        asyncio.run(fetch(output))
