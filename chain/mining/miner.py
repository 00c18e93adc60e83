"""The solo miner: a thread that scans nonces for the newest work, with either backend."""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from chain.mining.template import with_nonce
from chain.rules.block import Block
from chain.rules.header import compact_to_target
from kernels.backends import Scanner, open_scanner

log = structlog.get_logger("zion.miner")

BATCH_SECONDS = 0.25
"""Target length of one scan: long enough to be efficient, short enough to change to new work soon."""

FIRST_BATCH = 1 << 16

STALE_SECONDS = 10.0
"""A hash rate measured longer ago than this is not the hash rate."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds before a failed backend is opened again: doubled each time, up to the longest."""


@dataclass(frozen=True)
class Work:
    """A block to find a nonce for."""

    block: Block
    header: bytes
    target: int

    @staticmethod
    def of(block: Block) -> Work:
        """Return the work of an unmined block."""
        return Work(block, block.header.raw, compact_to_target(block.header.target))

    def solved(self, nonce: int) -> Block:
        """Return the block under a nonce."""
        return with_nonce(self.block, nonce)


class SoloMiner:
    """Scans for the work offered last, on its own thread; the scan leaves Python's lock to others.

    `found(work, nonce)` is called on the miner's thread; after it the miner waits for new work.
    """

    def __init__(
        self,
        backend: str,
        found: Callable[[Work, int], None],
        *,
        threads: int = 1,
        open_backend: Callable[..., Scanner] = open_scanner,
    ) -> None:
        """Open the backend ("numba" or "opencl"). Raises kernels' `BackendUnavailableError`."""
        self._open: Callable[[], Scanner] = functools.partial(open_backend, backend, threads=threads)
        self._scanner: Scanner = self._open()
        self._found = found
        self._work: Work | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="zion-miner", daemon=True)
        self._rate, self._measured = 0.0, 0.0
        self.hashes = 0
        """Hashes done since the start."""
        self.problem = ""
        """Why nothing is scanned now; empty while scanning works."""
        self.restarts = 0
        """How often the backend failed and was opened again."""

    @property
    def hash_rate(self) -> float:
        """Hashes per second, smoothed over some seconds; 0 when none was done lately."""
        return self._rate if time.monotonic() - self._measured < STALE_SECONDS else 0.0

    @property
    def alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, work: Work) -> None:
        """Replace the current work."""
        with self._changed:
            self._work = work
            self._changed.notify()

    def stop(self) -> None:
        """Stop after the current scan and free the backend."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._scanner.close()

    def _next(self) -> Work | None:
        with self._changed:
            while self._work is None and not self._stopping:
                self._changed.wait()
            return None if self._stopping else self._work

    def _run(self) -> None:
        """Scan until `stop`. A backend that fails, as a device does that is lost, is opened again."""
        pause = FIRST_PAUSE
        while not self._stopping:
            try:
                self._scan()
                return
            except Exception as error:  # a dead thread would mine nothing and say nothing
                pause = min(2 * pause, LONGEST_PAUSE) if self.problem else FIRST_PAUSE
                self.problem = f"the miner's backend failed: {type(error).__name__}: {error}"
                self._rate = 0.0
                log.exception("scan failed; the backend is opened again", seconds=pause)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, timeout=pause)
            if not self._stopping:
                self._reopen()

    def _reopen(self) -> None:
        self.restarts += 1
        try:
            self._scanner.close()
            self._scanner = self._open()
        except Exception as error:  # the next scan fails too, and is waited for longer
            self.problem = f"the miner's backend does not open: {type(error).__name__}: {error}"

    def _scan(self) -> None:
        nonce, batch = secrets.randbits(64), FIRST_BATCH
        while (work := self._next()) is not None:
            began = time.monotonic()
            result = self._scanner.scan(work.header, nonce, batch, work.target)
            if self.problem:
                log.info("mining goes on", restarts=self.restarts)
                self.problem = ""
            spent = max(time.monotonic() - began, 1e-6)
            nonce = (nonce + result.hashes_done) % 2**64
            self._measure(result.hashes_done, spent)
            if result.nonce is not None:
                with self._changed:
                    if self._work is work:
                        self._work = None
                self._found(work, result.nonce)
            else:
                batch = max(FIRST_BATCH, min(2 * batch, int(batch * BATCH_SECONDS / spent)))

    def _measure(self, hashes: int, seconds: float) -> None:
        self.hashes += hashes
        weight = min(1.0, seconds / 5)
        rate = hashes / seconds
        before = self.hash_rate
        self._rate = rate if before == 0 else (1 - weight) * before + weight * rate
        self._measured = time.monotonic()
