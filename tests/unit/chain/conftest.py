from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.chain.harness import ALICE, BOB, CAROL, Sandbox


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    """A fresh dev chain with three funded users."""
    sandbox = Sandbox(tmp_path / "chain")
    sandbox.fund(ALICE, BOB, CAROL)
    yield sandbox
    sandbox.close()
