"""Whatever Cardano's ledger accepts as a claim or refund is read as that one, with the same preimage, by both
services: all encodings of redeemers, datums and transactions, whatever else is in the transaction."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from bridge.chains.port import Claimed, Locked, LockStatus, Refunded, Revealed, Spent
from bridge.protocol.types import BlockRef
from tests.conformance.hostile.cardano_world import HostileCardano, Told

SLICE, PARTS = 100, 10
"""Accepted spends of the short run; parts of the long one."""
SPENDS = int(os.environ.get("SPENDS", "10000"))
SEED = int(os.environ.get("SEED", "1"))
AT_ONCE = 20
FAILING_EVERY = 25
COUNTS = ("accepted spends", "failed", "claims", "refunds", "alarms", "shown", "set aside")


async def holds(directory: Path, seed: int, spends: int) -> dict[str, object]:
    """Run until the ledger has accepted so many spends; return what was counted."""
    hostile = await HostileCardano(directory, seed, spends // FAILING_EVERY + 5).start()
    try:
        rings: dict[str, tuple[BlockRef, ...]] = {}
        for name, port in hostile.ports.items():
            rings[name] = (await port.scan((), 10)).blocks
        counted = dict.fromkeys(COUNTS, 0)
        while counted["accepted spends"] < spends:
            told: list[Told] = []
            while len(told) < AT_ONCE:
                while len(hostile.locks) < 10:
                    told += hostile.refill()
                one = hostile.spend()
                told += [] if one is None else [one]
                if hostile.collaterals and hostile.rng.random() < 1 / FAILING_EVERY:
                    one = hostile.fail()
                    told += [] if one is None else [one]
            for name, port in hostile.ports.items():
                scan = await port.scan(rings[name][-1:], 200)
                rings[name] = scan.blocks
                counted["set aside"] += len(scan.set_aside)
                for one in told:
                    check(name, one, [event for event in scan.events if event.tx_id == one.tx_id], counted)
            counted["accepted spends"] += sum(bool(one.claimed or one.refunded) for one in told)
            counted["failed"] += sum(one.failed for one in told)
            counted["claims"] += sum(len(one.claimed) for one in told)
            counted["refunds"] += sum(len(one.refunded) for one in told)
            counted["shown"] += sum(len(one.shown) for one in told)
        return {**counted, "refused": hostile.refused, "why refused": hostile.reasons}
    finally:
        await hostile.stop()


def check(name: str, told: Told, events: list[object], counted: dict[str, int]) -> None:
    about = f"{name}: {told}"
    claimed = {event.lock_id: event.preimage.reveal() for event in events if isinstance(event, Claimed)}
    refunded = {event.lock_id for event in events if isinstance(event, Refunded)}
    unknown = {event.lock_id for event in events if isinstance(event, Spent)}
    counted["alarms"] += len(unknown)
    shown = {event.preimage.reveal() for event in events if isinstance(event, Revealed)}
    assert {told.claimed[lock_id] for lock_id in unknown & told.claimed.keys()} <= shown, about
    assert not unknown or told.ambiguous, about
    assert claimed == {key: item for key, item in told.claimed.items() if key not in unknown}, about
    assert refunded == told.refunded - unknown, about
    assert {event.lock_id for event in events if isinstance(event, Locked)} == told.locked, about
    assert told.shown <= shown, f"{about}: {told.shown - shown}"


async def test_whatever_the_ledger_accepts_is_read_as_what_it_is(tmp_path: Path) -> None:
    counted = await holds(tmp_path, 20_261_128, SLICE)
    assert counted["set aside"] == 0
    assert int(str(counted["claims"])) > 50
    assert int(str(counted["failed"])) > 0


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("part", range(PARTS))
async def test_ten_thousand_accepted_spends_are_read_as_what_they_are(tmp_path: Path, part: int) -> None:
    seed = SEED * PARTS + part
    counted = await holds(tmp_path, seed, SPENDS // PARTS)
    print(f"cardano, seed {SEED}, part {part}: {json.dumps(counted)}")
    assert counted["set aside"] == 0


DUST, DUST_AT_ONCE = 10_000, 100
MOST_ASKED = 12


@pytest.mark.long
@pytest.mark.timeout(3_600)
async def test_ten_thousand_dust_outputs_are_read_once(tmp_path: Path) -> None:
    hostile = await HostileCardano(tmp_path, 1, 0).start()
    try:
        hostile.refill()
        lock = next(one for one in hostile.locks if not one.hashed)
        for _ in range(DUST // DUST_AT_ONCE):
            hostile.dust(DUST_AT_ONCE)
        figures: dict[str, list[tuple[int, float]]] = {}
        for name, port in hostile.ports.items():
            for _ in range(3):
                before, began = hostile.asked, time.perf_counter()
                status = await port.read_lock(port.lock_id(lock.terms), lock.terms)
                assert status is LockStatus.OPEN
                taken = round(time.perf_counter() - began, 3)
                figures.setdefault(name, []).append((hostile.asked - before, taken))
                hostile.dust(1)
        print(json.dumps(figures))
        assert all(asked <= MOST_ASKED for name in figures for asked, _ in figures[name][1:])
    finally:
        await hostile.stop()
