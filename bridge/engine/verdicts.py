"""An operator's end of what the software cannot find out by itself.

A spend that nobody can prove keeps its swap open until a person has looked at the chain. What that person
says is taken as far as the rules allow: a claim only with a preimage that opens the lock, a refund only where
there can have been one, and either only when the spend is as deep as a final one. Who calls this writes down
who said it.
"""

from __future__ import annotations

from bridge.chains.port import Claimed, Refunded
from bridge.engine import facts
from bridge.engine.apply import apply_events
from bridge.engine.source_lock_check import is_final
from bridge.engine.spends import doubt_refund, ingest_spend
from bridge.protocol.events import Verdict
from bridge.protocol.types import ChainId, LockId, Preimage, Swap, TxId
from bridge.store import Transaction
from bridge.store.records import Observation, ObservedKind
from kernels.errors import RainbowError


class VerdictError(RainbowError):
    """The rules do not allow what the operator says, or not yet."""


def unproven_of(tx: Transaction, swap: Swap) -> list[Observation]:
    """Return the spends of a swap's locks that nobody has proved, and the refunds that the chain itself does
    not confirm although they are deep enough."""
    seen = tx.observations.of_swap(swap.id)
    proved = {each.lock_id for each in seen if each.kind in (ObservedKind.CLAIMED, ObservedKind.REFUNDED)}
    return [
        each
        for each in seen
        if (each.kind is ObservedKind.SPENT and each.lock_id not in proved)
        or (each.kind is ObservedKind.REFUNDED and not each.settled and _is_deep(tx, each))
    ]


def _is_deep(tx: Transaction, seen: Observation) -> bool:
    status = tx.chains.get(seen.chain)
    return status is not None and is_final(status, seen)


def settle_spend(
    tx: Transaction, swap: Swap, lock_id: LockId, verdict: Verdict, preimage: Preimage | None, tx_id: TxId
) -> None:
    """Store, as final, how a lock was spent. `tx_id`: the transaction that did it, "" for the one that was
    seen. Raises `VerdictError`."""
    seen = next((each for each in unproven_of(tx, swap) if each.lock_id == lock_id), None)
    if seen is None:
        raise VerdictError(
            f"swap {swap.id} has no lock {lock_id} whose spend is unproved",
            "GET /v1/admin/unproven lists them",
        )
    if not _is_deep(tx, seen):
        raise VerdictError(
            f"the spend in block {seen.block.height} is not deep enough yet", "wait until it is final"
        )
    spender = tx_id or seen.tx_id
    event: Claimed | Refunded = Refunded(seen.block, spender, lock_id)
    if verdict is Verdict.CLAIMED:
        shown = preimage or tx.secrets.get(swap.hashlock)
        if shown is None or not shown.opens(swap.hashlock):
            raise VerdictError(
                "a claim shows a preimage that opens the lock", "give the one that stands in its transaction"
            )
        event = Claimed(seen.block, spender, lock_id, shown)
    kind, _ = facts.spend(swap, seen, event)
    if kind is ObservedKind.SPENT:
        raise VerdictError(
            "there can have been no refund: it was before the deadline, and nobody agreed to one",
            "look again at the block that it is in",
        )
    if kind is ObservedKind.CLAIMED and seen.kind is ObservedKind.REFUNDED:
        doubt_refund(tx, seen)
    ingest_spend(tx, seen.chain, event, refund_confirmed=True)
    _make_final(tx, seen.chain, lock_id, kind)


def _make_final(tx: Transaction, chain: ChainId, lock_id: LockId, kind: ObservedKind) -> None:
    proved = tx.observations.of_lock(chain, lock_id, kind)
    if proved is not None:
        apply_events(tx, proved.swap_id, facts.final(proved))
        tx.observations.settle(proved.id)
