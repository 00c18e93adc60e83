from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.postgres import postgres_urls
from tests.scenario.world import BridgeWorld

__all__ = ["postgres_urls"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of lines of a scenario would bury the one that matters when it fails."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BridgeWorld]:
    made = BridgeWorld(tmp_path)
    yield made
    made.check()
    made.close()
