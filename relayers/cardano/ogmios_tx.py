"""What a transaction in Ogmios' JSON shows, as far as it matters to locks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from relayers.cardano.cbor_items import CborError, read_whole, strings
from relayers.cardano.chain_view import OutRef

Json = dict[str, Any]


class ShownTx(msgspec.Struct, frozen=True):
    """`redeemers` are the data (CBOR) of the spending ones by what they spend; `start`, `signers` and `shown`
    are as `relayers.cardano.chain_view.HtlcTx` has them."""

    redeemers: dict[OutRef, tuple[bytes, ...]]
    start: int | None
    signers: frozenset[bytes]
    shown: tuple[bytes, ...]

    def __repr__(self) -> str:
        return "ShownTx(<redeemers redacted>)"


def shown_tx(tx: Json) -> ShownTx:
    """Read a transaction. Raises LookupError, TypeError, ValueError, AttributeError or `CborError` for
    another shape."""
    # Redeemers count the inputs as the ledger sorts them, whatever order they are shown in.
    inputs = sorted((str(spent["transaction"]["id"]), int(spent["index"])) for spent in tx["inputs"])
    redeemers: dict[OutRef, tuple[bytes, ...]] = {}
    data: list[bytes] = []
    for one in tx.get("redeemers") or ():
        data.append(bytes.fromhex(one["redeemer"]))
        pointer = one["validator"]
        if pointer["purpose"] == "spend":
            spent = inputs[int(pointer["index"])]
            redeemers[spent] = (*redeemers.get(spent, ()), data[-1])
    data += [bytes.fromhex(datum) for datum in (tx.get("datums") or {}).values()]
    for output in (*tx.get("outputs", ()), tx.get("collateralReturn") or {}):
        if output.get("datum") is not None:
            data.append(bytes.fromhex(output["datum"]))
    start = (tx.get("validityInterval") or {}).get("invalidBefore")
    shown = [*_strings_of(data), *_strings_in((tx.get("metadata") or {}).get("labels"))]
    return ShownTx(
        redeemers,
        None if start is None else int(start),
        frozenset(bytes.fromhex(key) for key in tx.get("requiredExtraSignatories") or ()),
        tuple(dict.fromkeys(shown)),
    )


def _strings_of(data: Iterable[bytes]) -> Iterator[bytes]:
    for one in data:
        yield from strings([read_whole(one)])


def _strings_in(value: Any) -> Iterator[bytes]:
    """Yield the strings of metadata: Ogmios writes bytes as hex, with or without 0x, or all of it as CBOR."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            yield item.encode()
            try:
                raw = bytes.fromhex(item.removeprefix("0x"))
            except ValueError:
                continue
            yield raw
            try:
                yield from strings([read_whole(raw)])
            except CborError:
                continue
