"""A lock of our own account that no swap knows: the proof that this database is older than its chain.

Only what our key alone can have done proves it. Anybody can lock to us, with any hashlock, and anybody can
claim for us; on chains where a lock merely names its sender (`Traits.locks_prove_sender`), anybody can name
us.
"""

from __future__ import annotations

import structlog

from bridge.chains.port import Locked
from bridge.protocol.types import ChainId
from bridge.store import Transaction
from bridge.store.records import ChainStatus

log = structlog.get_logger("recovery")

RELAYER = "relayer"
"""Who sets a pause that no person has set."""


def names_our_account(event: Locked, status: ChainStatus | None) -> bool:
    """Tell whether a lock names the account that the chain's relayer reports as its sender."""
    return status is not None and status.account != "" and event.terms.sender == status.account


def note_unknown_lock(tx: Transaction, event: Locked, status: ChainStatus | None) -> bool:
    """Store a lock that no swap knows if it names our account as its sender; returns whether it was news.

    Where the chain proves the sender, the chain is paused for new swaps until an operator resumes it.
    """
    if status is None or not names_our_account(event, status):
        return False
    proved = status.proves_sender
    if not tx.unknown_locks.add(event.block, event.tx_id, event.lock_id, event.terms, proved=proved):
        return False
    chain = event.terms.chain
    if not proved:
        log.error("unproved_unknown_lock", chain=chain, lock=event.lock_id, tx=event.tx_id)
        return True
    log.critical(
        "unknown_own_lock",
        chain=chain,
        lock=event.lock_id,
        tx=event.tx_id,
        height=event.block.height,
        hint="the database is older than the chain: see docs/operations/restore.md",
    )
    pause(tx, chain, f"our lock {event.lock_id} is unknown: the database is older than the chain")
    return True


def pause(tx: Transaction, chain: ChainId, reason: str) -> None:
    """Sell no new swaps of a chain until an operator resumes it. A pause that stands keeps its reason."""
    name = f"pause:{chain}"
    if tx.controls.get(name) is None:
        tx.controls.set(name, reason, RELAYER)
        tx.audit.append(RELAYER, "pause", chain, reason)
