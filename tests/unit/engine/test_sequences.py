"""The next sequence is reconciled between the chain and the store, both ways."""

from __future__ import annotations

import pytest

from bridge.chains.errors import PortUnavailableError
from bridge.engine.sequences import allocate, gaps


def test_the_chain_and_the_stored_transactions_both_count() -> None:
    assert allocate(confirmed=7, held=(), floor=0) == 7
    assert allocate(confirmed=7, held={7, 8}, floor=0) == 9
    assert allocate(confirmed=9, held={7, 8}, floor=7) == 9


def test_a_gap_is_filled_before_anything_new_is_taken() -> None:
    assert allocate(confirmed=7, held={8, 9}, floor=0) == 7
    assert gaps(7, {8, 10}) == [7, 9]
    assert gaps(7, {7, 8}) == []
    assert gaps(7, ()) == []


def test_a_node_that_knows_less_than_we_do_is_not_built_upon() -> None:
    with pytest.raises(PortUnavailableError):
        allocate(confirmed=4, held=(), floor=5)
