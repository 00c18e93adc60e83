"""What the bridge wants to know of a transaction, from its own bytes and nothing more of them.

Of a stranger's transaction that spends a lock only the redeemers count, who must sign and from when it is
valid: whatever else stands in it (another era's certificates, scripts and data of any depth) is passed over.
The form: cardano-ledger, eras/conway/impl/cddl-files/conway.cddl.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from bridge.protocol.types import TxId
from relayers.cardano.cbor_items import CborError, Item, Kind, inside_array, read, strings
from relayers.cardano.chain_view import OutRef
from relayers.cardano.plutus_data import byte_string, integer

_INPUTS, _OUTPUTS, _START, _SIGNERS, _COLLATERAL_RETURN = 0, 1, 8, 14, 16
"""Keys of a transaction's body."""
_DATUMS, _REDEEMERS = 4, 5
"""Keys of its witness set."""
_DATUM_OF_OUTPUT = 2
_INLINE = 1
_SPENDING = 0
_SET = 258


class RawTx(msgspec.Struct, frozen=True):
    """A transaction, as far as it matters to locks.

    `inputs` are sorted as redeemers count them, `redeemers` the data (CBOR) of the spending ones by input;
    more than one for an input is more than the ledger takes. `start` is the first slot at which it is valid,
    `signers` the keys that had to sign, `shown` every string in its redeemers, datums and metadata.
    """

    inputs: tuple[OutRef, ...]
    redeemers: dict[int, tuple[bytes, ...]]
    start: int | None
    signers: frozenset[bytes]
    shown: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"RawTx({len(self.inputs)} inputs, <redeemers redacted>)"


def id_of_bytes(raw: bytes) -> TxId:
    """Return a transaction's id: BLAKE2b-256 over its body exactly as it stands in `raw`.

    Raises `CborError` for anything but a transaction.
    """
    body = read(raw, inside_array(raw))
    return TxId(hashlib.blake2b(raw[body.start : body.end], digest_size=32).hexdigest())


def read_tx(raw: bytes) -> RawTx:
    """Read a transaction. Raises `CborError`."""
    whole = read(raw)
    if whole.kind is not Kind.ARRAY or len(whole.items) < 3:
        raise CborError("no transaction")
    body, witnesses = _fields(whole.items[0]), _fields(whole.items[1])
    showing = [
        *witnesses.get(_DATUMS, ()),
        *(data for held in witnesses.get(_REDEEMERS, ()) for _, _, data in _redeemers(held)),
        *(datum for held in body.get(_OUTPUTS, ()) for output in _members(held) for datum in _datums(output)),
        *(datum for output in body.get(_COLLATERAL_RETURN, ()) for datum in _datums(output)),
        whole.items[-1],
    ]
    redeemers: dict[int, tuple[bytes, ...]] = {}
    for held in witnesses.get(_REDEEMERS, ()):
        for tag, index, data in _redeemers(held):
            if tag == _SPENDING:
                redeemers[index] = (*redeemers.get(index, ()), raw[data.start : data.end])
    starts = [start for item in body.get(_START, ()) if (start := integer(item)) is not None]
    return RawTx(
        tuple(sorted(_ref(spent) for held in body.get(_INPUTS, ()) for spent in _members(held))),
        redeemers,
        starts[0] if len(starts) == 1 else None,
        frozenset(
            key
            for held in body.get(_SIGNERS, ())
            for signer in _members(held)
            if (key := byte_string(signer)) is not None
        ),
        tuple(dict.fromkeys(strings(showing))),
    )


def _fields(item: Item) -> dict[int, list[Item]]:
    """Return a map's values by their key; the ledger takes no key twice, and if it did, both would count."""
    if item.kind is not Kind.MAP:
        raise CborError("no map")
    found: dict[int, list[Item]] = {}
    for key, value in item.entries:
        number = integer(key)
        if number is not None:
            found.setdefault(number, []).append(value)
    return found


def _members(item: Item) -> list[Item]:
    """Return what is in a list or a set."""
    if item.kind is Kind.TAG and item.number == _SET:
        (item,) = item.items
    if item.kind is not Kind.ARRAY:
        raise CborError("no list")
    return item.items


def _ref(item: Item) -> OutRef:
    if item.kind is Kind.ARRAY and len(item.items) == 2:
        tx_id, index = byte_string(item.items[0]), integer(item.items[1])
        if tx_id is not None and index is not None:
            return tx_id.hex(), index
    raise CborError("no input")


def _redeemers(item: Item) -> Iterator[tuple[int, int, Item]]:
    """Yield tag, index and data of each redeemer: a list of [tag, index, data, budget], or a map of
    [tag, index] to [data, budget]."""
    if item.kind is Kind.MAP:
        parts = [(*_members(key), *_members(value)) for key, value in item.entries]
    else:
        parts = [tuple(_members(one)) for one in _members(item)]
    for part in parts:
        tag, index = (integer(number) for number in part[:2]) if len(part) == 4 else (None, None)
        if tag is None or index is None:
            raise CborError("no redeemer")
        yield tag, index, part[2]


def _datums(output: Item) -> list[Item]:
    """Return an output's inline datum; only the newer form of outputs, a map, can have one."""
    if output.kind is not Kind.MAP:
        return []
    return [
        shown
        for option in _fields(output).get(_DATUM_OF_OUTPUT, [])
        for shown in (_members(option)[1:] if integer(_members(option)[0]) == _INLINE else ())
    ]
