"""`rainbow witness`: watch a bridge's transparency log from outside."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bridge.client.client import BridgeClient
from bridge.commands.output import Json, Output, speaking


def witness(
    url: Annotated[str, typer.Argument(help="The bridge's API.")],
    state: Annotated[Path, typer.Option(help="Where the newest head seen is kept.")] = Path("witness.json"),
    key: Annotated[
        str, typer.Option(help="The bridge's public key that you trust; the first seen without.")
    ] = "",
    every: Annotated[float, typer.Option(help="Seconds between two looks; 0: look once.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Check that a bridge's log only grows, and tell the bridge what was seen. Exit code 1 for a fork."""
    from bridge.proofs.witness import ForkError, Seen, accept, needs_proof

    async def look(client: BridgeClient, output: Output) -> None:
        seen = msgspec.json.decode(state.read_bytes(), type=Seen) if state.exists() else None
        trusted = key or (seen.public_key if seen else "")
        head = await client.log_head()
        public_key = trusted or head.public_key
        needed = needs_proof(seen, head.note, public_key)
        path: list[bytes] = []
        if needed is not None:
            path = [bytes.fromhex(step) for step in (await client.log_consistency(*needed)).path]
        kept = accept(seen, head.note, public_key, path)
        staged = state.with_suffix(".new")
        staged.write_bytes(msgspec.json.encode(kept))
        staged.replace(state)
        answer = await client.witness(kept.note)
        if not answer.agrees:
            raise ForkError(answer.detail, "keep the note: the bridge itself says that it does not fit")
        output.result({"size": head.size, "root": head.root}, f"consistent: {head.size} entries, {head.root}")

    async def watch(output: Output) -> None:
        async with BridgeClient(url) as client:
            while True:
                await look(client, output)
                if not every:
                    return
                await asyncio.sleep(every)

    with speaking(as_json) as output:
        asyncio.run(watch(output))
