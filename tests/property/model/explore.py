"""Breadth-first search over all worlds: `python -m tests.property.model` or `make check-protocol`.

A world is remembered by its 64-bit hash, so a search over a million worlds overlooks one with a probability
of about one in thirty million. What breaks a promise is reported with the shortest path to it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.property.model.model import Model
from tests.property.model.world import Bounds, World, require


@dataclass(frozen=True)
class Found:
    """How a search ended. `complete`: every world within the bounds was visited. `counterexample`: the path
    to a broken promise, "" if none was found."""

    worlds: int
    moves: int
    seconds: float
    complete: bool
    counterexample: str = ""


class Search:
    """One search within some bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.model = Model(bounds)
        self._origin: dict[int, tuple[int, int]] = {}
        self._last = self.model.begin()
        self._moves = 0

    def run(self, *, most: int = 10**9, seconds: float = 1e9) -> Found:
        """Visit worlds until none is new, or there are too many, or it takes too long."""
        began = time.monotonic()
        start = self.model.begin()
        self._origin[hash(start)] = (0, 0)
        layer, edge, complete = [start], list[World](), True
        try:
            while layer and complete:
                layer = self._visit(layer, edge)
                complete = len(self._origin) < most and time.monotonic() - began < seconds
            for world in (*edge, *layer):
                self._continue_fairly(world)
        except AssertionError as error:
            return self._found(began, complete=False, broken=self._path(self._last, str(error)))
        return self._found(began, complete=complete or not layer)

    def _visit(self, layer: list[World], edge: list[World]) -> list[World]:
        """Return the new worlds one move after a layer's; those beyond the horizon go to `edge`."""
        following: list[World] = []
        for world in layer:
            before, self._last = hash(world), world
            for number, move in enumerate(self.model.moves(world)):
                self._moves += 1
                key = hash(move.world)
                if key not in self._origin:
                    self._origin[key] = before, number
                    self._last = move.world
                    self.model.check(move.world)
                    self._last = world
                    (edge if move.world.slot > self.model.horizon else following).append(move.world)
        return following

    def _continue_fairly(self, world: World) -> None:
        """Check that what is left ends well when everybody does their duty.

        Only for worlds at the edge of the search: the fair next moment of every other world is one of the
        worlds that are visited too."""
        self._last = world
        while not self.model.is_at_rest(world):
            require(world.slot < 2 * self.model.horizon, "it does not come to rest")
            world = self.model.fair(world)
            self.model.check(world)
        self.model.check_end(world)

    def _found(self, began: float, *, complete: bool, broken: str = "") -> Found:
        took = time.monotonic() - began
        return Found(len(self._origin), self._moves, took, complete, broken)

    def _path(self, last: World, promise: str) -> str:
        """Replay the way to a world and one move or fair continuation more, in words."""
        choices: list[int] = []
        key = hash(last)
        while self._origin[key] != (0, 0):
            key, choice = self._origin[key]
            choices.append(choice)
        lines, world = [f"BROKEN: {promise}"], self.model.begin()
        for choice in reversed(choices):
            _, world = self._replay(world, choice, lines)
        self._replay(world, None, lines)
        self.model.engine.trace = None
        return "\n".join(lines)

    def _replay(self, world: World, choice: int | None, lines: list[str]) -> tuple[str, World]:
        """Make one move again and add to `lines` what it brought; with None, the move that cannot be made."""
        name, after = "", world
        self.model.engine.trace = []
        try:
            for number, move in enumerate(self.model.moves(world)):
                name, after = move
                if number == choice:
                    break
                self.model.engine.trace = []
            else:
                return name, world
        except AssertionError:
            name = "and then"
        lines += [f"  slot {world.slot:2}: {name}"] if name else []
        lines += [f"           the engine hears {_in_words(event)}" for event in self.model.engine.trace]
        return name, after


def _in_words(event: object) -> str:
    words = [type(event).__name__]
    for name in ("leg", "lock_id", "tx_id", "chain", "time", "height"):
        value = getattr(event, name, None)
        if value is not None:
            words.append(f"{name}={getattr(value, 'value', value)}")
    return " ".join(words)
