"""What operators decide where the software cannot: spends that nobody can prove, items that nobody can read.

Each decision is stored together with who made it and why.
"""

from __future__ import annotations

import msgspec

from bridge.desk.refused import Reason, RefusedError
from bridge.engine.apply import retrying
from bridge.engine.verdicts import VerdictError, settle_spend, unproven_of
from bridge.protocol.events import Verdict
from bridge.protocol.types import ChainId, LegRole, LockId, Preimage, SwapId, TxId
from bridge.store import Store, Transaction
from bridge.store.records import StoredSetAside, StoredSwap


class UnprovenSpend(msgspec.Struct, frozen=True):
    """A lock that was spent, and nobody can prove how. `tx_id` is "" where only the chain's own word says
    so."""

    swap_id: SwapId
    leg: LegRole
    chain: ChainId
    lock_id: LockId
    tx_id: TxId
    height: int


def unproven_spends(store: Store) -> list[UnprovenSpend]:
    """Return all of the swaps that are not over."""
    found: list[UnprovenSpend] = []
    after = SwapId("")
    while True:
        with store.reading() as tx:
            swaps, after = tx.swaps.open_after(after, 500)
            for stored in swaps:
                found += [
                    UnprovenSpend(
                        seen.swap_id, seen.leg, seen.chain, seen.lock_id, seen.tx_id, seen.block.height
                    )
                    for seen in unproven_of(tx, stored.swap)
                ]
        if not after:
            return found


def settle(
    store: Store,
    swap_id: SwapId,
    lock_id: LockId,
    verdict: Verdict,
    preimage: Preimage | None,
    tx_id: TxId,
    by: str,
    note: str,
) -> StoredSwap:
    """Store how a lock was spent, as an operator has found out. Raises `RefusedError`."""

    def job(tx: Transaction) -> StoredSwap:
        stored = tx.swaps.get(swap_id, for_update=True)
        if stored is None:
            raise RefusedError(Reason.NOT_FOUND, f"there is no swap {swap_id}", "check the id")
        try:
            settle_spend(tx, stored.swap, lock_id, verdict, preimage, tx_id)
        except VerdictError as error:
            raise RefusedError(Reason.WRONG_STATE, str(error), error.hint) from None
        tx.audit.append(by, f"settle_{verdict.value}", swap_id, f"lock {lock_id}: {note}")
        return tx.swaps.get(swap_id) or stored

    return retrying(store, job)


def unread_items(store: Store, chain: ChainId, limit: int) -> list[StoredSetAside]:
    """Return what could not be read of a chain, oldest first."""
    with store.reading() as tx:
        return tx.set_aside.open(chain, limit=limit)


def dismiss_item(store: Store, chain: ChainId, item_id: int, by: str, note: str) -> None:
    """Note that an item concerns no lock of ours, as an operator has found out. Raises `RefusedError`."""

    def job(tx: Transaction) -> None:
        item = tx.set_aside.get(item_id)
        if item is None or item.chain != chain or item.resolved:
            raise RefusedError(
                Reason.NOT_FOUND,
                f"{chain} has no unread item {item_id}",
                "GET the list of the chain's unread items",
            )
        tx.set_aside.resolve(item_id)
        tx.audit.append(by, "dismiss", chain, f"{item.item} in block {item.block.height}: {note}")

    retrying(store, job)
