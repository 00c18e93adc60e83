"""What `rainbow check` is told of each endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bridge.chains.endpoints.selection import Verdict


@dataclass(frozen=True)
class Report:
    """One endpoint: `trouble` is None when it may be asked, `height` its newest block where it is known."""

    name: str
    trouble: Verdict | None
    height: int | None = None


@runtime_checkable
class Examinable(Protocol):
    """A port that can tell of its endpoints."""

    async def examine(self) -> tuple[Report, ...]:
        """Look at every endpoint now. Raises nothing."""
        ...
