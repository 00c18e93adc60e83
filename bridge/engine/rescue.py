"""Every open leg of a key, from chain data alone: what stands, and what can be done about it.

For the day on which there is no database and no journal. Nothing here knows a swap: locks of and to our
account are found in blocks, secrets where they were shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from bridge.chains.actions import Action, action_of
from bridge.chains.port import (
    ChainPort,
    Claimed,
    HtlcEvent,
    Locked,
    LockStatus,
    Refunded,
    Revealed,
    SetAside,
    Tip,
)
from bridge.protocol.types import (
    BlockHeight,
    BlockRef,
    ChainId,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
    UnixSeconds,
)


class Step(StrEnum):
    """What can be done about an open lock."""

    CLAIM = "claim"
    """To us, and its secret is known."""
    CLAIM_FOR_USER = "claim_for_user"
    """Ours, and its secret is known: its recipient is paid, for we are paid by the other leg."""
    REFUND = "refund"
    """Ours, past its deadline, and no secret is known."""
    WAIT = "wait"
    """Ours, before its deadline."""
    NO_SECRET = "no_secret"  # noqa: S105 - a step, not a password
    """To us, and its secret is not known: its sender gets it back from the deadline on."""
    GIVE_BACK = "give_back"
    """To us, and ours with the same hashlock was refunded: a claim would take both legs."""
    USER_ALONE = "user_alone"
    """Ours, its secret is known, and on this chain only its recipient can claim it."""
    UNKNOWN = "unknown"
    """The chain does not say whether it stands."""


ACTIONABLE = (Step.CLAIM, Step.CLAIM_FOR_USER, Step.REFUND)
"""In the order in which they are sent."""

_PURPOSE = {
    Step.CLAIM: Purpose.CLAIM,
    Step.CLAIM_FOR_USER: Purpose.CLAIM,
    Step.REFUND: Purpose.REFUND,
}


class OpenLock(msgspec.Struct, frozen=True):
    """A lock of or to our account that was not seen to end."""

    lock_id: LockId
    tx_id: TxId
    height: BlockHeight
    terms: LockTerms
    ours: bool
    status: LockStatus


class ChainFindings(msgspec.Struct, frozen=True):
    """What one chain holds: its tip, our open locks, the hashlocks of our refunded ones, the secrets shown,
    and what could not be read."""

    tip: Tip
    locks: tuple[OpenLock, ...]
    refunded: frozenset[bytes]
    preimages: Mapping[bytes, Preimage]
    set_aside: tuple[SetAside, ...]


class Leg(msgspec.Struct, frozen=True):
    """An open lock and what can be done about it."""

    chain: ChainId
    lock: OpenLock
    step: Step


async def look_through(port: ChainPort, since: BlockHeight, max_blocks: int) -> ChainFindings:
    """Read a chain from the height `since` to its tip. Raises `PortUnavailableError`, and `DeepReorgError`
    when the node does not reach back that far."""
    last = BlockRef(BlockHeight(max(0, since - 1)), "", "", UnixSeconds(0))
    locked: dict[LockId, Locked] = {}
    ended: set[LockId] = set()
    refunded: set[bytes] = set()
    preimages: dict[bytes, Preimage] = {}
    set_aside: list[SetAside] = []
    while True:
        scan = await port.scan([last], max_blocks)
        for event in scan.events:
            _note(event, locked, ended, refunded, preimages, port.account)
        set_aside += scan.set_aside
        if not scan.blocks or scan.blocks[-1].height >= scan.tip.block.height:
            break
        last = scan.blocks[-1]
    open_locks: list[OpenLock] = []
    for lock_id, event in locked.items():
        if lock_id in ended or port.account not in {event.terms.sender, event.terms.recipient}:
            continue
        status = await port.read_lock(lock_id, event.terms, since=BlockHeight(max(0, event.block.height - 1)))
        if status in {LockStatus.OPEN, LockStatus.UNKNOWN}:
            ours = event.terms.sender == port.account
            open_locks.append(OpenLock(lock_id, event.tx_id, event.block.height, event.terms, ours, status))
    return ChainFindings(scan.tip, tuple(open_locks), frozenset(refunded), preimages, tuple(set_aside))


def _note(
    event: HtlcEvent,
    locked: dict[LockId, Locked],
    ended: set[LockId],
    refunded: set[bytes],
    preimages: dict[bytes, Preimage],
    account: str,
) -> None:
    match event:
        case Locked():
            locked[event.lock_id] = event
            ended.discard(event.lock_id)
        case Claimed():
            ended.add(event.lock_id)
            preimages[event.preimage.hashlock()] = event.preimage
        case Revealed():
            preimages[event.preimage.hashlock()] = event.preimage
        case Refunded():
            ended.add(event.lock_id)
            lock = locked.get(event.lock_id)
            if lock is not None and lock.terms.sender == account:
                refunded.add(lock.terms.hashlock)


def judge(
    found: Mapping[ChainId, ChainFindings],
    preimages: Iterable[Preimage],
    user_alone: frozenset[ChainId] = frozenset(),
) -> tuple[list[Leg], dict[bytes, Preimage]]:
    """Return each open leg with what can be done about it, and all secrets known. `preimages` are those that
    the operator has; on the chains `user_alone` nobody can claim for a recipient."""
    known = {preimage.hashlock(): preimage for preimage in preimages}
    refunded: set[bytes] = set()
    for findings in found.values():
        known |= findings.preimages
        refunded |= findings.refunded
    legs = [
        Leg(chain, lock, _step(lock, findings.tip, known, refunded, alone=chain in user_alone))
        for chain, findings in found.items()
        for lock in findings.locks
    ]
    return legs, known


def _step(
    lock: OpenLock, tip: Tip, known: Mapping[bytes, Preimage], refunded: set[bytes], *, alone: bool
) -> Step:
    hashlock = lock.terms.hashlock
    if lock.status is not LockStatus.OPEN:
        return Step.UNKNOWN
    if not lock.ours:
        if hashlock in refunded:
            return Step.GIVE_BACK
        return Step.CLAIM if hashlock in known else Step.NO_SECRET
    if hashlock in known:
        return Step.USER_ALONE if alone else Step.CLAIM_FOR_USER
    return Step.REFUND if tip.time >= lock.terms.deadline else Step.WAIT


def action_for(leg: Leg, known: Mapping[bytes, Preimage]) -> Action:
    """Return what to send for an actionable leg. Raises `ActionRefusedError` for any other."""
    purpose = _PURPOSE.get(leg.step, Purpose.ANCHOR)
    return action_of(purpose, leg.lock.terms, known.get(leg.lock.terms.hashlock))
