"""Transactions of the devnet from their own bytes: whatever the ledger takes is served in every encoding.

pycardano, which builds the bridge's own transactions, cannot read all of them. Here it only holds the pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pycardano import (
    Address,
    AssetName,
    DatumHash,
    MultiAsset,
    PlutusV1Script,
    PlutusV2Script,
    PlutusV3Script,
    RawCBOR,
    ScriptHash,
    TransactionInput,
    TransactionOutput,
    Value,
    VerificationKeyHash,
)
from pycardano import Asset as TokenBundle
from pycardano.crypto.bech32 import encode as bech32_encode

from relayers.cardano.cbor_items import Item, Kind, read_whole
from relayers.cardano.plutus_data import integer

OutRef = tuple[str, int]
"""Transaction id (hex) and index of an output."""

_PLUTUS = (PlutusV1Script, PlutusV2Script, PlutusV3Script)
_TAGS = ("spend", "mint", "cert", "reward", "vote", "propose")
_METADATA_IN_AUXILIARY = 259


class NativeScript(bytes):
    """A native script's CBOR, of any depth."""


class OddAddress:
    """An address that pycardano cannot read, like one with a pointer to no place: its bytes are served."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        part = ScriptHash if raw[0] & 0x10 else VerificationKeyHash
        is_shelley = raw[0] >> 4 < 8 and len(raw) > 28
        self.payment_part = part(raw[1:29]) if is_shelley else None

    def to_primitive(self) -> bytes:
        """Return the bytes."""
        return self._raw

    def encode(self) -> str:
        """Return the text."""
        return str(bech32_encode("addr" if self._raw[0] & 1 else "addr_test", list(self._raw)))

    def __str__(self) -> str:
        return self.encode()


@dataclass(frozen=True)
class Redeemer:
    """One redeemer: tag, index among the sorted inputs (or policies …), data (CBOR) and its budget."""

    tag: str
    index: int
    data: bytes
    memory: int
    steps: int


@dataclass(frozen=True)
class RawBody:
    """A transaction's parts, named as in pycardano's body; inputs are in the order of the bytes."""

    valid: bool
    inputs: tuple[OutRef, ...]
    outputs: tuple[TransactionOutput, ...]
    fee: int
    ttl: int | None
    validity_start: int | None
    collateral: tuple[OutRef, ...]
    reference_inputs: tuple[OutRef, ...]
    collateral_return: TransactionOutput | None
    total_collateral: int | None
    required_signers: tuple[bytes, ...]
    keys: tuple[tuple[bytes, bytes], ...]
    """Public keys with their signatures."""
    datums: tuple[bytes, ...]
    native_scripts: tuple[Item, ...]
    redeemers: tuple[Redeemer, ...]
    metadata: tuple[tuple[int, Item, bytes], ...]
    """Labels with their metadata, and that as CBOR."""


def ref_of(spent: TransactionInput) -> OutRef:
    """Return an input as id and index."""
    return spent.transaction_id.payload.hex(), spent.index


def read_body(raw: bytes) -> RawBody:
    """Read a transaction that the ledger has accepted."""
    whole = read_whole(raw).items
    body, witnesses = _fields(whole[0]), _fields(whole[1])
    returned = body.get(16)
    redeemers = _redeemers(raw, witnesses[5]) if 5 in witnesses else ()
    return RawBody(
        valid=len(whole) < 4 or whole[2].number == 21,
        inputs=_refs(body.get(0)),
        outputs=tuple(_output(output) for output in _members(body.get(1))),
        fee=body[2].number,
        ttl=body[3].number if 3 in body else None,
        validity_start=body[8].number if 8 in body else None,
        collateral=_refs(body.get(13)),
        reference_inputs=_refs(body.get(18)),
        collateral_return=None if returned is None else _output(returned),
        total_collateral=body[17].number if 17 in body else None,
        required_signers=tuple(key.content for key in _members(body.get(14))),
        keys=tuple((one.items[0].content, one.items[1].content) for one in _members(witnesses.get(0))),
        datums=tuple(raw[datum.start : datum.end] for datum in _members(witnesses.get(4))),
        native_scripts=tuple(_members(witnesses.get(1))),
        redeemers=tuple(sorted(redeemers, key=lambda one: (one.tag, one.index))),
        metadata=tuple(_metadata(raw, whole[-1])),
    )


def native_json(script: Item) -> bytes:
    """Return a native script as Ogmios writes it (JSON), of any depth."""
    names = ("signature", "all", "any", "some", "after", "before")
    parts: list[bytes] = []
    waiting: list[Item | bytes] = [script]
    while waiting:
        item = waiting.pop()
        if isinstance(item, bytes):
            parts.append(item)
            continue
        clause = names[item.items[0].number]
        last = item.items[-1]
        parts.append(b'{"clause":"%s",' % clause.encode())
        if clause == "signature":
            parts.append(b'"from":"%s"}' % last.content.hex().encode())
        elif clause in {"after", "before"}:
            parts.append(b'"slot":%d}' % last.number)
        else:
            least = b'"atLeast":%d,' % item.items[1].number if clause == "some" else b""
            parts.append(least + b'"from":[')
            waiting.append(b"]}")
            for place, inner in reversed(list(enumerate(last.items))):
                waiting.append(inner)
                if place:
                    waiting.append(b",")
    return b"".join(parts)


def list_json(item: Item) -> bytes | None:
    """Return metadata as Ogmios writes it (JSON) if it is lists and numbers alone, of any depth; else Ogmios
    shows its CBOR only, as it does here."""
    parts: list[bytes] = []
    waiting: list[Item | bytes] = [item]
    while waiting:
        one = waiting.pop()
        if isinstance(one, bytes):
            parts.append(one)
        elif one.kind in {Kind.UNSIGNED, Kind.NEGATIVE}:
            parts.append(b"%d" % one.number)
        elif one.kind is Kind.ARRAY:
            parts.append(b"[")
            waiting.append(b"]")
            for place, inner in reversed(list(enumerate(one.items))):
                waiting.append(inner)
                if place:
                    waiting.append(b",")
        else:
            return None
    return b"".join(parts)


def _fields(item: Item) -> dict[int, Item]:
    return {key.number: value for key, value in item.entries}


def _members(item: Item | None) -> list[Item]:
    if item is None:
        return []
    return _members(item.items[0]) if item.kind is Kind.TAG else item.items


def _refs(item: Item | None) -> tuple[OutRef, ...]:
    return tuple((one.items[0].content.hex(), one.items[1].number) for one in _members(item))


def _output(item: Item) -> TransactionOutput:
    if item.kind is Kind.MAP:
        fields = _fields(item)
        address, value = fields[0], fields[1]
        option, script = fields.get(2), fields.get(3)
    else:
        address, value = item.items[:2]
        option, script = None, None
    made = TransactionOutput(_address(address.content), _value(value))
    if len(item.items) == 3 and item.kind is Kind.ARRAY:
        made.datum_hash = DatumHash(item.items[2].content)
    elif option is not None and option.items[0].number == 0:
        made.datum_hash = DatumHash(option.items[1].content)
    elif option is not None:
        made.datum = RawCBOR(option.items[1].items[0].content)
    if script is not None:
        made.script = _script(script.items[0].content)
    return made


def _address(raw: bytes) -> Any:
    try:
        return Address.from_primitive(raw)
    except Exception:
        return OddAddress(raw)


def _value(item: Item) -> Value:
    if item.kind is Kind.UNSIGNED:
        return Value(item.number)
    bundles = {
        ScriptHash(policy.content): TokenBundle(
            {AssetName(name.content): integer(amount) for name, amount in assets.entries}
        )
        for policy, assets in item.items[1].entries
    }
    return Value(item.items[0].number, MultiAsset(bundles))


def _script(raw: bytes) -> Any:
    kind, held = read_whole(raw).items
    if kind.number == 0:
        return NativeScript(raw[held.start : held.end])
    return _PLUTUS[kind.number - 1](held.content)


def _redeemers(raw: bytes, item: Item) -> Iterator[Redeemer]:
    if item.kind is Kind.MAP:
        parts = [[*key.items, *value.items] for key, value in item.entries]
    else:
        parts = [one.items for one in item.items]
    for tag, index, data, units in parts:
        memory, steps = (unit.number for unit in units.items)
        yield Redeemer(_TAGS[tag.number], index.number, raw[data.start : data.end], memory, steps)


def _metadata(raw: bytes, auxiliary: Item) -> Iterator[tuple[int, Item, bytes]]:
    """Yield labels and metadata in any of the three forms of auxiliary data."""
    if auxiliary.kind is Kind.TAG and auxiliary.number == _METADATA_IN_AUXILIARY:
        held = _fields(auxiliary.items[0]).get(0)
    elif auxiliary.kind is Kind.ARRAY:
        held = auxiliary.items[0]
    else:
        held = auxiliary if auxiliary.kind is Kind.MAP else None
    for label, item in () if held is None else held.entries:
        yield label.number, item, raw[item.start : item.end]
