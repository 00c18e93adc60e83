"""`rainbow demo`."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bridge.demo.accounting import balances_table
from bridge.demo.board import Board
from bridge.demo.plans import ASSETS
from bridge.demo.run import Demo, Outcome
from bridge.demo.site import Site

WENT_WRONG = 1
LOG_WIDTH = 140
"""Columns where there is no terminal: wide enough for a whole transaction id."""


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Kill -9 every process once in the middle of the swaps.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides whom chaos hits when.")] = 1,
    directory: Annotated[
        Path | None, typer.Option(help="Where to run; kept afterwards. Default: a temporary place.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")] = False,
) -> None:
    """Swap real value between local ZION, Ethereum, Solana, Stellar and Cardano nodes, in many ways at once.

    Exit code 0 when every swap ended as it should and every balance adds up to the last unit, else 1.
    """
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console = Console(stderr=as_json, width=LOG_WIDTH)
    place = directory or Path(tempfile.mkdtemp(prefix="rainbow-demo-"))
    if directory is not None and directory.exists() and any(directory.iterdir()):
        console.print(
            f"[red]{directory} is not empty[/]: name a new directory, chains begin at their genesis"
        )
        raise typer.Exit(2)
    outcome = asyncio.run(_run(place, console, keep=keep, seed=seed if chaos else None, as_json=as_json))
    if outcome.problems:
        console.print(f"[dim]logs and databases are in {place}[/]")
        raise typer.Exit(WENT_WRONG)
    if directory is None:
        shutil.rmtree(place, ignore_errors=True)


async def _run(place: Path, console: Console, *, keep: bool, seed: int | None, as_json: bool) -> Outcome:
    site = Site(place)
    board = Board(console, silent=as_json)
    try:
        outcome = await Demo(site, board, chaos_seed=seed).run()
        if as_json:
            print(json.dumps(outcome.as_json(board), indent=2))
        else:
            _show(console, board, outcome)
        if keep:
            for name, value in site.describe().items():
                console.print(f"[bold]{name}[/] {value}", soft_wrap=True)
            console.print("Everything keeps running; Ctrl-C ends it.")
            await asyncio.Event().wait()
        return outcome
    except (asyncio.CancelledError, KeyboardInterrupt):
        console.print("stopping …")
        raise
    finally:
        await site.stop()


def _show(console: Console, board: Board, outcome: Outcome) -> None:
    board.show_closing(console)
    if outcome.audits:
        console.print(balances_table(list(ASSETS), outcome.before, outcome.after, outcome.audits))
    for problem in outcome.problems:
        console.print(f"[bold red]✗[/] {problem}")
    if not outcome.problems:
        console.print(
            f"[bold green]✓[/] all {sum(len(card.hops) or 1 for card in board.cards)} swaps ended as they "
            "should, "
            f"every unit is accounted for [dim]({outcome.seconds:.0f} s)[/]"
        )
