"""What can go wrong in the simulator, and who makes it go wrong: one function for each kind of fault.

Each takes a run, draws from its seed, and returns whether something happened. What is on in a run is drawn
too (a swarm: a run with few faults gets further into what they do than one with all of them).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from bridge.chains.errors import ActionRefusedError
from bridge.protocol.types import Address, Amount, LegState, UnixSeconds
from relayers.fake.ledger import lock_id_of
from tests.scenario.world import USER_WINDOW, Fuse, copy_database

if TYPE_CHECKING:
    from tests.scenario.simulation import Run

MAX_REORG = 2
"""One less than finality: what lies deeper is taken to be settled."""
HOUR_MS = 3_600_000
LONG_HALT_STEPS = 60
"""With three times as long a step this is half an hour; deadlines here are some minutes apart."""
Fault = Callable[["Run"], bool]


# -- the chains ------------------------------------------------------------------------------


def reorg(run: Run) -> bool:
    fake, rng = run.fake, run.rng
    if fake.head.height <= MAX_REORG + 1:
        return False
    depth = rng.randint(1, MAX_REORG)
    txs = [outcome.tx.tx_id for block in fake.blocks[-depth:] for outcome in block.outcomes]
    drop = rng.sample(txs, rng.randint(0, len(txs)))
    fake.reorg(depth, drop, again=rng.random() < 0.5)
    return run.say(f"{fake.chain}: a reorg of {depth} drops {len(drop)} of {len(txs)} transactions")


def halt(run: Run) -> bool:
    run.fake.faults.halted = not run.fake.faults.halted
    return run.say(f"{run.fake.chain}: {'halts' if run.fake.faults.halted else 'goes on'}")


def long_halt(run: Run) -> bool:
    """A chain stands still for longer than every gap between deadlines. Not one on which the bridge has or
    may soon have a source to claim: no deadline can provide for that."""
    fake = run.fake
    for swap in run.open_swaps():
        locked = swap.source.state is not LegState.NONE or fake.ledger.locks.get(
            lock_id_of(swap.source.terms)
        )
        if swap.source.terms.chain == fake.chain and locked:
            return False
    run.halted_until[fake.chain] = run.step_number + LONG_HALT_STEPS
    return run.say(f"{fake.chain}: stands still for longer than every gap")


def dropped_broadcasts(run: Run) -> bool:
    run.fake.faults.drop_broadcasts = run.rng.randint(1, 2)
    return run.say(f"{run.fake.chain}: the next broadcasts are lost")


def delayed_inclusion(run: Run) -> bool:
    run.fake.faults.hold_blocks = run.rng.choice([1, 3])
    return run.say(f"{run.fake.chain}: transactions wait {run.fake.faults.hold_blocks} blocks")


def fee_spike(run: Run) -> bool:
    run.fake.price = run.rng.choice([30, 1000])
    return run.say(f"{run.fake.chain}: the price of inclusion is {run.fake.price}")


def reverts_when_mined(run: Run) -> bool:
    run.fake.faults.revert = run.rng.randint(1, 2)
    return run.say(f"{run.fake.chain}: the next transactions revert although their simulation worked")


# -- endpoints -------------------------------------------------------------------------------


def _toggle(name: str) -> Fault:
    def fault(run: Run) -> bool:
        faults = run.port.faults
        setattr(faults, name, not getattr(faults, name))
        return run.say(f"{run.fake.chain}: the endpoint's {name} is {getattr(faults, name)}")

    return fault


def flaky(run: Run) -> bool:
    run.port.faults.flaky = run.rng.choice([0.1, 0.3])
    return run.say(f"{run.fake.chain}: {run.port.faults.flaky} of all calls fail")


def lag(run: Run) -> bool:
    run.port.faults.lag = run.rng.choice([0, 1, 2])
    return run.say(f"{run.fake.chain}: the endpoint is {run.port.faults.lag} blocks behind")


def short_history(run: Run) -> bool:
    run.port.faults.history_from = run.rng.choice([0, run.fake.head.height])
    return run.say(f"{run.fake.chain}: history begins at {run.port.faults.history_from}")


# -- people ----------------------------------------------------------------------------------


def stranger_claims(run: Run) -> bool:
    """Somebody who has seen a secret claims for the bridge, perhaps out of the middle of a batch."""
    for swap in run.shuffled_swaps():
        terms = swap.source.terms
        if terms.chain == run.fake.chain and swap.secret_public and run.is_open(swap.source):
            run.world.wallet(terms.chain).claim(lock_id_of(terms), run.world.secrets[swap.id])
            return run.say(f"a stranger claims the source of {swap.id} for the bridge", swap.id)
    return False


def early_claim(run: Run) -> bool:
    """Somebody who knows the preimage claims the source for the bridge before the bridge has locked."""
    for swap in run.shuffled_swaps():
        terms = swap.source.terms
        early = swap.destination.state in {LegState.NONE, LegState.INTENT}
        if terms.chain == run.fake.chain and early and run.is_open(swap.source):
            run.world.wallet(terms.chain).claim(lock_id_of(terms), run.world.secrets[swap.id])
            return run.say(f"the source of {swap.id} is claimed before the bridge has locked", swap.id)
    return False


def secret_shown(run: Run) -> bool:
    """A user who may claim shows the secret in a transaction that claims nothing, where the bridge can then
    claim for them without a signature."""
    if run.fake.signed_claims is not None:
        return False
    for swap in run.shuffled_swaps():
        terms = swap.destination.terms
        final = swap.destination.state is LegState.FINAL and run.world.users[swap.id].claims
        if terms.chain == run.fake.chain and final:
            if run.fake.head.time >= terms.deadline - USER_WINDOW // 2:
                return False
            run.world.wallet(terms.chain).show(lock_id_of(terms), run.world.secrets[swap.id])
            return run.say(f"the user of {swap.id} shows the secret and claims nothing", swap.id)
    return False


def odd_claims(run: Run) -> bool:
    """The next user to claim does so in a way that no reader understands at first."""
    waiting = [swap for swap in run.open_swaps() if not run.world.users[swap.id].odd]
    if not waiting:
        return False
    swap = run.rng.choice(waiting)
    run.world.users[swap.id].odd = True
    return run.say(f"the user of {swap.id} will claim in an odd encoding", swap.id)


def stranger_locks(run: Run) -> bool:
    """A stranger locks with the hashlock of one of our swaps: to the bridge, for another, dust or more."""
    swaps = run.open_swaps()
    if not swaps:
        return False
    swap, rng = run.rng.choice(swaps), run.rng
    terms = swap.source.terms if swap.source.terms.chain == run.fake.chain else swap.destination.terms
    odd = msgspec.structs.replace(
        terms,
        sender=Address("mallory"),
        recipient=Address(rng.choice(["bridge", "bridge", "mallory"])),
        amount=Amount(rng.choice([1, 1000, terms.amount])),
        deadline=UnixSeconds(run.fake.head.time + rng.choice([60, 600, 10**6])),
    )
    if rng.random() < 0.3:
        run.fake.faults.traps = frozenset({"mallory"})
    try:
        run.mallory().lock(odd)
    except ActionRefusedError:
        return False
    return run.say(f"{run.fake.chain}: a stranger locks {odd.amount} with the hashlock of {swap.id}", swap.id)


def second_lock(run: Run) -> bool:
    """A user locks once more with other terms."""
    for swap in run.shuffled_swaps():
        terms = swap.source.terms
        if terms.chain == run.fake.chain and swap.source.state is not LegState.NONE:
            again = msgspec.structs.replace(terms, amount=Amount(terms.amount + run.rng.randint(1, 9)))
            try:
                run.world.wallet(terms.chain).lock(again)
            except ActionRefusedError:
                return False
            return run.say(f"the user of {swap.id} locks a second time", swap.id)
    return False


# -- the bridge's own machines ---------------------------------------------------------------


def kill(run: Run) -> bool:
    run.world.process(Fuse(at=run.rng.randint(1, 40), calls=True))
    return run.say("a process will die at one of its next calls and commits")


def two_workers(run: Run) -> bool:
    run.rivals = not run.rivals
    return run.say(f"there {'are two workers' if run.rivals else 'is one worker'} for each chain")


def clock_step(run: Run) -> bool:
    run.world.clock_error_ms = run.rng.choice([-HOUR_MS, -60_000, 60_000, HOUR_MS])
    return run.say(f"the machine's clock is wrong by {run.world.clock_error_ms // 1000} s")


def slow(run: Run) -> bool:
    run.world.now_ms += run.rng.choice([5_000, 20_000])
    return run.say("the machine was slow")


def backup(run: Run) -> bool:
    copy_database(run.world.folder / "bridge.db", run.world.folder / "backup.db")
    run.backed_up = True
    return run.say("a backup is taken")


def restore(run: Run) -> bool:
    """Put the backup in place of the database. It holds every swap that was sold."""
    if not run.backed_up:
        return backup(run)
    run.world.store.close()
    for file in run.world.folder.glob("bridge.db*"):
        file.unlink()
    copy_database(run.world.folder / "backup.db", run.world.folder / "bridge.db")
    run.world.process()
    return run.say("the database is restored from the backup")


FAULTS: dict[str, Fault] = {
    "reorg": reorg,
    "halt": halt,
    "long halt": long_halt,
    "dropped broadcasts": dropped_broadcasts,
    "delayed inclusion": delayed_inclusion,
    "fee spike": fee_spike,
    "reverts when mined": reverts_when_mined,
    "endpoint down": _toggle("down"),
    "endpoint flaky": flaky,
    "endpoint lags": lag,
    "endpoint blind": _toggle("blind"),
    "endpoint lies": _toggle("lies"),
    "endpoint unreadable": _toggle("unreadable"),
    "endpoints disagree": _toggle("disagrees"),
    "short history": short_history,
    "stranger claims": stranger_claims,
    "preimage known before": early_claim,
    "secret shown": secret_shown,
    "odd claims": odd_claims,
    "stranger locks": stranger_locks,
    "second lock": second_lock,
    "kill -9": kill,
    "two workers": two_workers,
    "clock step": clock_step,
    "slow machine": slow,
    "restore": restore,
}


def calm(run: Run) -> None:
    """End every fault that lasts."""
    world = run.world
    world.clock_error_ms = 0
    run.rivals = False
    for chain, fake in world.chains.items():
        faults = fake.faults
        faults.halted, faults.drop_broadcasts, faults.hold_blocks, faults.revert = False, 0, 0, 0
        faults.traps = frozenset()
        fake.price = 10
        fake.odd.clear()
        line = world.ports[chain].faults
        line.down = line.blind = line.lies = line.unreadable = line.disagrees = False
        line.flaky, line.lag, line.history_from = 0.0, 0, 0
