"""LWMA, the median time past, compact targets; issuance and consciousness levels."""

from __future__ import annotations

import itertools
import random

import pytest

from chain.rules.difficulty import median_time_past, next_target
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.genesis import NO_PARENT
from chain.rules.header import Header, compact_to_target, target_to_compact, work_of
from chain.rules.params import BLOCK_TIME, COIN, DEV, MAIN
from chain.rules.rewards import ERA_BLOCKS, LEVELS, MAX_SUPPLY, base_reward, experience, level_of, reward
from tests.unit.chain.harness import ALICE, BOB, FEE, MINER, Sandbox


def simulate(rate: float, blocks: int, headers: list[Header], seed: int) -> list[Header]:
    """Mine with `rate` hashes per second: solve times are exponential."""
    rng = random.Random(seed)
    for _ in range(blocks):
        target = next_target(MAIN, headers)
        solve = max(1, round(rng.expovariate(rate * compact_to_target(target) / 2**256)))
        last = headers[-1]
        headers.append(Header(last.time + solve, last.height + 1, target, NO_PARENT, bytes(32)))
    return headers


def mean_solve_time(headers: list[Header]) -> float:
    return (headers[-1].time - headers[0].time) / (len(headers) - 1)


def genesis() -> Header:
    return Header(MAIN.genesis_time, 0, MAIN.pow_limit, NO_PARENT, bytes(32))


def test_blocks_come_every_minute_at_a_steady_hash_rate() -> None:
    headers = simulate(1e8, 1_500, [genesis()], seed=1)
    assert 0.93 < mean_solve_time(headers[500:]) / BLOCK_TIME < 1.07


@pytest.mark.parametrize("factor", [10, 0.2])
def test_the_difficulty_follows_a_jump_of_the_hash_rate(factor: float) -> None:
    headers = simulate(1e8, 500, [genesis()], seed=2)
    headers = simulate(1e8 * factor, 400, headers, seed=3)
    assert 0.85 < mean_solve_time(headers[-200:]) / BLOCK_TIME < 1.15


def test_one_clock_ten_minutes_ahead_moves_the_target_by_little() -> None:
    honest = simulate(1e8, 300, [genesis()], seed=4)
    last = honest[-1]
    ahead = [*honest[:-1], Header(last.time + 600, last.height, last.target, NO_PARENT, bytes(32))]
    ratio = compact_to_target(next_target(MAIN, ahead)) / compact_to_target(next_target(MAIN, honest))
    assert 1 <= ratio < 1.15


def test_a_target_never_gets_easier_than_the_limit() -> None:
    headers = [genesis()]
    for height in range(1, 100):
        headers.append(
            Header(MAIN.genesis_time + 3_600 * height, height, MAIN.pow_limit, NO_PARENT, bytes(32))
        )
    assert next_target(MAIN, headers) == MAIN.pow_limit


def test_dev_never_retargets() -> None:
    assert next_target(DEV, simulate(1e12, 50, [genesis()], seed=5)) == DEV.pow_limit


def test_the_median_time_past_is_the_middle_of_the_last_eleven() -> None:
    assert median_time_past([5]) == 5
    assert median_time_past([99, *range(11)]) == 5
    assert median_time_past([3, 1, 2]) == 2


@pytest.mark.parametrize("target", [1, 0x7F, 0x80, 0x8000, 0xFFFF00, 2**224 - 1, 2**252, 2**256 - 1])
def test_compact_targets_round_down_and_are_stable(target: int) -> None:
    compact = target_to_compact(target)
    expanded = compact_to_target(compact)
    assert target * 0.99 <= expanded <= target
    assert target_to_compact(expanded) == compact


@pytest.mark.parametrize("compact", [0, 0x01000000, 0x1D000001, 0x1D80FFFF, 0x2200FFFF, 0xFF7FFFFF])
def test_forms_of_a_target_that_are_not_canonical_are_refused(compact: int) -> None:
    with pytest.raises(RuleBrokenError) as refusal:
        compact_to_target(compact)
    assert refusal.value.reason is Reason.BAD_TARGET


def test_work_doubles_when_the_target_halves() -> None:
    assert work_of(target_to_compact(2**240)) == pytest.approx(
        2 * work_of(target_to_compact(2**241)), rel=1e-4
    )


def test_the_base_reward_falls_by_a_fifth_every_era() -> None:
    assert base_reward(0) == 0
    assert base_reward(1) == base_reward(ERA_BLOCKS - 1) == 50 * COIN
    assert base_reward(ERA_BLOCKS) == 40 * COIN
    assert base_reward(2 * ERA_BLOCKS) == 32 * COIN
    assert base_reward(2**32 - 1) == 0


def test_the_levels_are_the_ten_of_the_design() -> None:
    assert [level.per_mille for level in LEVELS] == [
        1000,
        1050,
        1100,
        1200,
        1350,
        1500,
        1650,
        1750,
        1900,
        2000,
    ]
    assert [level.experience for level in LEVELS] == sorted({level.experience for level in LEVELS})
    assert (LEVELS[0].name, LEVELS[-1].name) == ("Physical", "Monadic")


def test_a_level_begins_exactly_at_its_experience() -> None:
    for below, level in itertools.pairwise(LEVELS):
        assert level_of(level.experience - 1) == below
        assert level_of(level.experience) == level
    assert level_of(10**12) == LEVELS[-1]


def test_all_issuance_at_the_highest_level_stays_under_the_bound() -> None:
    total = sum(2 * base_reward(era * ERA_BLOCKS + 1) * ERA_BLOCKS for era in range(200))
    assert total <= MAX_SUPPLY < 2**60


def test_a_miner_rises_on_chain_and_is_paid_more(box: Sandbox) -> None:
    """Ten blocks mined (the first funded the users) make Etheric: 5 % more from the eleventh on."""
    while box.account(MINER).blocks_mined < 10:
        before = box.balance(MINER)
        box.mine()
        assert box.balance(MINER) - before == 50 * COIN
    before = box.balance(MINER)
    box.mine()
    assert box.balance(MINER) - before == 52_50000000
    assert box.supply_adds_up()


def test_a_block_with_anchors_counts_twice_however_many_it_carries(box: Sandbox) -> None:
    from chain.wallet.transactions import build_anchor

    anchors = [
        build_anchor(key, DEV, nonce=box.nonce(key), root=bytes([i]) * 32, tree_size=i, fee=FEE)
        for i, key in enumerate([ALICE, BOB])
    ]
    before = box.account(MINER)
    box.mine(*anchors)
    after = box.account(MINER)
    assert (after.blocks_mined, after.anchors_carried) == (
        before.blocks_mined + 1,
        before.anchors_carried + 1,
    )
    assert experience(3, 2) == 5


def test_the_highest_reward_of_the_first_era_is_100_zion() -> None:
    assert reward(1, 10**9) == 100 * COIN
