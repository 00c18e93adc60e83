"""A long, seeded simulation: many swaps, users of all kinds, every fault at once. Deterministic per seed.

    python -m tests.scenario.simulate --seeds 50 --first 0

Each seed plays a few swaps both ways while chains reorganise, halt and get expensive, RPCs fail, transactions
get lost, processes are killed and leases run out. What must hold at every step: no coin appears or vanishes,
no swap pays one side twice, no counter-lock is sent twice. In the end, with the faults gone, every swap is
over.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import tempfile
import time
from pathlib import Path

import structlog

from bridge.protocol.types import ChainId, SwapId, SwapState
from relayers.fake.ledger import LedgerLockState, lock_id_of
from tests import instances
from tests.scenario.world import NATIVE, Behaviour, BridgeWorld, Fuse, Killed

KINDS: dict[str, Behaviour] = {
    "honest": {},
    "hands over": {"hands_over": True},
    "hasty": {"hurry": True},
    "walks away": {"claims": False},
    "gone forever": {"claims": False, "refunds": False},
    "never funds": {"locks": False},
    "late": {"late": True},
}
MAX_REORG = 2
"""One less than finality: what lies deeper is taken to be settled."""
TROUBLE_STEPS = 70
CALM_STEPS = 120


async def play(seed: int, folder: Path) -> dict[str, int]:
    """Play one seed; returns how many swaps ended how. Raises AssertionError with the seed in it."""
    rng = random.Random(seed)
    sequences = rng.random() < 0.7
    world = BridgeWorld(
        folder,
        seed,
        max_claims=rng.choice([1, 2, 10]),
        atomic_claims=rng.random() < 0.3,
        signed_claims=rng.choice([None, None, True]),
        sequences=sequences,
        expiry_blocks=rng.choice([None, 6] if sequences else [4, 12]),
        one_at_a_time=frozenset({"bridge"} if sequences and rng.random() < 0.3 else ()),
    )
    waiting = list(range(1, rng.randint(3, 8)))
    deaths = 0
    try:
        for _ in range(TROUBLE_STEPS):
            if waiting and rng.random() < 0.2:
                source = rng.choice(list(NATIVE))
                for number in waiting[: rng.choice([1, 1, 4])]:
                    kind = rng.choice([*KINDS, "honest", "hasty", "hands over"])
                    world.swap(number, source, rng.randint(100, 10**20), **KINDS[kind])
                    waiting.remove(number)
            _trouble(world, rng)
            deaths += await _step(world, rng)
            world.check()
        _calm(world)
        for _ in range(CALM_STEPS):
            if all(world.is_over(swap_id) for swap_id in world.users):
                break
            await world.step()
            world.check()
        assert all(world.is_over(swap_id) for swap_id in world.users), "not all swaps ended"
        ends = {"killed": deaths, "batched": _batched(world)}
        for swap_id in world.users:
            state = world.state(swap_id).value
            ends[state] = ends.get(state, 0) + 1
        return ends
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}\n{world.describe()}") from error
    finally:
        world.close()


def _batched(world: BridgeWorld) -> int:
    """How many claims were made in the transactions of others."""
    with world.store.reading() as tx:
        intents = [intent for swap_id in world.users for intent in tx.intents.of_swap(SwapId(swap_id))]
    return sum(intent.batch_leader is not None for intent in intents)


async def _step(world: BridgeWorld, rng: random.Random) -> int:
    """One step; sometimes a process dies in it and both start again, later."""
    if rng.random() < 0.1:
        world.process(Fuse(at=rng.randint(1, 12)))
    try:
        await world.step()
    except Killed:
        world.process()
        return 1
    world.fuse.at = 0
    return 0


def _trouble(world: BridgeWorld, rng: random.Random) -> None:
    chain = rng.choice([instances.ETHEREUM, instances.ZION])
    fake, port = world.chains[chain], world.ports[chain]
    match rng.randint(0, 12):
        case 0 if fake.head.height > MAX_REORG + 1:
            depth = rng.randint(1, MAX_REORG)
            txs = [outcome.tx.tx_id for block in fake.blocks[-depth:] for outcome in block.outcomes]
            drop = rng.sample(txs, rng.randint(0, len(txs)))
            fake.reorg(depth, drop, again=rng.random() < 0.5)
        case 1:
            port.faults.down = not port.faults.down
        case 2:
            port.faults.flaky = rng.choice([0.0, 0.3])
        case 3:
            port.faults.lag = rng.choice([0, 0, 1, 2])
        case 4:
            fake.faults.halted = not fake.faults.halted
        case 5:
            fake.faults.drop_broadcasts = rng.randint(0, 2)
        case 6:
            fake.faults.hold_blocks = rng.choice([0, 0, 1, 3])
        case 7:
            fake.price = rng.choice([10, 10, 30, 1000])
        case 8:
            world.now_ms += rng.choice([0, 5_000, 20_000])
        case 9:
            _stranger_claims(world, rng, chain)
        case _:
            _calm(world)


def _stranger_claims(world: BridgeWorld, rng: random.Random, chain: ChainId) -> None:
    """Somebody who has seen a secret claims for the bridge, perhaps out of the middle of a batch."""
    for swap_id in rng.sample(sorted(world.users), len(world.users)):
        swap = world.get(swap_id)
        open_still = world.lock_state(swap.source) is LedgerLockState.OPEN
        if swap.source.terms.chain == chain and swap.secret_public and open_still:
            world.wallet(chain).claim(lock_id_of(swap.source.terms), world.secrets[swap_id])
            return


def _calm(world: BridgeWorld) -> None:
    for chain, fake in world.chains.items():
        fake.faults.halted = False
        fake.faults.drop_broadcasts = 0
        fake.faults.hold_blocks = 0
        fake.price = 10
        world.ports[chain].faults.down = False
        world.ports[chain].faults.flaky = 0.0
        world.ports[chain].faults.lag = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    started = time.monotonic()
    total: dict[str, int] = {}
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory(prefix="rainbow-sim-") as folder:
            for state, count in asyncio.run(play(seed, Path(folder))).items():
                total[state] = total.get(state, 0) + count
    killed, batched = total.pop("killed", 0), total.pop("batched", 0)
    swaps = sum(total.values())
    took = time.monotonic() - started
    print(f"{options.seeds} seeds, {swaps} swaps, {killed} kills, {batched} batched, {took:.0f} s: {total}")
    assert SwapState.ATTENTION.value not in total


if __name__ == "__main__":
    main()
