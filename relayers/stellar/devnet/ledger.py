"""The ledger's state and nested transactions over it.

A `LedgerTxn` sees its parent's entries and keeps its own changes until `commit`; dropping it undoes them.
Besides ledger entries it carries the marks that live only while transactions are applied: open
sponsorships and, when a ledger contains a merge, each source's highest sequence (CAP-0021).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from relayers.stellar.devnet import entries
from relayers.stellar.devnet.entries import Account, Entry, Key, TrustLine

SPONSORSHIP = "sponsorship"
"""Mark: the account whose future reserves are being sponsored → its sponsor."""
SPONSORING = "sponsoring"
"""Mark: a sponsor → for how many accounts its sponsorship is open."""
MAX_SEQUENCE = "max sequence"
"""Mark: a source account → its highest sequence in this ledger (set when the ledger contains a merge)."""
_MARKS = frozenset({SPONSORSHIP, SPONSORING, MAX_SEQUENCE})

Change = tuple[Key, Entry | None, Entry | None]


@dataclass(frozen=True)
class Header:
    """What the rules need of a ledger header; fees and reserves in stroops."""

    sequence: int
    close_time: int
    hash: bytes
    previous_hash: bytes
    base_fee: int = 100
    base_reserve: int = 5_000_000
    max_tx_set_size: int = 1000
    protocol: int = 19

    @property
    def starting_sequence(self) -> int:
        """The sequence that an account created in this ledger starts with."""
        return self.sequence << 32


class LedgerTxn:
    """A nestable transaction over the ledger."""

    def __init__(self, parent: LedgerTxn | None, header: Header) -> None:
        self._parent = parent
        self.header = header
        self._changes: dict[Key, Any] = {}

    @classmethod
    def root(cls, header: Header, state: dict[Key, Entry]) -> LedgerTxn:
        """Return the bottom layer, holding `state` itself."""
        bottom = cls(None, header)
        bottom._changes = dict(state)
        return bottom

    def child(self, header: Header | None = None) -> LedgerTxn:
        """Open a nested transaction, optionally under another header."""
        return LedgerTxn(self, header or self.header)

    def commit(self) -> None:
        """Move the changes into the parent."""
        assert self._parent is not None  # noqa: S101 - the root is never committed
        if self._parent._parent is not None:
            self._parent._changes.update(self._changes)
            return
        for key, value in self._changes.items():
            if key[0] in _MARKS:
                continue
            if value is None:
                self._parent._changes.pop(key, None)
            else:
                self._parent._changes[key] = value

    def peek(self, key: Key) -> Any:
        """Return what lives under the key, not to be changed, or None."""
        layer: LedgerTxn | None = self
        while layer is not None:
            if key in layer._changes:
                return layer._changes[key]
            layer = layer._parent
        return None

    def _load(self, key: Key) -> Any:
        if key in self._changes:
            return self._changes[key]
        found = self.peek(key)
        if found is None:
            return None
        mine = found.copy()
        mine.last_modified = self.header.sequence
        self._changes[key] = mine
        return mine

    def account(self, key: bytes) -> Account | None:
        """Load an account for change."""
        found: Account | None = self._load(entries.account(key))
        return found

    def existing_account(self, key: bytes) -> Account:
        """Load an account that the rules guarantee to exist."""
        found = self.account(key)
        if found is None:
            raise LookupError("an account that must exist does not")
        return found

    def has_account(self, key: bytes) -> bool:
        """Tell whether an account exists."""
        return self.peek(entries.account(key)) is not None

    def trustline(self, owner: bytes, asset: entries.AssetId) -> TrustLine | None:
        """Load a trustline for change."""
        found: TrustLine | None = self._load(entries.trustline(owner, asset))
        return found

    def data(self, owner: bytes, name: bytes) -> entries.Data | None:
        """Load a data entry for change."""
        found: entries.Data | None = self._load(entries.data(owner, name))
        return found

    def balance(self, balance_id: bytes) -> entries.ClaimableBalance | None:
        """Load a claimable balance for change."""
        found: entries.ClaimableBalance | None = self._load(entries.claimable_balance(balance_id))
        return found

    def create(self, entry: Entry) -> None:
        """Add a new entry."""
        entry.last_modified = self.header.sequence
        self._changes[entries.key_of(entry)] = entry

    def erase(self, entry: Entry) -> None:
        """Remove an entry."""
        self._changes[entries.key_of(entry)] = None

    def mark(self, key: Key, value: Any) -> None:
        """Set (or with None remove) a mark that is not a ledger entry."""
        self._changes[key] = value

    def marks(self, kind: str) -> list[Key]:
        """Return the keys of the marks of one kind that are set."""
        seen: set[Key] = set()
        found = []
        layer: LedgerTxn | None = self
        while layer is not None and layer._parent is not None:
            for key, value in layer._changes.items():
                if key[0] == kind and key not in seen:
                    seen.add(key)
                    if value is not None:
                        found.append(key)
            layer = layer._parent
        return found

    def changes(self) -> list[Change]:
        """Return what this layer changed: key, the entry before (None: new), the entry after (None: gone)."""
        assert self._parent is not None  # noqa: S101
        found: list[Change] = []
        for key, after in self._changes.items():
            before = self._parent.peek(key)
            if key[0] in _MARKS or before == after:
                continue
            found.append((key, before.copy() if before is not None else None, after and after.copy()))
        return found

    def changed(self, kind: str) -> set[bytes]:
        """Return the ids of the accounts ("account") or balances ("balance") that this layer touched."""
        return {key[1] for key in self._changes if key[0] == kind}

    def entries(self) -> Iterator[Entry]:
        """Iterate over all entries of the bottom layer."""
        assert self._parent is None  # noqa: S101
        yield from self._changes.values()

    def snapshot(self) -> dict[Key, Entry]:
        """Return a copy of the bottom layer, a shallow one: its entries are never changed in place."""
        assert self._parent is None  # noqa: S101
        return dict(self._changes)


def with_sequence(header: Header, sequence: int) -> Header:
    """Return the header as it looks to checks that are made for a later ledger."""
    return replace(header, sequence=sequence)
