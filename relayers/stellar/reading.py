"""From a transaction's bytes to what it did to our contract's locks, and to what it showed. Pure.

Of most transactions only bytes are looked at: one that holds neither our contract's name nor the id of a lock
that we remember is not ours. Of the others nothing is believed that does not fit its result, which the
ledger's header vouches for: a result holds the hash of all events (stellar-core, InvokeHostFunctionOpFrame:
`InvokeHostFunctionSuccessPreImage`). What cannot be decoded is set aside, and stops nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import Enum

import msgspec
from stellar_sdk import StrKey, xdr

from bridge.chains.port import Claimed, HtlcEvent, Refunded, SetAside, Spent
from bridge.chains.preimages import revealed
from bridge.protocol.types import HASHLOCK_BYTES, MAX_PREIMAGE_BYTES, BlockRef, LockId
from relayers.stellar import contract
from relayers.stellar.contract import NotOursError
from relayers.stellar.known import KnownLocks
from relayers.stellar.ledgers import UNREADABLE, Applied
from relayers.stellar.settings import StellarSettings

MOST_STRINGS = 20_000
"""Byte strings of one transaction that are looked at. The network takes no envelope above 132,096 bytes
(`txMaxSizeBytes`), which hold no more than some 16,000 strings with their lengths."""


class UnprovenError(ValueError):
    """What an endpoint says that a transaction did is not what its result vouches for."""


class Read(msgspec.Struct, frozen=True):
    """What one transaction did and showed, and whether anything of it could not be read."""

    events: tuple[HtlcEvent, ...] = ()
    aside: SetAside | None = None


class Reader:
    """Reads transactions with the contract of the settings and the locks that it has seen."""

    def __init__(self, settings: StellarSettings) -> None:
        self._settings = settings
        self._contract = StrKey.decode_contract(settings.contract)
        self.known = KnownLocks()

    def read(self, applied: Applied, block: BlockRef) -> Read:
        """Return what a transaction of this block did. Raises `UnprovenError`."""
        named = self.known.named_in(applied.envelope)
        if not named and self._contract not in applied.envelope and self._contract not in applied.meta:
            return Read()
        try:
            return self._decoded(applied, block)
        except UNREADABLE as error:
            if isinstance(error, UnprovenError):
                raise
            # The error's words might quote a secret: only its kind is kept.
            reason = f"this software cannot decode it ({type(error).__name__})"
            ids = dict.fromkeys([*named, *self.known.named_in(applied.meta)])
            shown = self._strings_in_bytes(applied.envelope)
            return Read(
                revealed(block, applied.tx_id, shown),
                SetAside(block, applied.tx_id, reason, tuple(ids)),
            )

    def _decoded(self, applied: Applied, block: BlockRef) -> Read:
        envelope = xdr.TransactionEnvelope.from_xdr_bytes(applied.envelope)
        strings = list(strings_in(envelope))
        if len(strings) >= MOST_STRINGS:
            raise ValueError("too many byte strings")
        result = xdr.TransactionResult.from_xdr_bytes(applied.result)
        done: list[HtlcEvent] = []
        odd = ""
        proof = _success_of(result)
        if proof is not None:
            meta = xdr.TransactionMeta.from_xdr_bytes(applied.meta)
            events, odd = self._events(meta, proof, applied, block)
            done += events
        told = {event.preimage.reveal() for event in done if isinstance(event, Claimed)}
        if proof is not None and done and _is_plain(envelope, self._contract):
            strings = [each for each in strings if hashlib.sha256(each).digest() in self.known.secrets]
        shown = revealed(block, applied.tx_id, [each for each in strings if each not in told])
        aside = None
        if odd:
            ids = self.known.named_in(applied.envelope + applied.meta)
            aside = SetAside(block, applied.tx_id, odd, ids)
        return Read((*shown, *done), aside)

    def _events(
        self, meta: xdr.TransactionMeta, proof: bytes, applied: Applied, block: BlockRef
    ) -> tuple[list[HtlcEvent], str]:
        """Return what our contract did, and why anything that it did cannot be read ("" if all can)."""
        value, events = _outcome(meta)
        if hashlib.sha256(xdr.InvokeHostFunctionSuccessPreImage(value, events).to_xdr_bytes()).digest() != (
            proof
        ):
            raise UnprovenError("the events of a transaction are not those that its result vouches for")
        found: list[HtlcEvent] = []
        odd = ""
        for event in events:
            if event.contract_id is None or event.contract_id.contract_id.hash != self._contract:
                continue
            try:
                if event.body.v0 is None:
                    raise NotOursError("its form is not known")
                shown = contract.read_event(event.body.v0.topics, event.body.v0.data, self._settings)
            except NotOursError as error:
                odd = f"our contract says something that this software does not know: {error}"
                continue
            if shown.terms is not None:
                self.known.remember(shown.lock, shown.terms.hashlock)
            found.append(shown.event(block, applied.tx_id, self.known.hashlock(shown.lock)))
        ended = {each.lock_id for each in found if isinstance(each, Claimed | Refunded | Spent)}
        for lock in _deleted(meta, self._contract):
            if lock not in ended:
                found.append(Spent(block, applied.tx_id, lock, "its entry is gone, and no event says how"))
        return found, odd

    def _strings_in_bytes(self, raw: bytes) -> Iterator[bytes]:
        """Yield the byte strings of an envelope that cannot be decoded which open a lock that we remember."""
        for at in range(0, len(raw) - 3, 4):
            length = int.from_bytes(raw[at : at + 4])
            if length <= MAX_PREIMAGE_BYTES:
                shown = raw[at + 4 : at + 4 + length]
                if hashlib.sha256(shown).digest() in self.known.secrets:
                    yield shown


def strings_in(value: object) -> Iterator[bytes]:
    """Yield every byte string that could be a preimage of a decoded XDR value, wherever it stands: arguments
    and authorisations of all depths, footprints, memos, signatures of the inner and the outer envelope."""
    waiting: list[object] = [value]
    count = 0
    while waiting:
        each = waiting.pop()
        if isinstance(each, bytes):
            if len(each) <= MAX_PREIMAGE_BYTES:
                count += 1
                yield each
                if count >= MOST_STRINGS:
                    return
        elif isinstance(each, list | tuple):
            waiting.extend(reversed(each))
        elif hasattr(each, "__dict__") and not isinstance(each, Enum):
            waiting.extend(reversed(list(vars(each).values())))


def inner_envelope(envelope: xdr.TransactionEnvelope) -> xdr.TransactionV1Envelope | None:
    """Return the envelope of the transaction itself, None for the oldest form."""
    if envelope.fee_bump is not None:
        inner: xdr.TransactionV1Envelope | None = envelope.fee_bump.tx.inner_tx.v1
        return inner
    return envelope.v1


def _is_plain(envelope: xdr.TransactionEnvelope, contract_id: bytes) -> bool:
    """Tell whether a transaction is a call of our contract and has no authorisation but its source's: such a
    one says with its event all that it shows."""
    inner = inner_envelope(envelope)
    if inner is None or len(inner.tx.operations) != 1:
        return False
    operation = inner.tx.operations[0].body.invoke_host_function_op
    if operation is None or operation.host_function.invoke_contract is None:
        return False
    called = operation.host_function.invoke_contract.contract_address.contract_id
    if called is None or called.contract_id.hash != contract_id:
        return False
    own = xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT
    return all(entry.credentials.type is own for entry in operation.auth)


def _success_of(result: xdr.TransactionResult) -> bytes | None:
    """Return the hash that a successful contract call's result vouches with; None for everything else."""
    outcome = result.result
    results = outcome.results
    if outcome.inner_result_pair is not None:
        results = outcome.inner_result_pair.result.result.results
        if outcome.code is not xdr.TransactionResultCode.txFEE_BUMP_INNER_SUCCESS:
            return None
    elif outcome.code is not xdr.TransactionResultCode.txSUCCESS:
        return None
    for each in results or ():
        invoked = each.tr.invoke_host_function_result if each.tr is not None else None
        if invoked is not None and invoked.success is not None:
            digest: bytes = invoked.success.hash
            return digest
    return None


