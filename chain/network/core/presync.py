"""Headers with little work, measured before they are stored.

A branch whose work is not yet enough is read twice. The first time only its work is summed up, and one
salted bit is kept for every 600 headers. When the work is enough, the branch is asked for again, compared
with the bits, and taken. A liar gets nothing stored without having spent the work; a branch that changes
between the readings is caught with probability ½ per bit.

After Bitcoin Core's headers presync (its pull request 25717).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from chain.network.codec import Header
from chain.network.core.branch import Branch, HeaderFaultError
from chain.network.core.events import Fault
from chain.rules.hashing import sha256
from chain.rules.types import BlockId

BIT_EVERY = 600
BUFFERED = 14_400
"""Headers held back in the second reading, so that 24 bits were compared before the first is taken."""

MAX_PRESYNCS = 4
"""Presyncs at a time, with all peers together."""

MAX_SECONDS = 3_600
"""A presync takes no longer."""


class Phase(Enum):
    """Which reading."""

    MEASURE = "measure"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a message of headers led to. `taken` may be stored. `ask_after`: the header to go on from."""

    taken: tuple[Header, ...] = ()
    ask_after: BlockId | None = None
    done: bool = False


class Presync:
    """One peer's branch being measured. `fork` is a known header."""

    def __init__(
        self, fork: BlockId, first: Branch, second: Branch, needed: int, salt: bytes, at: float
    ) -> None:
        self.fork, self.started = fork, at
        self.phase = Phase.MEASURE
        self._branch, self._second = first, second
        self._base = first.height
        self._needed, self._salt = needed, salt
        self._bits: list[int] = []
        self._length = 0
        self._compared = 0
        self._buffer: list[Header] = []

    def _bit(self, header: Header) -> int:
        return sha256(self._salt + header.id)[0] & 1

    def on_headers(self, headers: Sequence[Header], now: int, *, full: bool) -> Progress:
        """Go on with the next headers of the branch. Raises `HeaderFaultError`.

        `full`: the message had as many as fit, so there may be more.
        """
        return (
            self._measure(headers, now, full)
            if self.phase is Phase.MEASURE
            else self._read(headers, now, full)
        )

    def _measure(self, headers: Sequence[Header], now: int, full: bool) -> Progress:
        self._branch.extend(headers, now)
        for header in headers:
            if (header.height - self._base) % BIT_EVERY == 0:
                self._bits.append(self._bit(header))
        self._length = self._branch.height - self._base
        if self._branch.work >= self._needed:
            self.phase = Phase.READ
            return Progress(ask_after=self.fork)
        if not full:
            return Progress(done=True)  # all there is: not enough work, nothing stored, no harm done
        return Progress(ask_after=headers[-1].id)

    def _read(self, headers: Sequence[Header], now: int, full: bool) -> Progress:
        self._second.extend(headers, now)
        for header in headers:
            distance = header.height - self._base
            if distance > self._length:
                break
            if distance % BIT_EVERY == 0:
                if self._bits[self._compared] != self._bit(header):
                    raise HeaderFaultError(Fault.BAD_PRESYNC, "the headers differ from those sent before")
                self._compared += 1
        self._buffer.extend(headers)
        enough = self._second.work >= self._needed
        keep = 0 if enough else BUFFERED
        ready = len(self._buffer) - keep
        taken = tuple(self._buffer[: max(ready, 0)])
        self._buffer = self._buffer[max(ready, 0) :]
        if enough:
            return Progress(taken=taken, done=True)
        if not full:
            raise HeaderFaultError(Fault.BAD_PRESYNC, "the branch is shorter than when it was measured")
        return Progress(taken=taken, ask_after=headers[-1].id)
