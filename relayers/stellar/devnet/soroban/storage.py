"""What one transaction reads and writes: footprint, time to live, archived entries.

Simulation records a footprint, a ledger enforces the declared one (soroban-env-host, storage.rs). An entry
whose time is over is gone if temporary and archived if persistent. Before the transaction runs, the ledger
restores the archived entries that it lists and refuses it if its footprint holds others (CAP-62, CAP-66).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stellar_sdk import xdr

from relayers.stellar.devnet.entries import Account, AssetId, ContractEntry, Entry, TrustLine, contract
from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.soroban.errors import Code, HostError, Type
from relayers.stellar.devnet.soroban.ledger_xdr import (
    account_ledger_key,
    entry_xdr,
    is_temporary,
    key_of_data,
    state_key,
    trustline_ledger_key,
)
from relayers.stellar.devnet.soroban.settings import Settings


@dataclass
class Footprint:
    """Keys (as XDR) that are read and those that are also written. `recording`: every access adds to it."""

    recording: bool
    keys: dict[bytes, xdr.LedgerKey] = field(default_factory=dict)
    writable: set[bytes] = field(default_factory=set)

    @classmethod
    def declared(cls, footprint: xdr.LedgerFootprint) -> Footprint:
        """Return the footprint that a transaction declares."""
        found = cls(recording=False)
        for key in [*footprint.read_only, *footprint.read_write]:
            found.keys[key.to_xdr_bytes()] = key
        found.writable = {key.to_xdr_bytes() for key in footprint.read_write}
        return found

    def access(self, key: xdr.LedgerKey, *, write: bool) -> bytes:
        """Record or enforce an access, and return the key as XDR."""
        raw = key.to_xdr_bytes()
        if self.recording:
            self.keys.setdefault(raw, key)
            if write:
                self.writable.add(raw)
        elif raw not in self.keys or (write and raw not in self.writable):
            raise HostError(Type.SCE_STORAGE, Code.SCEC_EXCEEDED_LIMIT, "an access outside of the footprint")
        return raw

    def to_xdr(self) -> xdr.LedgerFootprint:
        """Return the footprint as a transaction declares it, in a fixed order."""
        order = sorted(self.keys)
        return xdr.LedgerFootprint(
            [self.keys[raw] for raw in order if raw not in self.writable],
            [self.keys[raw] for raw in order if raw in self.writable],
        )


class Storage:
    """The ledger as one transaction may see it. `txn` is the layer of the call that is running."""

    def __init__(self, txn: LedgerTxn, settings: Settings, footprint: Footprint) -> None:
        self.txn = txn
        self.settings = settings
        self.footprint = footprint
        self.restored: dict[bytes, ContractEntry] = {}
        """Archived entries that came back, as they were."""

    @property
    def sequence(self) -> int:
        """The ledger that the transaction runs in."""
        return self.txn.header.sequence

    @property
    def max_live_until(self) -> int:
        """The last ledger that an entry may be made to live in."""
        return self.sequence + self.settings.max_ttl - 1

    def min_live_until(self, temporary: bool) -> int:
        """Return until when a new entry lives."""
        least = self.settings.min_temporary_ttl if temporary else self.settings.min_persistent_ttl
        return self.sequence + least - 1

    def _find(self, key: xdr.LedgerKey, raw: bytes) -> ContractEntry | None:
        found: ContractEntry | None = self.txn.peek(contract(raw))
        if found is None or found.live_until >= self.sequence:
            return found
        if is_temporary(key):
            return None
        if not self.footprint.recording:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_INTERNAL_ERROR, "an archived entry was not restored")
        self.footprint.writable.add(raw)
        return self.restore(raw, found)

    def restore(self, raw: bytes, archived: ContractEntry) -> ContractEntry:
        """Bring an archived entry back for the least time."""
        self.restored.setdefault(raw, archived)
        entry = archived.copy()
        entry.live_until = self.min_live_until(temporary=False)
        self.txn.create(entry)
        return entry

    # Contract data and code

    def get(self, key: xdr.LedgerKey) -> ContractEntry | None:
        """Return contract data or code, or None."""
        return self._find(key, self.footprint.access(key, write=False))

    def require(self, key: xdr.LedgerKey) -> ContractEntry:
        """Return contract data or code. Raises `HostError` where there is none."""
        found = self.get(key)
        if found is None:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_MISSING_VALUE, "no such entry")
        return found

    def put(self, data: xdr.LedgerEntryData, live_until: int | None = None) -> None:
        """Write contract data or code. A new entry lives for the least time, unless told otherwise."""
        key = key_of_data(data)
        raw = self.footprint.access(key, write=True)
        old = self._find(key, raw)
        if live_until is None:
            live_until = old.live_until if old is not None else self.min_live_until(is_temporary(key))
        self.txn.create(ContractEntry(raw, data, live_until))

    def delete(self, key: xdr.LedgerKey) -> None:
        """Remove contract data, if there is any."""
        raw = self.footprint.access(key, write=True)
        self._find(key, raw)
        self.txn.mark(contract(raw), None)

    def extend(self, key: xdr.LedgerKey, threshold: int, extend_to: int) -> None:
        """Let an entry live `extend_to` ledgers from now, if it has `threshold` or fewer left."""
        if threshold > extend_to:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_INVALID_INPUT, "threshold above extend_to")
        entry = self.require(key)
        if is_temporary(key) and extend_to > self.max_live_until - self.sequence:
            raise HostError(Type.SCE_STORAGE, Code.SCEC_INVALID_ACTION, "past the longest time to live")
        wanted = self.sequence + extend_to
        if wanted >= 2**32:
            raise HostError(Type.SCE_CONTEXT, Code.SCEC_INTERNAL_ERROR, "a time to live overflows")
        wanted = min(wanted, self.max_live_until)
        if entry.live_until - self.sequence <= threshold and wanted > entry.live_until:
            longer = entry.copy()
            longer.live_until = wanted
            self.txn.mark(contract(entry.key), longer)

    # Classic entries

    def read_account(self, key: bytes) -> Account | None:
        """Look at an account."""
        self.footprint.access(account_ledger_key(key), write=False)
        found: Account | None = self.txn.peek(("account", key))
        return found

    def write_account(self, key: bytes) -> Account | None:
        """Load an account for change."""
        self.footprint.access(account_ledger_key(key), write=True)
        return self.txn.account(key)

    def create_account(self, account: Account) -> None:
        """Add an account."""
        self.footprint.access(account_ledger_key(account.id), write=True)
        self.txn.create(account)

    def read_trustline(self, owner: bytes, asset: AssetId) -> TrustLine | None:
        """Look at a trustline."""
        self.footprint.access(trustline_ledger_key(owner, asset), write=False)
        found: TrustLine | None = self.txn.peek(("trustline", owner, asset))
        return found

    def write_trustline(self, owner: bytes, asset: AssetId) -> TrustLine | None:
        """Load a trustline for change."""
        self.footprint.access(trustline_ledger_key(owner, asset), write=True)
        return self.txn.trustline(owner, asset)

    def create_trustline(self, line: TrustLine) -> None:
        """Add a trustline; its owner's reserve is the caller's business."""
        self.footprint.access(trustline_ledger_key(line.account, line.asset), write=True)
        self.txn.create(line)


def entry_at(txn: LedgerTxn, key: xdr.LedgerKey) -> Entry | None:
    """Return the entry that a layer shows under a key of any kind that Soroban touches."""
    place = state_key(key)
    found: Entry | None = txn.peek(place) if place is not None else None
    return found


def entry_bytes(entry: Entry | None, *, grown: bool = False) -> int:
    """Return an entry's size on disk, 0 where there is none.

    `grown` counts an account as it will be after its first transaction, as simulation does
    (soroban-simulation, snapshot_source.rs).
    """
    if grown and isinstance(entry, Account) and not entry.sequence_ledger:
        entry = entry.copy()
        entry.sequence_ledger = 1
    return 0 if entry is None else len(entry_xdr(entry).to_xdr_bytes())
