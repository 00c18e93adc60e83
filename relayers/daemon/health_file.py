"""A file that is written while the worker lives, for the supervisor of the process."""

from __future__ import annotations

import json
import time
from pathlib import Path

import structlog

from bridge.protocol.types import ChainId

log = structlog.get_logger("worker")

LEAST_SECONDS = 1.0
"""The file is written at most this often."""


class HealthFile:
    """JSON with chain, healthy, detail and time (Unix seconds), replaced as a whole."""

    def __init__(self, path: Path | None, chain: ChainId) -> None:
        """`path` None: nothing is written."""
        self._path = path
        self._chain = chain
        self._last = 0.0

    def write(self, healthy: bool, detail: str) -> None:
        """Say how the last pass went."""
        now = time.time()
        if self._path is None or now - self._last < LEAST_SECONDS:
            return
        self._last = now
        body = {"chain": self._chain, "healthy": healthy, "detail": detail, "time": now}
        scratch = self._path.with_suffix(".tmp")
        try:
            scratch.write_text(json.dumps(body))
            scratch.replace(self._path)
        except OSError as error:
            log.warning("health_file", reason=str(error))
