"""`python -m relayers.stellar.devnet`: replay recordings of a real node, or serve a local network."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from relayers.stellar.devnet.replay import replay as replay_recording
from relayers.stellar.devnet.server import DevnetServer

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def replay(recordings: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)]) -> None:
    """Replay recordings and print each status or result that differs; exit 1 if any does."""
    differences = 0
    for recording in recordings:
        lines = recording.read_text().splitlines()
        found = list(replay_recording(lines))
        for each in found:
            typer.echo(f"{recording}: {each}")
        differences += len(found)
        typer.echo(f"{recording}: {len(lines)} steps, {len(found)} differences")
    raise typer.Exit(1 if differences else 0)


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="port on 127.0.0.1; 0 takes a free one")] = 8000,
    interval: Annotated[float, typer.Option(help="seconds between ledgers; 0: only on command")] = 5.0,
    journal: Annotated[Path | None, typer.Option(help="keep the chain in this file")] = None,
) -> None:
    """Serve a local network by Stellar RPC."""

    async def main() -> None:
        server = DevnetServer(journal, interval or None, port)
        typer.echo(f"Stellar RPC at {server.url}/rpc, network {server.node.network.passphrase!r}")
        await server.run()

    asyncio.run(main())


if __name__ == "__main__":
    app()
