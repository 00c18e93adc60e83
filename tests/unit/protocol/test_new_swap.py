"""A swap is only made of terms that fit together."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from bridge.protocol import events as ev
from bridge.protocol.alarms import next_alarm
from bridge.protocol.refusals import ProtocolError
from bridge.protocol.timelocks import expiry_time, latest_counterlock
from bridge.protocol.transition import new_swap
from bridge.protocol.types import BlockHeight, Swap, SwapId, SwapState, UnixSeconds
from tests import instances
from tests.unit.protocol.factory import (
    DESTINATION_TERMS,
    PLAN,
    POLICY,
    SOURCE_TERMS,
    START,
    ZION,
    Player,
)


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ({"hashlock": b"\1" * 32}, {}),
        ({"hashlock": b"\1" * 31}, {"hashlock": b"\1" * 31}),
        ({"amount": 0}, {}),
        ({}, {"amount": -1}),
        ({"chain": instances.ZION, "asset": ZION}, {}),
        ({"asset": ZION}, {}),
        ({"sender": ""}, {}),
        ({}, {"recipient": ""}),
        ({"deadline": PLAN.source - 1}, {}),
        ({}, {"deadline": PLAN.destination + 1}),
    ],
)
def test_terms_that_do_not_fit_together_make_no_swap(
    source: dict[str, object], destination: dict[str, object]
) -> None:
    with pytest.raises(ProtocolError):
        new_swap(
            SwapId("x"),
            source=replace(SOURCE_TERMS, **source),
            destination=replace(DESTINATION_TERMS, **destination),
            policy=POLICY,
        )


def test_a_swap_starts_quoted_or_waiting_if_it_is_accepted_already() -> None:
    made = {
        accepted: new_swap(
            SwapId("x"), source=SOURCE_TERMS, destination=DESTINATION_TERMS, policy=POLICY, accepted=accepted
        )
        for accepted in (False, True)
    }
    assert made[False].state is SwapState.QUOTED
    assert made[True].state is SwapState.AWAIT_LOCK


def test_a_swap_survives_storage_unchanged() -> None:
    p = Player().accepted().source_locked("odd", amount=1).source_locked().source_final()
    p.destination_locked().shared()
    assert msgspec.json.decode(msgspec.json.encode(p.swap), type=Swap) == p.swap


def test_a_swap_names_the_times_it_wants_to_hear() -> None:
    p = Player()
    assert next_alarm(p.swap, instances.ZION) == 0
    assert next_alarm(p.swap, instances.SOLANA) is None
    p.accepted()
    assert next_alarm(p.swap, instances.ETHEREUM) == expiry_time(POLICY) + 1
    assert next_alarm(p.swap, instances.ZION) == latest_counterlock(POLICY, PLAN.destination) + 1
    p.destination_time(PLAN.destination)
    assert next_alarm(p.swap, instances.ZION) is None


def test_clocks_that_disagree_make_the_next_tick_matter() -> None:
    p = Player().accepted().source_locked().source_time(START + 800).source_final()
    assert next_alarm(p.swap, instances.ZION) == START + 1
    p.feed(ev.Tick(instances.ZION, UnixSeconds(START + 500), BlockHeight(9)))
    assert next_alarm(p.swap, instances.ZION) == latest_counterlock(POLICY, PLAN.destination) + 1
