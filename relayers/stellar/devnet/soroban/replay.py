"""Replays recordings of the real Soroban host (scripts/soroban_vectors) and tells where this one differs.

Compared are result or error, events, authorizations, footprint, archived entries, every change of an entry
with its life and its size for rent, and the bytes read and written. Instructions and memory are not: they
belong to the real host's interpreter (`budget.py` estimates them).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from stellar_sdk import StrKey, xdr

from relayers.stellar.devnet.entries import ContractEntry, account_key
from relayers.stellar.devnet.ledger import Header, LedgerTxn
from relayers.stellar.devnet.soroban.execution import Outcome, execute
from relayers.stellar.devnet.soroban.fees import size_for_rent
from relayers.stellar.devnet.soroban.ledger_xdr import (
    entry_from_xdr,
    entry_xdr,
    is_contract_key,
    is_temporary,
    state_key,
)
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.storage import Footprint, entry_at, entry_bytes

Json = dict[str, Any]


@dataclass
class Counted:
    """How much a recording compared."""

    steps: int = 0
    calls: int = 0
    refused: int = 0


class Replay:
    """One recording on this host."""

    def __init__(self) -> None:
        self._settings = Settings()
        self._network_id = b""
        self._state = LedgerTxn.root(Header(1, 0, b"", b""), {}).child()
        self.counted = Counted()
        self.instructions: list[tuple[str, str, int, int]] = []
        """Of each call: simulated or enforced, its note, the real host's instructions, ours."""

    def differences(self, lines: Iterable[str]) -> Iterator[str]:
        """Replay and yield a line for each difference."""
        for number, line in enumerate(lines, start=1):
            step = json.loads(line)
            self.counted.steps += 1
            for difference in self._play(step):
                yield f"step {number} ({step.get('note', step['op'])}): {difference}"

    def _play(self, step: Json) -> Iterator[str]:
        if step["op"] == "network":
            self._network_id = bytes.fromhex(step["id"])
            self._settings = replace(
                self._settings,
                min_temporary_ttl=step["min_temporary"],
                min_persistent_ttl=step["min_persistent"],
                max_ttl=step["max"],
            )
        elif step["op"] == "put":
            entry = entry_from_xdr(xdr.LedgerEntry.from_xdr(step["entry"]), step["live"] or 0)
            self._state.create(entry)
        elif step["op"] == "del":
            place = state_key(xdr.LedgerKey.from_xdr(step["key"]))
            assert place is not None  # noqa: S101 - the recorder removes such entries only
            self._state.mark(place, None)
        else:
            yield from self._call(step)

    def _call(self, step: Json) -> Iterator[str]:
        said = step["said"]
        self.counted.calls += 1
        self.counted.refused += "error" in said
        layer = self._state.child(Header(step["sequence"], step["time"], b"", b""))
        enforcing = step["op"] == "enforce"
        restored: dict[bytes, ContractEntry] = {}
        footprint = Footprint(recording=True)
        if enforcing:
            resources = xdr.SorobanResources.from_xdr(step["resources"])
            footprint = Footprint.declared(resources.footprint)
            archived = self._restore(layer, resources, step["archived"], restored)
            if archived or said.get("error") == "archived":
                if archived != (said.get("error") == "archived"):
                    yield f"archived entries: here {archived}, there {said}"
                return
        auth = step["auth"]
        run = layer.child()
        outcome = execute(
            run,
            self._network_id,
            StrKey.encode_ed25519_public_key(account_key(xdr.AccountID.from_xdr(step["source"]))),
            self._settings,
            xdr.HostFunction.from_xdr(step["function"]),
            None if auth is None else [xdr.SorobanAuthorizationEntry.from_xdr(each) for each in auth],
            footprint,
            self._settings.tx_instructions,
            restored,
            root_auth_only=True,
        )
        yield from self._compare(step, outcome, layer, run)
        if enforcing and outcome.error is None:
            run.commit()
            layer.commit()

    def _restore(
        self,
        layer: LedgerTxn,
        resources: xdr.SorobanResources,
        indices: list[int],
        restored: dict[bytes, ContractEntry],
    ) -> bool:
        """Bring the listed entries back; tell whether others are archived."""
        footprint = resources.footprint
        listed = {id(footprint.read_write[index]) for index in indices}
        for key in [*footprint.read_only, *footprint.read_write]:
            entry = entry_at(layer, key)
            if not isinstance(entry, ContractEntry) or entry.live_until >= layer.header.sequence:
                continue
            if is_temporary(key):
                continue
            if id(key) not in listed:
                return True
            restored[entry.key] = entry
            again = entry.copy()
            again.live_until = layer.header.sequence + self._settings.min_persistent_ttl - 1
            layer.create(again)
        return False

    # Comparing

    def _compare(self, step: Json, outcome: Outcome, before: LedgerTxn, after: LedgerTxn) -> Iterator[str]:
        said = step["said"]
        here = outcome.error.name if outcome.error is not None else ""
        there = said.get("error", "")
        if here != there:
            text = outcome.error.text if outcome.error is not None else ""
            yield f"here {here or 'success'} {text}, there {there or 'success'}"
            return
        if here:
            return
        assert outcome.value is not None  # noqa: S101 - a success
        self.instructions.append((step["op"], step["note"], said["instructions"], outcome.instructions))
        if outcome.value.to_xdr() != said["value"]:
            yield f"value: here {outcome.value.to_xdr()}, there {said['value']}"
        if [each.to_xdr() for each in outcome.events] != said["events"]:
            yield f"events: here {[each.to_xdr() for each in outcome.events]}, there {said['events']}"
        if step["op"] == "record":
            yield from _compare_needs(said, outcome, recorded=step["auth"] is None)
        theirs = {_plain_key(each["key"]): each for each in said["changes"]}
        mine = {_plain_key(key.to_xdr()): key for key in outcome.footprint.keys.values()}
        for plain in theirs.keys() | mine.keys():
            if plain not in theirs or plain not in mine:
                yield f"key {plain}: only {'here' if plain in mine else 'there'}"
                continue
            change = _change(mine[plain], outcome, before, after)
            told = {name: theirs[plain][name] for name in ("live", "rent_size")}
            told["new"] = _plain_entry(theirs[plain]["new"])
            if _is_nonce(mine[plain]) and step["op"] == "record":
                continue  # a recorded nonce is random, and lives until it is signed
            if change != told:
                yield f"change of {plain}: here {change}, there {told}"


