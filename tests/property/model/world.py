"""The moment that the model is in, and the bounds of a search. All values are immutable and hashable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from bridge.protocol.types import LegRole, Preimage
from tests import instances
from tests.property.model.chain import Block, Chain

SOURCE, DESTINATION = LegRole.SOURCE, LegRole.DESTINATION
CHAINS = {SOURCE: instances.ETHEREUM, DESTINATION: instances.ZION}
PREIMAGE = Preimage(b"the model's secret")
OWN_LOCK = {SOURCE: "s", DESTINATION: "d"}
STRAY = "stray"
PAYBACK = "payback"
"""The lock on the source's chain that pays the source's amount back."""


@dataclass(frozen=True)
class Bounds:
    """What a search may do; times in slots. `faults`: slots in which the engine or a chain does not work, at
    most the outage budget, which is what the deadlines provide for."""

    careful: bool = False
    """The user keeps to the protocol; else they do whatever pays."""
    inclusion: int = 1
    depth: int = 2
    outage: int = 1
    skew: int = 0
    """The source's clock is ahead by so much."""
    user_window: int = 2
    lock_window: int = 1
    faults: int = 1
    reorgs: int = 1
    odd_claims: bool = False
    """The user claims in a way that no reader understands before the faults are used up."""
    stray: bool = False
    """The user locks a second time with other terms and the same hashlock."""
    operator: bool = False
    """An operator abandons the swap once."""
    floating: int = 0
    """The destination's amount and deadline are decided as it is locked, with the price up (1) or down (-1)
    since the quote; 0: the quote fixed them."""


class Phase(IntEnum):
    PEOPLE = 0
    SOURCE_BLOCK = 1
    DESTINATION_BLOCK = 2
    ENGINE = 3


class World(NamedTuple):
    """All that distinguishes one moment from another. `swap` is the number of an interned swap."""

    slot: int
    phase: Phase
    source: Chain
    destination: Chain
    swap: int
    known_source: tuple[Block, ...] = ()
    known_destination: tuple[Block, ...] = ()
    done: frozenset[str] = frozenset()
    """What people have done already; each of it happens once."""
    last_move: int = 0
    faults: int = 0
    reorgs: int = 0

    def chain(self, role: LegRole) -> Chain:
        return self.source if role is SOURCE else self.destination

    def known(self, role: LegRole) -> tuple[Block, ...]:
        return self.known_source if role is SOURCE else self.known_destination

    def with_chain(self, role: LegRole, chain: Chain) -> World:
        return self._replace(source=chain) if role is SOURCE else self._replace(destination=chain)

    def with_known(self, role: LegRole, blocks: tuple[Block, ...]) -> World:
        return (
            self._replace(known_source=blocks) if role is SOURCE else self._replace(known_destination=blocks)
        )


class Move(NamedTuple):
    """One thing that can happen, in words, and where it leads."""

    name: str
    world: World


class BrokenPromiseError(AssertionError):
    """Something that must never happen has happened."""


def require(holds: bool, promise: str) -> None:
    """Raise `BrokenPromiseError` unless it holds."""
    if not holds:
        raise BrokenPromiseError(promise)
