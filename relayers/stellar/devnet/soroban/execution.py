"""Runs one host function and measures what it used: footprint, bytes, rent, events."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from stellar_sdk import xdr

from relayers.stellar.devnet.entries import ContractEntry, Entry
from relayers.stellar.devnet.ledger import LedgerTxn
from relayers.stellar.devnet.soroban.errors import HostError
from relayers.stellar.devnet.soroban.fees import RentChange, size_for_rent
from relayers.stellar.devnet.soroban.host import Host
from relayers.stellar.devnet.soroban.ledger_xdr import is_contract_key, is_temporary
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.storage import Footprint, entry_at, entry_bytes


@dataclass
class Outcome:
    """What a host function did. `error` is set where it failed; then nothing of it took effect."""

    footprint: Footprint
    value: xdr.SCVal | None = None
    error: HostError | None = None
    events: list[xdr.ContractEvent] = field(default_factory=list)
    auth: list[xdr.SorobanAuthorizationEntry] = field(default_factory=list)
    """In a simulation: the entries to sign."""
    restored: set[bytes] = field(default_factory=set)
    """Archived entries that it brought back, by key."""
    instructions: int = 0
    disk_read_entries: int = 0
    disk_read_bytes: int = 0
    write_bytes: int = 0
    event_bytes: int = 0
    """Of events and returned value."""
    rent: list[RentChange] = field(default_factory=list)
    grown_bytes: dict[str, int] = field(default_factory=dict)
    """In a simulation: what of the bytes accounts for extensions that accounts do not have yet."""

    @property
    def result_hash(self) -> bytes:
        """The hash that the operation's result carries: over the returned value and the events."""
        assert self.value is not None  # noqa: S101 - of a success
        image = xdr.InvokeHostFunctionSuccessPreImage(self.value, self.events)
        return hashlib.sha256(image.to_xdr_bytes()).digest()


def execute(
    txn: LedgerTxn,
    network_id: bytes,
    source: str,
    settings: Settings,
    function: xdr.HostFunction,
    auth: list[xdr.SorobanAuthorizationEntry] | None,
    footprint: Footprint,
    instructions: int,
    restored: dict[bytes, ContractEntry] | None = None,
    new_nonce: Callable[[], int] = lambda: 0,
    upgraded_auth: bool = True,
    root_auth_only: bool = False,
) -> Outcome:
    """Run a host function in a layer of the ledger; the changes stay in `txn` if it succeeds.

    `restored` holds the entries that the ledger brought back beforehand, as they were.
    """
    outcome = Outcome(footprint)
    layer = txn.child()
    host = None
    try:
        host = Host(
            layer,
            network_id,
            source,
            settings,
            footprint,
            auth,
            instructions=instructions,
            new_nonce=new_nonce,
        )
        host.auth.root_only = root_auth_only
        host.storage.restored.update(restored or {})
        outcome.value = host.run(function)
        if auth is None:
            host.auth.emulate_authentication()
            outcome.auth = host.auth.recorded(upgraded_auth)
        outcome.events = host.events
        host.budget.charge("key", len(footprint.keys))
        host.budget.charge("restored", len(host.storage.restored))
    except HostError as error:
        outcome.error = error
    if host is not None:
        outcome.instructions = min(host.budget.instructions, instructions)
        outcome.restored = set(host.storage.restored)
        _measure(txn, layer, host, outcome)
    if outcome.error is None:
        layer.commit()
    return outcome


def _measure(before: LedgerTxn, after: LedgerTxn, host: Host, outcome: Outcome) -> None:
    """Work out what was read and written, as the ledger charges for it."""
    archived, grown = host.storage.restored, outcome.footprint.recording
    for raw, key in outcome.footprint.keys.items():
        old, new = entry_at(before, key), entry_at(after, key)
        if is_contract_key(key):
            old = archived.get(raw, old)
            if raw in archived:
                outcome.disk_read_entries += 1
                outcome.disk_read_bytes += entry_bytes(old)
        else:
            outcome.disk_read_entries += 1
            _count(outcome, "disk_read_bytes", old, grown)
        if raw in outcome.footprint.writable:
            _count(outcome, "write_bytes", new, grown)
        if isinstance(new, ContractEntry):
            _add_rent(outcome, key, new, None if raw in archived else old, host.storage.sequence)
    if outcome.value is not None:
        parts = [outcome.value.to_xdr_bytes(), *[each.to_xdr_bytes() for each in outcome.events]]
        outcome.event_bytes = sum(len(each) for each in parts)


def _count(outcome: Outcome, what: str, entry: Entry | None, grown: bool) -> None:
    size = entry_bytes(entry, grown=grown)
    setattr(outcome, what, getattr(outcome, what) + size)
    outcome.grown_bytes[what] = outcome.grown_bytes.get(what, 0) + size - entry_bytes(entry)


def _add_rent(outcome: Outcome, key: xdr.LedgerKey, new: ContractEntry, old: object, sequence: int) -> None:
    known = old if isinstance(old, ContractEntry) and old.live_until >= sequence else None
    change = RentChange(
        not is_temporary(key),
        key.contract_code is not None,
        size_for_rent(known) if known is not None else 0,
        size_for_rent(new),
        known.live_until if known is not None else 0,
        new.live_until,
    )
    if change.new_live_until > change.old_live_until or change.new_size > change.old_size:
        outcome.rent.append(change)