def _compare_needs(said: Json, outcome: Outcome, *, recorded: bool) -> Iterator[str]:
    """What a simulation says that the transaction will need."""
    resources = xdr.SorobanResources.from_xdr(said["resources"])
    mine = outcome.footprint.to_xdr()
    for kind in ("read_only", "read_write"):
        here = {_plain_key(key.to_xdr()) for key in getattr(mine, kind)}
        there = {_plain_key(key.to_xdr()) for key in getattr(resources.footprint, kind)}
        if here != there:
            yield f"{kind} footprint: only here {here - there}, only there {there - here}"
    there_restored = {resources.footprint.read_write[index].to_xdr_bytes() for index in said["archived"]}
    if outcome.restored != there_restored:
        yield f"restored: here {outcome.restored}, there {there_restored}"
    for name in ("disk_read_bytes", "write_bytes"):
        told = getattr(resources, name).uint32
        # Simulation counts accounts as they will be after their first transaction; the bare host does not.
        if getattr(outcome, name) - outcome.grown_bytes.get(name, 0) != told:
            yield f"{name}: here {getattr(outcome, name)} {outcome.grown_bytes}, there {told}"
    if recorded:
        here_auth = [_plain_auth(each) for each in outcome.auth]
        there_auth = [_plain_auth(xdr.SorobanAuthorizationEntry.from_xdr(each)) for each in said["auth"]]
        if here_auth != there_auth:
            yield f"auth: here {here_auth}, there {there_auth}"


def _plain_auth(entry: xdr.SorobanAuthorizationEntry) -> str:
    again = xdr.SorobanAuthorizationEntry.from_xdr_bytes(entry.to_xdr_bytes())
    if again.credentials.address_v2 is not None:
        again.credentials.address_v2.nonce = xdr.Int64(0)
    return again.to_xdr()


def _is_nonce(key: xdr.LedgerKey) -> bool:
    return key.contract_data is not None and key.contract_data.key.nonce_key is not None


def _plain_key(raw: str) -> str:
    """Return a key without its nonce."""
    key = xdr.LedgerKey.from_xdr(raw)
    if key.contract_data is not None and key.contract_data.key.nonce_key is not None:
        key.contract_data.key.nonce_key.nonce = xdr.Int64(0)
    return key.to_xdr()


def _plain_entry(raw: str | None) -> str | None:
    """Return an entry without the ledger of its last change, which the host leaves to stellar-core."""
    if raw is None:
        return None
    entry = xdr.LedgerEntry.from_xdr(raw)
    entry.last_modified_ledger_seq = xdr.Uint32(0)
    return entry.to_xdr()


def _change(key: xdr.LedgerKey, outcome: Outcome, before: LedgerTxn, after: LedgerTxn) -> Json:
    raw = key.to_xdr_bytes()
    old, new = entry_at(before, key), entry_at(after, key)
    sequence = after.header.sequence
    writable = raw in outcome.footprint.writable
    # An entry that was restored and then removed counts as there before, except in a simulation.
    came_back = raw in outcome.restored and (new is not None or outcome.footprint.recording)
    if isinstance(old, ContractEntry) and (came_back or old.live_until < sequence):
        old = None
    if isinstance(new, ContractEntry) and new.live_until < sequence:
        new = None
    shown = entry_xdr(new).to_xdr() if new is not None and writable else None
    live, sizes = [0, 0], [0, 0]
    for place, entry in enumerate((old, new)):
        if isinstance(entry, ContractEntry):
            live[place] = entry.live_until
            sizes[place] = size_for_rent(entry)
        elif not is_contract_key(key):
            sizes[place] = entry_bytes(entry)
    if not writable:
        sizes[1] = 0
    return {"live": live, "rent_size": sizes, "new": _plain_entry(shown)}
