"""What the viewer sees: one live row per swap while it runs, and the closing tables.

All of it fits a terminal of 80 columns: words may wrap there, numbers and ids never do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

REFRESH_PER_SECOND = 8


class Verdict(StrEnum):
    """How a swap ended, against how it should have ended."""

    RUNNING = "running"
    AS_EXPECTED = "as expected"
    WRONG = "wrong"


@dataclass
class SwapCard:
    """All that is shown of one swap. Times are seconds since the swap began."""

    name: str
    route: str
    expected: str
    status: str = "waiting"
    verdict: Verdict = Verdict.RUNNING
    reason: str = ""
    swap_id: str = ""
    sends: str = ""
    receives: str = ""
    proof: str = ""
    """What the independent verifier said of the swap's receipt."""
    note: str = ""
    """A remark to show at the end."""
    hops: list[SwapCard] = field(default_factory=list)
    """The swaps that this one consists of, if it has several."""
    stages: list[tuple[str, float]] = field(default_factory=list)
    transactions: list[dict[str, str]] = field(default_factory=list)
    started: float = 0.0
    ended: float = 0.0

    def begin(self) -> None:
        """The swap starts now."""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the swap has taken (so far)."""
        if not self.started:
            return 0.0
        return (self.ended or time.monotonic()) - self.started

    def stage(self, name: str) -> None:
        """Note that a stage was reached for the first time."""
        if any(name == reached for reached, _ in self.stages):
            return
        self.stages.append((name, self.seconds))
        self.status = name

    def finish(self, ok: bool, reason: str = "") -> None:
        """The swap is over."""
        self.ended = time.monotonic()
        self.verdict = Verdict.AS_EXPECTED if ok else Verdict.WRONG
        self.reason = reason

    def stage_durations(self) -> list[tuple[str, float]]:
        """How long it took to reach each stage from the one before, in seconds."""
        previous = 0.0
        result = []
        for name, at in self.stages:
            result.append((name, at - previous))
            previous = at
        return result

    def as_json(self) -> dict[str, Any]:
        """The card for `--json`."""
        return {
            "name": self.name,
            "route": self.route,
            "expected": self.expected,
            "status": self.status,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "swap_id": self.swap_id,
            "sends": self.sends,
            "receives": self.receives,
            "seconds": round(self.seconds, 3),
            "stages": [{"stage": name, "seconds": round(spent, 3)} for name, spent in self.stage_durations()],
            "transactions": self.transactions,
            "note": self.note,
            "proof": self.proof,
            "hops": [hop.as_json() for hop in self.hops],
        }


VERDICT_STYLE = {Verdict.RUNNING: "cyan", Verdict.AS_EXPECTED: "green", Verdict.WRONG: "bold red"}


class Board:
    """Live progress on a terminal; one line per change where there is none; silent for `--json`."""

    def __init__(self, console: Console, silent: bool = False) -> None:
        self.console = console
        self.silent = silent
        self.cards: list[SwapCard] = []
        self.steps: list[tuple[str, float]] = []
        self._step_started = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Board:
        if self.console.is_terminal and not self.silent:
            self._live = Live(
                get_renderable=self.render,
                console=self.console,
                refresh_per_second=REFRESH_PER_SECOND,
                transient=True,
            )
            self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self._live = None

    def add(self, card: SwapCard) -> SwapCard:
        """Show one more swap."""
        self.cards.append(card)
        return card

    def step(self, what: str) -> None:
        """Report that a step of the set-up is done, with the time it took."""
        now = time.monotonic()
        spent = now - self._step_started
        self._step_started = now
        self.steps.append((what, spent))
        if not self.silent:
            self.console.print(f"[green]✓[/] {what} [dim]{spent:.1f} s[/]")

    def note(self, text: str) -> None:
        """Print one line above the live rows."""
        if not self.silent:
            self.console.print(text)

    def reached(self, card: SwapCard, stage: str) -> None:
        """A swap reached a stage."""
        known = len(card.stages)
        card.stage(stage)
        if len(card.stages) == known:
            return
        if self._live is None:
            self.note(f"  [bold]{card.name}[/] {card.route}: {stage} [dim]{card.seconds:.1f} s[/]")

    def render(self) -> RenderableType:
        """The live rows."""
        table = Table(box=None, pad_edge=False, show_header=True, header_style="dim", expand=True)
        for column in ("swap", "route", "now", "s"):
            table.add_column(column, justify="right" if column == "s" else "left", no_wrap=True)
        table.add_column("stages", no_wrap=True, ratio=1)  # what the others leave, so that a row is a line
        for card in self.cards:
            trail = Text(" › ".join(name for name, _ in card.stages[-5:]), style="dim")
            table.add_row(
                card.name,
                card.route,
                Text(card.status, style=VERDICT_STYLE[card.verdict]),
                f"{card.seconds:.0f}",
                trail,
            )
        return Group(table)

    def show_closing(self, console: Console) -> None:
        """Print what remains on the screen: the swaps, their transactions, and where the time went."""
        console.print(self._swaps_table())
        for card in self.cards:
            if card.note:
                console.print(f"  [bold]{card.name}[/]: {card.note}\n")
        for card in self.cards:
            if card.proof:
                console.print(f"  [bold]{card.name}[/]: {card.proof}", soft_wrap=True)
        console.print(self._transactions(), soft_wrap=True)
        console.print(self._stages_table())

    def _swaps_table(self) -> Table:
        table = _table("Swaps", "swap", "route")
        table.add_column("sent\nreceived", justify="right", no_wrap=True)
        table.add_column("ended")
        table.add_column("seconds", justify="right", no_wrap=True)
        for card in self.cards:
            ended = Text(card.status, style=VERDICT_STYLE[card.verdict])
            if card.reason:
                ended.append(f"\n{card.reason}", style="red")
            received = card.receives if card.expected == "completed" else "its own back"
            amounts = f"{card.sends}\n{received}"
            table.add_row(card.name, card.route, amounts, ended, f"{card.seconds:.1f}")
        return table

    def _transactions(self) -> Text:
        """Each id on a line of its own, unbroken: Solana's are longer than a terminal is wide."""
        text = Text("Transactions\n", style="bold")
        for card in self.cards:
            for index, tx in enumerate(card.transactions):
                name = card.name if index == 0 else ""
                what = f"{name:<8} {tx['chain']:<9} {tx['what']}, {tx['confirmations']} confirmations"
                text.append(f"{what}\n", style="not bold")
                text.append(f"{tx['tx_id']}\n", style="not bold dim")
        return text

    def _stages_table(self) -> Table:
        table = _table("Seconds from stage to stage", "swap")
        table.add_column("stages")
        for card in self.cards:
            stages = "  ".join(f"{name} [bold]{spent:.1f}[/]" for name, spent in card.stage_durations())
            table.add_row(card.name, stages)
        return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in columns:
        table.add_column(column)
    return table
