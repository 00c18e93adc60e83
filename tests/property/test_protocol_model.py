"""The explicit-state check of the protocol: a slice of it, and proof that it finds broken rules.

`make check-protocol` searches wider.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from bridge.protocol import rules, timelocks
from bridge.protocol.legs import OPEN
from bridge.protocol.types import LegState, Swap
from tests.property.model import engine
from tests.property.model.explore import Search
from tests.property.model.world import Bounds

QUIET = Bounds(reorgs=0, faults=0)


@pytest.mark.parametrize(
    ("bounds", "most"),
    [
        (replace(QUIET, careful=True), 30_000),
        (replace(QUIET, lock_window=1, odd_claims=True), 12_000),
        (replace(QUIET, careful=True, reorgs=1), 12_000),
        (Bounds(stray=True, operator=True), 12_000),
        (replace(QUIET, careful=True, floating=-1, lock_window=3), 20_000),
        (Bounds(floating=1, lock_window=2), 12_000),
    ],
    ids=["careful", "hostile", "reorg", "all", "floating, careful", "floating, all"],
)
def test_no_order_of_events_breaks_a_promise(bounds: Bounds, most: int) -> None:
    found = Search(bounds).run(most=most)
    assert not found.counterexample, found.counterexample
    assert found.worlds > 10_000


def test_a_careful_user_in_a_calm_world_is_searched_completely() -> None:
    assert Search(replace(QUIET, careful=True, user_window=2)).run().complete


class TestABrokenRuleIsFound:
    """The rules of the model itself, without what `check_swap` says of a swap alone."""

    @pytest.fixture(autouse=True)
    def only_the_chains_judge(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "check_swap", lambda swap: None)

    def found(self, bounds: Bounds) -> str:
        return Search(bounds).run(most=120_000).counterexample

    def test_a_counter_lock_before_the_source_is_final(self, monkeypatch: pytest.MonkeyPatch) -> None:
        honest = rules.may_counterlock

        def too_early(swap: Swap, now: object = None) -> object:
            source = msgspec.structs.replace(swap.source, lock_final=True)
            return honest(msgspec.structs.replace(swap, source=source), now)  # type: ignore[arg-type]

        monkeypatch.setattr(rules, "may_counterlock", too_early)
        monkeypatch.setattr(rules, "check_source_lock", lambda swap, evidence: None)
        assert "locked before the source lock is final" in self.found(QUIET)

    def test_a_source_given_back_before_the_refund_is_final(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given = {LegState.REFUND_SEEN, LegState.REFUND_FINAL}

        def too_early(swap: Swap) -> bool:
            never = swap.destination.state is LegState.NONE and swap.abandoned is not None
            return swap.source.state in OPEN and (never or swap.destination.state in given)

        monkeypatch.setattr(rules, "must_give_source_back", too_early)
        found = self.found(QUIET)
        assert "the source is given back while the destination may be taken" in found
        assert "the engine hears RefundSeen leg=destination" in found, "the path ends with what went wrong"

    def test_deadlines_too_close_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        honest = timelocks.deadline_gap
        monkeypatch.setattr(timelocks, "deadline_gap", lambda policy: honest(policy) - 6)
        assert "the bridge lost: both legs went to the user" in self.found(QUIET)

    def test_a_claim_that_is_given_up_after_the_destinations_deadline(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = rules.must_claim_source

        def gives_up(swap: Swap) -> bool:
            return honest(swap) and not rules.deadline_passed(swap, swap.destination)

        monkeypatch.setattr(rules, "must_claim_source", gives_up)
        assert "the bridge lost: both legs went to the user" in self.found(QUIET)
