"""`--chaos`: every process of the site is killed once, with SIGKILL, in the middle of the swaps."""

from __future__ import annotations

import asyncio
import random

from bridge.demo.board import Board
from bridge.demo.site import Site

QUIET_SECONDS = (0.5, 3.0)
"""Between two kills."""
DOWN_SECONDS = (0.2, 1.5)
"""How long a killed process stays down."""


class Chaos:
    """Kills and revives, in an order and at times that follow from the seed."""

    def __init__(self, site: Site, board: Board, seed: int, victims: tuple[str, ...] = ()) -> None:
        self._site = site
        self._board = board
        self._random = random.Random(seed)
        self._victims = victims
        self.killed: list[str] = []

    async def run(self) -> None:
        """Kill each victim once."""
        order = list(self._victims or self._site.victims)
        self._random.shuffle(order)
        for victim in order:
            await asyncio.sleep(self._random.uniform(*QUIET_SECONDS))
            self._board.note(f"[red]✗[/] kill -9 {victim}")
            self._site.kill(victim)
            self.killed.append(victim)
            await asyncio.sleep(self._random.uniform(*DOWN_SECONDS))
            await self._site.revive(victim)
            self._board.note(f"[green]↺[/] {victim} is back")
