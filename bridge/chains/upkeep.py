"""What a chain forgets unless somebody pays for it, and how long that lives yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bridge.protocol.types import Asset


@dataclass(frozen=True)
class Kept:
    """One thing that is kept: what it is, for people, and how many seconds it lives yet (None: not any more,
    and it comes back at a price). `trouble` says what is wrong, "" while it is renewed as it should be."""

    what: str
    seconds: int | None
    trouble: str = ""


@runtime_checkable
class KeepsAlive(Protocol):
    """A port whose contract must be kept alive."""

    async def upkeep(self, assets: Sequence[Asset]) -> tuple[Kept, ...]:
        """Return what is kept for these assets. Raises `PortUnavailableError`."""
        ...
