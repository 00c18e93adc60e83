"""Transactions that cannot be mined now: a nonce before them is missing. Nothing counts them.

Their senders pay nothing until they can be mined. So they are few and short-lived, and when the queue is
full, the sender who has the most in it loses the one with the highest nonce.
"""

from __future__ import annotations

from collections.abc import Iterator

from chain.mempool.entries import Entry
from chain.rules.types import KeyHash, TxId, WtxId


class Gapped:
    """The queue. `capacity` bounds it in all, how far a nonce may be ahead bounds an account's share."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.by_wtxid: dict[WtxId, Entry] = {}
        self.by_txid: dict[TxId, Entry] = {}
        self._senders: dict[KeyHash, dict[int, Entry]] = {}

    def __len__(self) -> int:
        return len(self.by_wtxid)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.by_wtxid.values())

    def at(self, sender: KeyHash, nonce: int) -> Entry | None:
        """Return the sender's entry with a nonce."""
        return self._senders.get(sender, {}).get(nonce)

    def has(self, sender: KeyHash) -> bool:
        """Tell whether anything of a sender waits here."""
        return sender in self._senders

    def of(self, sender: KeyHash) -> list[Entry]:
        """Return a sender's entries in order of nonce."""
        return [entry for _, entry in sorted(self._senders.get(sender, {}).items())]

    def put(self, entry: Entry) -> bool:
        """Take an entry in, in the place of the same nonce; False when the sender has too many already."""
        tx = entry.tx
        old = self.at(tx.sender, tx.nonce)
        if old is not None:
            self.drop(old)
        elif len(self.by_wtxid) >= self.capacity:
            entries = max(self._senders.values(), key=len)
            if len(entries) <= len(self._senders.get(tx.sender, {})) + 1:
                return False
            self.drop(entries[max(entries)])
        self._senders.setdefault(tx.sender, {})[tx.nonce] = entry
        self.by_wtxid[entry.wtxid] = self.by_txid[tx.txid] = entry
        return True

    def drop(self, entry: Entry) -> None:
        """Take an entry out."""
        tx = entry.tx
        if self.by_wtxid.pop(entry.wtxid, None) is None:
            return
        del self.by_txid[tx.txid]
        entries = self._senders[tx.sender]
        del entries[tx.nonce]
        if not entries:
            del self._senders[tx.sender]
