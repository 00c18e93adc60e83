"""What waits in the mempool, and what became of an offered transaction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.records import PAYS_AMOUNT, SPENDS_LOCK, Transaction
from chain.rules.types import TxId, WtxId

PROVABLY_WRONG = frozenset({
    Reason.MALFORMED, Reason.TOO_LARGE, Reason.BAD_KIND, Reason.BAD_VERSION, Reason.WRONG_CHAIN,
    Reason.RESERVED_NOT_ZERO, Reason.AMOUNT_OUT_OF_RANGE, Reason.FEE_OUT_OF_RANGE, Reason.FIELD_NOT_ZERO,
    Reason.ZERO_RECIPIENT, Reason.PREIMAGE_TOO_LONG, Reason.BAD_WITNESS, Reason.WRONG_KEY,
    Reason.BAD_SIGNATURE, Reason.COINBASE_MISPLACED,
})  # fmt: skip
"""Refusals that no state of any chain makes right: a peer that sends such a transaction on is at fault. Fees,
nonces, balances and locks depend on the head that a node has, and prove nothing about a peer."""


class Verdict(StrEnum):
    """What became of an offered transaction."""

    ACCEPTED = "accepted"
    """It can be mined now, after the earlier nonces of its sender that wait with it."""
    QUEUED = "queued"
    """A nonce before it is missing: it waits apart, for some hours, and is not counted until then."""
    KNOWN = "known"
    """It waits already, perhaps under another witness, and nothing changed."""
    REFUSED = "refused"


@dataclass(frozen=True)
class Admission:
    """The outcome of `Mempool.admit`. `replaced` left the pool for the transaction."""

    wtxid: WtxId
    verdict: Verdict
    replaced: tuple[TxId, ...] = ()
    error: RuleBrokenError | None = None

    @property
    def reason(self) -> Reason | None:
        """Why it was refused."""
        return self.error.reason if self.error else None

    @property
    def provably_wrong(self) -> bool:
        """Tell whether no honest node would have passed it on."""
        return self.reason in PROVABLY_WRONG


class Entry:
    """One waiting transaction.

    `rank` is the fee a miner can count on for it: the least fee among it and the earlier ones of its sender,
    for without those it cannot be mined. `expires` is on the pool's clock, seconds.
    """

    __slots__ = ("expires", "rank", "tx", "wtxid")

    def __init__(self, tx: Transaction, expires: float) -> None:
        self.tx = tx
        self.wtxid = tx.wtxid
        self.rank = tx.fee
        self.expires = expires

    @property
    def effect(self) -> int:
        """What it changes its sender's balance by, smallest units."""
        return effect(self.tx)


def effect(tx: Transaction) -> int:
    """Return what a transaction changes its sender's balance by: what a lock pays may pay the fee."""
    spent = tx.fee + (tx.amount if tx.kind in PAYS_AMOUNT else 0)
    earned = tx.amount if tx.kind in SPENDS_LOCK and tx.recipient == tx.sender else 0
    return earned - spent


def replacement_fee(old: int, least: int) -> int:
    """Return the least fee that replaces one of `old`: a tenth more (rounded up), at least `least` more."""
    return old + max(least, -(-old // 10))
