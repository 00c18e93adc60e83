"""Kupo v2: an index of outputs beside your own node, over HTTP (CardanoSolutions/kupo, docs/api).

It must run with patterns for the validator (`<script hash>/*`) and for the account, and without
`--prune-utxo`: what was spent, and by what, is how claims are seen.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from pycardano.crypto.bech32 import decode as bech32_decode

from bridge.chains.endpoints.answers import Answer, EndpointError, reading
from bridge.chains.endpoints.http import HttpEndpoint
from bridge.protocol.types import TxId
from relayers.cardano.chain_view import ChainMovedError, Output, OutRef

_NEWEST = 2**53
"""A slot beyond every block."""

T = TypeVar("T")


class Checkpoint(msgspec.Struct, frozen=True):
    """A block that Kupo has read."""

    slot_no: int
    header_hash: str


class SpentAt(msgspec.Struct, frozen=True):
    """What spent an output, and where; `redeemer` is CBOR in hex."""

    slot_no: int
    header_hash: str
    transaction_id: str | None = None
    input_index: int | None = None
    redeemer: str | None = None


class _Value(msgspec.Struct, frozen=True):
    coins: int
    assets: dict[str, int] = {}


class Match(msgspec.Struct, frozen=True):
    """An output as Kupo keeps it. `datum` is there on request (`resolve_hashes`)."""

    transaction_index: int
    transaction_id: str
    output_index: int
    address: str
    value: _Value
    datum_hash: str | None
    script_hash: str | None
    created_at: Checkpoint
    spent_at: SpentAt | None
    datum: str | None = None
    datum_type: str | None = None

    @property
    def output(self) -> Output:
        """The output in our words. Raises `PortUnavailableError` if its inline datum was not shown."""
        inline = self.datum if self.datum_hash is not None and self.datum_type == "inline" else None
        if self.datum_type == "inline" and inline is None:
            raise EndpointError(
                "Kupo does not know an inline datum",
                "its database is damaged: index again",
                kind=Answer.WRONG,
            )
        tokens = {unit.replace(".", ""): amount for unit, amount in self.value.assets.items()}
        has_script = self.script_hash is not None
        return Output(
            TxId(self.transaction_id),
            self.output_index,
            self.address,
            self.value.coins,
            tokens,
            inline,
            has_script,
            self.datum_hash,
        )


class Kupo:
    """One Kupo server; `name` is what messages call it."""

    def __init__(self, url: str, timeout: float, name: str = "Kupo") -> None:
        self.http = HttpEndpoint(url, timeout, name)

    def __repr__(self) -> str:
        return "Kupo(<url redacted>)"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.http.name

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()

    async def newest(self) -> Checkpoint | None:
        """Return the newest block that Kupo has read."""
        return await self.checkpoint(_NEWEST)

    async def checkpoint(self, slot: int) -> Checkpoint | None:
        """Return the newest block at or before a slot; None if there is none."""
        if slot < 0:
            return None
        return (await self._get(f"/checkpoints/{slot}", Checkpoint | None))[0]  # type: ignore[arg-type]

    async def settled(self) -> Checkpoint | None:
        """Return the oldest block that Kupo lists: as old as it takes for a roll-back to be ruled out."""
        found = (await self._get("/checkpoints", list[Checkpoint]))[0]
        return min(found, key=lambda point: point.slot_no, default=None)

    async def first(self) -> Checkpoint | None:
        """Return the first block that Kupo has read; it has read all that follow.

        It notes each (Kupo/App.hs, `rollForward`), but lists only some of the last 36 hours
        (App/Database/SQLite.hs, `listCheckpointsDesc`). So this is searched: some 30 requests.
        """
        found = await self.newest()
        low = 0
        while found is not None and low < found.slot_no:
            middle = (low + found.slot_no) // 2
            before = await self.checkpoint(middle)
            if before is None:
                low = middle + 1
            else:
                found = before
        return found

    async def follows(self, place: str) -> bool:
        """Tell whether Kupo's patterns include an address, or all addresses with a payment credential."""
        return bool((await self._get(f"/patterns/{_pattern(place)}", list[str]))[0])

    async def unspent(self, place: str) -> list[Match]:
        """Return what is unspent at an address or payment credential, oldest first."""
        query = "?unspent&resolve_hashes&order=oldest_first"
        return (await self._get(f"/matches/{_pattern(place)}{query}", list[Match]))[0]

    async def ever(self, place: str) -> list[Match]:
        """Return all that ever was at an address or payment credential, newest first."""
        query = "?resolve_hashes&order=most_recent_first"
        return (await self._get(f"/matches/{_pattern(place)}{query}", list[Match]))[0]

    async def created(self, place: str, first: int, last: int) -> list[Match]:
        """Return what was made at a place in the slots `first` to `last`. Raises `ChainMovedError` if Kupo
        has not read so far."""
        return await self._between(place, "created", first, last)

    async def spent(self, place: str, first: int, last: int) -> list[Match]:
        """Return what was spent at a place in the slots `first` to `last`. Raises `ChainMovedError` if Kupo
        has not read so far."""
        return await self._between(place, "spent", first, last)

    async def _between(self, place: str, what: str, first: int, last: int) -> list[Match]:
        # Both bounds are included; the least that Kupo takes is 1.
        bounds = f"{what}_after={max(1, first)}&{what}_before={max(1, last)}"
        query = f"?resolve_hashes&order=oldest_first&{bounds}"
        found, read = await self._get(f"/matches/{_pattern(place)}{query}", list[Match])
        if read < last:
            raise ChainMovedError
        return found

    async def outputs(self, tx_id: TxId) -> list[Match]:
        """Return a transaction's outputs, as far as they match the patterns."""
        return (await self._get(f"/matches/*@{tx_id}", list[Match]))[0]

    async def output(self, ref: OutRef) -> Match | None:
        """Return one output, if it matches the patterns."""
        found = (await self._get(f"/matches/{ref[1]}@{ref[0]}?resolve_hashes", list[Match]))[0]
        return found[0] if found else None

    async def _get(self, path: str, kind: type[T]) -> tuple[T, int]:
        """Return an answer and the newest slot that it takes into account.

        `path` brings its query along: Kupo refuses a flag with anything behind it, even an equals sign.
        """
        answer = await self.http.request("GET", path)
        with reading(self.name):
            return _decode(answer.body, kind), int(answer.headers.get("x-most-recent-checkpoint", "0"))


def _decode(content: bytes, kind: Any) -> Any:
    return msgspec.json.decode(content, type=kind)


def _pattern(place: str) -> str:
    """Return Kupo's pattern of an address, or of all addresses with a payment credential."""
    if place.startswith(("addr_vkh1", "script1")):
        return f"{bytes(bech32_decode(place)).hex()}/*"
    return place
