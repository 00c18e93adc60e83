"""Lanes: no two open locks of the bridge's share one, whichever process places them, and at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge import config
from bridge.api.services import Services
from bridge.desk.orders import Order
from bridge.desk.quotes import QuoteAsk
from bridge.protocol.events import (
    ClaimFinal,
    ClaimOrphaned,
    ClaimSeen,
    LockSeen,
    OperatorCommand,
    OperatorVerb,
    RefundFinal,
    RefundSeen,
)
from bridge.protocol.pricing import FixedSide
from bridge.protocol.types import Amount, BlockHeight, LegRole, LockId, Swap, TxId
from bridge.store import Store
from tests import instances
from tests.postgres import postgres_urls
from tests.unit.api import play
from tests.unit.api.conftest import SECRETS_KEY
from tests.unit.api.play import ETH, ZION, Clock, base_settings, healthy_chains, services_for

__all__ = ["postgres_urls"]

PLACES = 6


def process(settings: config.Settings, url: str, clock: Clock) -> Services:
    """What one API process has."""
    store = Store.open(url, secrets_key=SECRETS_KEY, clock=clock)
    return services_for(settings, store, clock)


def place(services: Services, number: int) -> Swap:
    """Sell a swap to Ethereum."""
    ask = QuoteAsk(
        ZION, ETH, Amount(1_000 * 10**8), FixedSide.SOURCE, gasless=False, client=f"client{number}"
    )
    order = Order(
        services.quotes.make(ask).body.id, play.preimage(number).hashlock().hex(), "alice", "alice2"
    )
    return services.swaps.place(order).swap.swap


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/bridge.db"
    return str(request.getfixturevalue("postgres_urls")())


@pytest.fixture
def two(tmp_path: Path, url: str, clock: Clock, overrides: dict[str, Any]) -> Iterator[list[Services]]:
    settings = base_settings(tmp_path, overrides)
    made = [process(settings, url, clock) for _ in range(2)]
    healthy_chains(made[0].store, clock)
    yield made
    for services in made:
        services.store.close()


def test_two_processes_that_place_at_once_give_no_lane_twice(two: list[Services]) -> None:
    start, swaps = threading.Barrier(len(two)), list[Swap]()

    def run(services: Services, first: int) -> None:
        start.wait()
        swaps.extend(place(services, first + number) for number in range(PLACES))

    threads = [threading.Thread(target=run, args=(services, 100 * i)) for i, services in enumerate(two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(swap.destination.terms.lane for swap in swaps) == list(range(1, 2 * PLACES + 1))


def test_a_lane_is_held_while_the_lock_may_still_land_and_given_back_when_all_is_over(
    two: list[Services],
) -> None:
    services = two[0]
    first = place(services, 1)
    assert first.destination.terms.lane == 1
    play.lock(services.store, first.id, LegRole.SOURCE)  # our own lock is intended from here on
    abandoned = play.happen(
        services.store, first.id, OperatorCommand(OperatorVerb.COOPERATIVE_REFUND, by="client")
    )
    assert place(services, 2).destination.terms.lane == 2
    block = abandoned.source.lock_block
    assert block is not None
    # The lock lands although it was called off; it is refunded to the bridge, and the source to the user.
    terms = first.destination.terms
    play.happen(
        services.store, first.id, LockSeen(LegRole.DESTINATION, LockId("ours"), terms, TxId("tx"), block)
    )
    assert place(services, 3).destination.terms.lane == 3
    for leg, lock_id in ((LegRole.DESTINATION, "ours"), (LegRole.SOURCE, "lock-source")):
        assert place(services, 4 + len(leg.value)).destination.terms.lane > 3
        late = msgspec.structs.replace(
            block, height=BlockHeight(block.height + 1), time=first.leg(leg).terms.deadline
        )
        play.happen(
            services.store,
            first.id,
            RefundSeen(leg, LockId(lock_id), TxId("refund"), late),
            RefundFinal(leg, LockId(lock_id)),
        )
    assert place(services, 30).destination.terms.lane == 1


def test_a_swap_that_a_deep_reorg_opens_again_holds_its_lane_again(two: list[Services]) -> None:
    services = two[0]
    first = place(services, 1)
    block = play.lock_both(services.store, first.id).source.lock_block
    assert block is not None
    for leg in (LegRole.DESTINATION, LegRole.SOURCE):
        seen = ClaimSeen(leg, LockId(f"lock-{leg.value}"), TxId("claim"), block, play.preimage(1))
        play.happen(services.store, first.id, seen, ClaimFinal(leg, seen.lock_id))
    with services.store.reading() as tx:
        assert tx.swaps.lanes_in_use(instances.ETHEREUM) == set()
    orphaned = ClaimOrphaned(LegRole.DESTINATION, LockId("lock-destination"), block.id)
    play.happen(services.store, first.id, orphaned)
    with services.store.reading() as tx:
        assert tx.swaps.lanes_in_use(instances.ETHEREUM) == {1}


@pytest.mark.parametrize("overrides", [{"chains": {"ethereum": {"lanes": 1}}}])
def test_with_fewer_lanes_than_before_those_above_are_left_alone(
    two: list[Services], tmp_path: Path, url: str, clock: Clock
) -> None:
    many = process(base_settings(tmp_path, {"chains": {"ethereum": {"lanes": 9}}}), url, clock)
    assert [place(many, number).destination.terms.lane for number in (1, 2, 3)] == [1, 2, 3]
    assert place(two[0], 4).destination.terms.lane == 0
    many.store.close()
