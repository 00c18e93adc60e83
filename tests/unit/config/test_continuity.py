"""A configuration that open swaps do not fit is refused, with the swaps named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge import config
from bridge.commands.check import Level, promises
from bridge.protocol.types import Address, ChainId, LegState, Swap, SwapId, SwapState
from bridge.store import Store
from bridge.store.records import SwapMeta
from bridge.store.repositories.identities import ChainIdentity
from bridge.wiring.continuity import (
    NAMED,
    conflicts,
    identity_of,
    keyed_identities,
    refuse_conflicts,
    take_up,
)
from tests import instances
from tests.unit.samples import swap

ETHEREUM, ZION = instances.ETHEREUM, instances.ZION
ETH_KEY, ZION_KEY = "ethereum:ETH", "zion:ZION"
CONTRACT, ACCOUNT = Address("0xc"), Address("bridge")
PLAIN: dict[str, Any] = {
    "assets": [
        {"chain": "ethereum", "symbol": "ETH", "decimals": 18},
        {"chain": "zion", "symbol": "ZION", "decimals": 8},
    ],
    "pairs": [{"from": ETH_KEY, "to": ZION_KEY, "min": "0.01", "max": "5"}],
    "prices": {"static": {ETH_KEY: "2000", ZION_KEY: "0.5"}},
    "chains": {"ethereum": {}, "zion": {}},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(f"sqlite:///{tmp_path}/rainbow.db")
    yield made
    made.close()


def settings(**changes: Any) -> config.Settings:
    return config.parse({**PLAIN, **changes}, Path("/nowhere"))


def identities(
    of: config.Settings, contract: Address = CONTRACT, account: Address = ACCOUNT
) -> dict[ChainId, ChainIdentity]:
    return {
        ETHEREUM: identity_of(of, ETHEREUM, contract, account),
        ZION: identity_of(of, ZION, Address(""), ACCOUNT),
    }


def put(store: Store, *swaps: Swap) -> None:
    with store.transaction() as tx:
        for each in swaps:
            tx.swaps.add(each, SwapMeta())


def found(store: Store, of: config.Settings, present: dict[ChainId, ChainIdentity]) -> list[str]:
    with store.reading() as tx:
        return [str(conflict) for conflict in conflicts(tx, of, present)]


def test_what_fits_is_taken_up_and_kept_and_said_by_check(store: Store) -> None:
    put(store, swap(1))
    plain = settings()
    for identity in identities(plain).values():
        take_up(store, plain, identity)
        take_up(store, plain, identity)
    with store.reading() as tx:
        assert tx.identities.chains() == [ETHEREUM, ZION]
        assert tx.identities.count(ETHEREUM) == 1
        newest = tx.identities.newest(ETHEREUM)
        assert tx.audit.before() == []
    assert newest is not None
    assert newest.first_seen_ms > 0
    assert (newest.network, newest.contract, newest.account) == ("chain id 31337", CONTRACT, ACCOUNT)
    assert list(promises(store, plain, identities(plain))) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            lambda of: identities(of, contract=Address("0xd")),
            ["contract is now 0xd", "locks in 0xc", "put 0xc back"],
        ),
        (
            lambda of: identities(of, account=Address("0xnew")),
            ["key of chains.ethereum is now that of 0xnew", "by bridge alone", "keystore of bridge back"],
        ),
    ],
)
def test_another_contract_or_key_is_refused_while_swaps_need_the_old_one(
    store: Store, changed: Callable[[config.Settings], dict[ChainId, ChainIdentity]], words: list[str]
) -> None:
    plain = settings()
    put(store, swap(1), swap(2), swap(3, SwapState.COMPLETED))
    take_up(store, plain, identities(plain)[ETHEREUM])
    moved = changed(plain)[ETHEREUM]
    with pytest.raises(config.ConfigError) as caught:
        take_up(store, plain, moved)
    (problem,) = caught.value.problems
    assert "2 open swaps (swap1, swap2)" in problem
    for word in words:
        assert word in problem
    assert "docs/operations/changes.md" in caught.value.hint
    with store.reading() as tx:
        assert tx.identities.count(ETHEREUM) == 1
    with pytest.raises(config.ConfigError):
        refuse_conflicts(store, plain, changed(plain))
    (line,) = promises(store, plain, changed(plain))
    assert line.level is Level.FAIL
    assert "swap1" in line.detail
    # The other chain's relayer goes on: its claims must not wait for this.
    take_up(store, plain, identities(plain)[ZION])


def test_another_contract_and_key_are_taken_up_and_written_down_when_nothing_is_open(store: Store) -> None:
    plain = settings()
    put(store, swap(1, SwapState.COMPLETED))
    take_up(store, plain, identities(plain)[ETHEREUM])
    take_up(store, plain, identities(plain, Address("0xd"), Address("0xnew"))[ETHEREUM])
    with store.reading() as tx:
        (entry,) = tx.audit.before()
        assert tx.identities.count(ETHEREUM) == 2
    assert (entry.by, entry.subject) == ("configuration", "ethereum")
    assert entry.detail == "contract 0xc → 0xd; account bridge → 0xnew"


def test_another_network_under_the_same_name_is_refused_even_when_nothing_is_open(store: Store) -> None:
    plain = settings()
    take_up(store, plain, identities(plain)[ETHEREUM])
    other = settings(chains={"ethereum": {"chain_id": 31338}, "zion": {}})
    with pytest.raises(config.ConfigError) as caught:
        take_up(store, other, identities(other)[ETHEREUM])
    assert "another network (chain id 31338; this database knows it as chain id 31337)" in str(caught.value)
    assert "a section with another name" in str(caught.value)


def test_a_chain_that_is_switched_off_or_gone_is_named_with_its_swaps(store: Store) -> None:
    put(store, swap(1))
    off = settings(chains={"ethereum": {"enabled": False}, "zion": {}})
    present = {ZION: identities(off)[ZION]}
    (problem,) = found(store, off, present)
    assert "chains.ethereum is switched off, and 1 open swaps (swap1) need it" in problem
    gone = settings(
        chains={"zion": {}}, assets=PLAIN["assets"][1:], pairs=[], prices={"static": {ZION_KEY: "1"}}
    )
    (problem,) = found(store, gone, present)
    assert "chains.ethereum has no section any more" in problem
    assert found(store, off, {}) == found(store, off, present)


@pytest.mark.parametrize(
    ("asset", "words"),
    [
        (None, "ethereum:ETH is not listed any more, and 1 open swaps (swap1) are in it"),
        ({"chain": "ethereum", "symbol": "ETH", "decimals": 18}, ""),
    ],
)
def test_an_asset_that_is_no_longer_listed_is_named_with_its_swaps(
    store: Store, asset: dict[str, Any] | None, words: str
) -> None:
    put(store, swap(1))
    assets = [*([asset] if asset else []), PLAIN["assets"][1]]
    without_pair = settings(assets=assets, pairs=[])  # a pair may go: its swaps do not need it
    problems = found(store, without_pair, identities(without_pair))
    assert [problem for problem in problems if words not in problem] == []
    assert len(problems) == bool(words)


def test_an_asset_of_the_same_name_that_is_another_one_is_named(store: Store) -> None:
    put(store, swap(1))
    token = {"chain": "ethereum", "symbol": "ETH", "decimals": 18, "contract": "0x" + "12" * 20}
    other = settings(assets=[token, PLAIN["assets"][1]], pairs=[])
    (problem,) = found(store, other, identities(other))
    assert "ethereum:ETH is listed with another contract or other decimals" in problem


def test_a_static_price_that_an_unlocked_swap_still_needs_is_named(store: Store) -> None:
    locked = swap(2)
    leg = msgspec.structs.replace(locked.destination, state=LegState.SEEN)
    put(store, swap(1), msgspec.structs.replace(locked, destination=leg))
    unpriced = settings(pairs=[], prices={"static": {ZION_KEY: "1"}})
    (problem,) = found(store, unpriced, identities(unpriced))
    assert "no price for ethereum:ETH any more, and 1 open swaps (swap1)" in problem


def test_only_some_of_many_swaps_are_named(store: Store) -> None:
    put(store, *(swap(number) for number in range(NAMED + 3)))
    plain = settings()
    (problem,) = found(store, plain, identities(plain, contract=Address("0xd")))
    assert f"{NAMED + 3} open swaps" in problem
    assert "and 3 more)" in problem


def test_a_swap_that_cannot_be_read_does_not_hide_the_others(store: Store) -> None:
    put(store, swap(1), swap(2))
    with store.transaction() as tx:
        tx._connection.exec_driver_sql("UPDATE swaps SET snapshot = '{' WHERE id = 'swap1'")
    plain = settings()
    (problem,) = found(store, plain, identities(plain, contract=Address("0xd")))
    assert "1 open swaps (swap2)" in problem


def test_a_chain_whose_key_cannot_be_read_is_left_to_the_line_that_says_so(store: Store) -> None:
    from bridge.keys.keystore import KeystoreError, SecretKey

    def key_of(chain: ChainId) -> SecretKey:
        if chain == ETHEREUM:
            raise KeystoreError("no such file")
        return SecretKey.generate()

    local = settings(
        chains={
            "ethereum": {"rpc_urls": ["http://127.0.0.1:1"], "contract": "0x" + "12" * 20},
            "zion": {"rpc_urls": ["http://127.0.0.1:1"]},
        }
    )
    made = keyed_identities(local, key_of)
    assert set(made) == {ZION}
    put(store, swap(1))
    (problem,) = found(store, local, made)
    assert "chains.zion is now that of" in problem
    assert SwapId("swap1") in problem


MAIN: dict[str, Any] = {"network": "main", "pairs": [], "prices": {"static": {}}}


def on_main(**changes: Any) -> list[str]:
    content = {**PLAIN, **MAIN, "chains": {"ethereum": {"contract": "0x" + "12" * 20}, "zion": {}}, **changes}
    try:
        config.parse(content, Path("/nowhere"))
    except config.ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("chain", "timing", "named"),
    [
        ("zion", {"finality_base": 1}, "chains.zion.timing.finality_base: 1 is less"),
        ("zion", {"clock_skew": 0}, "chains.zion.timing.clock_skew: 0 is less"),
        ("zion", {"inclusion_p99": 1}, "chains.zion.timing.inclusion_p99: 1 is less"),
        ("zion", {"depth_from": {}}, "chains.zion.timing.depth_from: from"),
        (
            "ethereum",
            {"finality_base": 1, "finality_cap": 1},
            "chains.ethereum.timing.finality_cap: 1 is less",
        ),
        ("ethereum", {"finalized_after": 0}, "chains.ethereum.timing.finalized_after: 0"),
    ],
)
def test_what_is_weaker_than_its_chain_needs_is_refused_on_main_alone(
    chain: str, timing: dict[str, Any], named: str
) -> None:
    section = {"contract": "0x" + "12" * 20} if chain == "ethereum" else {}
    weak = {"chains": {**PLAIN["chains"], chain: {**section, "timing": timing}}}
    assert any(problem.startswith(named) for problem in on_main(**weak)), on_main(**weak)
    settings(**weak)


def test_no_time_for_an_outage_is_refused_on_main_alone() -> None:
    (problem,) = on_main(swaps={"outage_budget": 0})
    assert problem.startswith("swaps.outage_budget: 0 s on main")
    assert on_main() == []
    assert on_main(swaps={"outage_budget": 900}) == []
    settings(swaps={"outage_budget": 0})


def test_waiting_longer_than_a_chain_needs_is_the_operators_choice() -> None:
    timing = {"finality_base": 90, "finality_cap": 200, "clock_skew": 900, "depth_from": {"1": 100, "2": 150}}
    assert on_main(chains={"zion": {"timing": timing}, "ethereum": {"contract": "0x" + "12" * 20}}) == []


def test_an_asset_that_is_sold_no_more_is_priced_as_long_as_an_open_swap_needs_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridge.commands import runtime

    seen: list[list[str]] = []

    def book(config: Any, feeds: Any, assets: list[str], *rest: Any, **more: Any) -> None:
        seen.append(assets)

    monkeypatch.setattr("bridge.desk.prices.PriceBook", book)
    unsold = settings(pairs=[])
    runtime.price_source(unsold, store)
    put(store, swap(1), swap(2, SwapState.COMPLETED))
    runtime.price_source(unsold, store)
    runtime.price_source(settings(pairs=[], prices={"static": {ZION_KEY: "1"}}), store)
    assert seen == [[], [ETH_KEY, ZION_KEY], [ZION_KEY]]