def _outcome(meta: xdr.TransactionMeta) -> tuple[xdr.SCVal, list[xdr.ContractEvent]]:
    if meta.v4 is not None:
        value = meta.v4.soroban_meta.return_value if meta.v4.soroban_meta is not None else None
        events = [event for operation in meta.v4.operations for event in operation.events]
    elif meta.v3 is not None and meta.v3.soroban_meta is not None:
        value, events = meta.v3.soroban_meta.return_value, list(meta.v3.soroban_meta.events)
    else:
        raise UnprovenError("a contract call comes without what it did")
    if value is None:
        raise UnprovenError("a contract call comes without its value")
    return value, events


def _deleted(meta: xdr.TransactionMeta, contract_id: bytes) -> list[LockId]:
    """Return the locks whose entries a transaction has deleted."""
    form = meta.v4 or meta.v3
    operations = form.operations if form is not None else []
    found: dict[LockId, None] = {}
    for operation in operations:
        for change in operation.changes.ledger_entry_changes:
            key = change.removed.contract_data if change.removed is not None else None
            if key is None or key.contract.contract_id is None or key.key.bytes is None:
                continue
            name = key.key.bytes.sc_bytes
            if key.contract.contract_id.contract_id.hash == contract_id and len(name) == HASHLOCK_BYTES:
                found[LockId(name.hex())] = None
    return list(found)
