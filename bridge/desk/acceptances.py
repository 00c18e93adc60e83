"""Receipts of accepted swaps: signed for the user, kept in the journal, and taken back when the database lost
the swap."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import structlog

from bridge.desk.refused import Reason, RefusedError
from bridge.engine.apply import retrying
from bridge.engine.journal import Journal, JournalEntry
from bridge.engine.recovery import Lost, begin_restoration
from bridge.keys.quote_signature import QuoteSigner, receipt_is_valid
from bridge.protocol.acceptance import ACCEPTANCE_VERSION, Acceptance, read_acceptance, write_acceptance
from bridge.protocol.quote import QuoteBody
from bridge.protocol.refusals import ProtocolError
from bridge.protocol.types import BlockHeight, ChainId, Swap, SwapId, UnixSeconds
from bridge.store import Store, Transaction
from bridge.store.records import SwapMeta
from bridge.store.repositories.recovery import RestorationState

log = structlog.get_logger("recovery")

MAX_HANDED_IN = 100
"""Swaps handed in by clients whose chains are being read again at one time."""

PAGE = 1_000


class Receipt(msgspec.Struct, frozen=True):
    """What the user keeps: the text, and the bridge's signature over it (hex) with its key."""

    text: str
    signature: str
    public_key: str


class HandedIn(msgspec.Struct, frozen=True):
    """What became of a receipt. `state` is None for a swap that is here."""

    swap_id: SwapId
    state: RestorationState | None
    detail: str


class AcceptanceBook:
    """Signs receipts and keeps them."""

    def __init__(self, store: Store, signer: QuoteSigner, journal: Journal | None = None) -> None:
        """Without a journal a swap that the database loses can only come back from its user."""
        self._store = store
        self._signer = signer
        self._journal = journal
        self._journalled: set[str] = set()

    # -- when a swap is accepted -------------------------------------------------------------

    def sign(self, tx: Transaction, swap: Swap, quote: QuoteBody, meta: SwapMeta) -> None:
        """Sign and store the receipt of a swap, in the transaction that accepts it."""
        acceptance = Acceptance(
            version=ACCEPTANCE_VERSION,
            swap_id=swap.id,
            accepted=UnixSeconds(tx.now_ms // 1000),
            quote=quote,
            source=swap.source.terms,
            destination=swap.destination.terms,
            refund_address=meta.refund_address,
            recipient=meta.recipient,
            heights=_heights(tx, swap),
        )
        text = write_acceptance(acceptance)
        tx.acceptances.add(swap.id, text, self._signer.sign_receipt(text))

    def write_down(self, swap_id: SwapId) -> None:
        """Make sure that a swap stands in the journal, before it is acknowledged. Raises `StoreError`."""
        if self._journal is None or swap_id in self._journalled:
            return
        with self._store.reading() as tx:
            stored, kept = tx.swaps.get(swap_id), tx.acceptances.get(swap_id)
        if stored is None or kept is None:
            return
        entry = JournalEntry(swap_id, kept.body, kept.signature, stored.meta.client, kept.created_ms)
        self._journal.append(entry)
        self._journalled.add(swap_id)

    def receipt(self, swap_id: SwapId) -> Receipt | None:
        """Return a swap's receipt, None for a swap of a version without them."""
        with self._store.reading() as tx:
            kept = tx.acceptances.get(swap_id)
        return None if kept is None else Receipt(kept.body, kept.signature, self._signer.public_key)

    # -- when a swap was lost ----------------------------------------------------------------

    def compare(self) -> int:
        """Compare journal and database, both ways, at the start; returns how many swaps are restored.

        Swaps that the database lost begin to be restored; swaps that the journal lost are written down again.
        A line that cannot be used is named and passed over. Raises `JournalError`, `StoreError`.
        """
        if self._journal is None:
            return 0
        report = self._journal.read()
        for trouble in report.damage:
            log.critical("journal_damaged", journal=str(self._journal.path), trouble=trouble)
        self._journalled = {entry.swap_id for entry in report.entries}
        here = set(self._kept())
        restored = sum(
            self._restore_entry(entry) for entry in report.entries if SwapId(entry.swap_id) not in here
        )
        for swap_id in sorted(here - self._journalled):
            self.write_down(SwapId(swap_id))
        if restored:
            log.critical("database_is_older", journal=str(self._journal.path), swaps=restored)
        return restored

    def hand_in(self, text: str, signature: str, owner: str = "") -> HandedIn:
        """Take back a receipt from its user; doing it again changes nothing. Raises `RefusedError`."""
        acceptance = self._checked(text, signature)

        def job(tx: Transaction) -> HandedIn:
            known = _known(tx, acceptance)
            if known is not None:
                return known
            tx.lock("restorations")
            if tx.restorations.count_going_on("client") >= MAX_HANDED_IN:
                raise RefusedError(
                    Reason.LIMIT_REACHED,
                    "many swaps are being restored",
                    "hand the receipt in again later",
                    60,
                )
            begin_restoration(tx, Lost(acceptance, text, signature, "client", owner))
            return _known(tx, acceptance) or _taken(acceptance)

        return retrying(self._store, job)

    def _checked(self, text: str, signature: str) -> Acceptance:
        if not receipt_is_valid(self._signer.public_key, text, signature):
            raise RefusedError(
                Reason.BAD_RECEIPT,
                "this bridge did not sign this receipt",
                "hand in the receipt exactly as it stands in the recovery file, at the bridge that gave it",
            )
        try:
            acceptance = read_acceptance(text)
            acceptance.swap()
        except ProtocolError as error:
            raise RefusedError(Reason.BAD_RECEIPT, str(error), error.hint) from None
        return acceptance

    def _restore_entry(self, entry: JournalEntry) -> bool:
        with self._store.reading() as tx:
            if tx.swaps.get(SwapId(entry.swap_id)) is not None:
                return False
        try:
            acceptance = self._checked(entry.body, entry.signature)
        except RefusedError as error:
            log.critical("journal_entry_refused", swap=entry.swap_id, reason=str(error))
            return False
        lost = Lost(acceptance, entry.body, entry.signature, "journal", entry.client)
        return retrying(self._store, lambda tx: begin_restoration(tx, lost))

    def _kept(self) -> Iterable[SwapId]:
        """Return the swaps of this database that have receipts."""
        after = ""
        while True:
            with self._store.reading() as tx:
                page = tx.acceptances.page(after, PAGE)
            if not page:
                return
            yield from (kept.swap_id for kept in page)
            after = page[-1].swap_id


def _known(tx: Transaction, acceptance: Acceptance) -> HandedIn | None:
    if tx.swaps.get(acceptance.swap_id) is not None:
        return HandedIn(acceptance.swap_id, None, "the swap is here: GET it to see where it stands")
    restoration = tx.restorations.get(acceptance.swap_id)
    if restoration is not None:
        return HandedIn(acceptance.swap_id, restoration.state, restoration.detail)
    return None


def _taken(acceptance: Acceptance) -> HandedIn:
    raise RefusedError(
        Reason.HASHLOCK_USED,
        "another swap here has the hashlock of this receipt",
        f"tell the operator the id of your swap, {acceptance.swap_id}",
    )


def _heights(tx: Transaction, swap: Swap) -> dict[ChainId, BlockHeight]:
    heights: dict[ChainId, BlockHeight] = {}
    for chain in (swap.source.terms.chain, swap.destination.terms.chain):
        status = tx.chains.get(chain)
        heights[chain] = status.tip.block.height if status and status.tip else BlockHeight(0)
    return heights
