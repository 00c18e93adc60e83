"""Checking headers in a row, without storing them: the rules of `chain.consensus` that need no block."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from chain.network.codec import Header
from chain.network.core.events import Fault
from chain.network.errors import NetworkError
from chain.rules.block import U8Array
from chain.rules.difficulty import median_time_past, next_target
from chain.rules.errors import RuleBrokenError
from chain.rules.header import (
    HEADER_BYTES,
    HEADER_VERSION,
    MAX_TIME,
    compact_to_target,
    work_of,
)
from chain.rules.params import FUTURE_LIMIT, LWMA_WINDOW, MEDIAN_WINDOW, NetworkParams
from chain.rules.types import BlockId
from kernels import cosmic_harmony

WINDOW = LWMA_WINDOW + 1


class HeaderFaultError(NetworkError):
    """Headers that no honest node sends."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class TooNewError(NetworkError):
    """A header is ahead of this node's clock. `at` is its position: those before it hold."""

    def __init__(self, at: int) -> None:
        super().__init__("a header is too far ahead of this node's clock", hint="check the clock")
        self.at = at


class Branch:
    """A run of checked headers that grows. Holds the last 91, so that the next target can be computed."""

    def __init__(self, params: NetworkParams, ancestors: Sequence[Header], work: int) -> None:
        """`ancestors` end with the parent, oldest first: 91, or all to genesis. `work` is the parent's."""
        self._params = params
        self._window = deque(ancestors, WINDOW)
        self.work = work
        self.tip: BlockId = ancestors[-1].id
        self.height = ancestors[-1].height

    def extend(self, headers: Sequence[Header], now: int) -> list[tuple[Header, int]]:
        """Check headers that follow; return each with the chain's work up to it.

        Raises `HeaderFaultError`, and `TooNewError` after having taken those before it.
        """
        check_links(self.tip, self.height, headers)
        _check_work(headers)
        taken: list[tuple[Header, int]] = []
        limit = min(now + FUTURE_LIMIT, MAX_TIME)
        for position, header in enumerate(headers):
            if header.version != HEADER_VERSION:
                raise HeaderFaultError(Fault.BAD_HEADERS, f"version {header.version} is unknown")
            window = list(self._window)
            expected = next_target(self._params, window) if self._params.retarget else self._params.pow_limit
            if header.target != expected:
                raise HeaderFaultError(Fault.BAD_HEADERS, f"the target of {header.id.hex()} is wrong")
            if header.time <= median_time_past([one.time for one in window[-MEDIAN_WINDOW:]]):
                raise HeaderFaultError(Fault.BAD_HEADERS, f"the time of {header.id.hex()} is too old")
            if header.time > limit:
                raise TooNewError(position)
            self.work += work_of(header.target)
            self._window.append(header)
            self.tip, self.height = header.id, header.height
            taken.append((header, self.work))
        return taken


def check_links(parent: BlockId, height: int, headers: Sequence[Header]) -> None:
    """Check that headers follow a parent and each other. Raises `HeaderFaultError`."""
    for header in headers:
        height += 1
        if header.previous != parent or header.height != height:
            raise HeaderFaultError(Fault.BAD_HEADERS, "headers that do not follow each other")
        parent = header.id


def _check_work(headers: Sequence[Header]) -> None:
    """Check all proofs of work in one call of the kernel. Raises `HeaderFaultError`."""
    try:
        targets = b"".join(
            cosmic_harmony.target_bytes(compact_to_target(header.target)) for header in headers
        )
    except RuleBrokenError as error:
        raise HeaderFaultError(Fault.BAD_HEADERS, str(error)) from None
    raws: U8Array = np.frombuffer(b"".join(header.raw for header in headers), np.uint8)
    nonces = np.array([header.nonce for header in headers], np.uint64)
    good = cosmic_harmony.verify_batch(
        raws.reshape(-1, HEADER_BYTES).copy(),
        nonces,
        np.frombuffer(targets, np.uint8).reshape(-1, 32).copy(),
    )
    if not bool(good.all()):
        raise HeaderFaultError(Fault.BAD_WORK, "the work hash of a header is above its target")
