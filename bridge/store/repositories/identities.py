"""What a chain's name has meant so far, and what the swaps that are not over expect of it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, func, select, text

from bridge.protocol.types import Address, ChainId, LegState, LockTerms, SwapId
from bridge.store.recovery_tables import ChainIdentityRow
from bridge.store.repositories.base import Repository, readable, record, unreadable
from bridge.store.tables import SwapRow, table_of

_identities = table_of(ChainIdentityRow)
_swaps = table_of(SwapRow)


class ChainIdentity(msgspec.Struct, frozen=True):
    """A chain as it was first seen: `network` in its family's words, our contract and account on it."""

    chain: ChainId
    network: str
    contract: Address
    account: Address
    first_seen_ms: int = 0


class _Leg(msgspec.Struct):
    terms: LockTerms
    state: LegState


class OpenSwap(msgspec.Struct, frozen=True):
    """Of a swap that is not over, what the configuration has to fit: the terms of both legs."""

    id: SwapId
    source: _Leg
    destination: _Leg


_decoder = msgspec.json.Decoder(OpenSwap)


def _open_swap(row: Row[Any]) -> OpenSwap:
    try:
        return _decoder.decode(row.snapshot)
    except msgspec.DecodeError as error:
        raise unreadable("swap", row) from error


class Identities(Repository):
    """The history of each chain's identity, append-only."""

    def newest(self, chain: ChainId) -> ChainIdentity | None:
        """Return what a chain was when its relayer last started, None before that."""
        where = _identities.c.chain == chain
        row = self._first(select(_identities).where(where).order_by(_identities.c.id.desc()).limit(1))
        return record(row, ChainIdentity) if row else None

    def chains(self) -> list[ChainId]:
        """Return the chains that were ever seen, by name."""
        names = select(_identities.c.chain).group_by(_identities.c.chain).order_by(_identities.c.chain)
        return [ChainId(row.chain) for row in self._all(names)]

    def count(self, chain: ChainId) -> int:
        """Return how many identities a chain has had."""
        counted = select(func.count()).select_from(_identities).where(_identities.c.chain == chain)
        return int(self._connection.execute(counted).scalar_one())

    def append(self, identity: ChainIdentity) -> None:
        """Note what a chain is from now on."""
        values = {
            "chain": identity.chain,
            "network": identity.network,
            "contract": identity.contract,
            "account": identity.account,
            "first_seen_ms": self.now_ms,
        }
        self._insert(_identities, values, f"identity of {identity.chain}")

    def open_assets(self) -> set[str]:
        """Return the keys of the assets of all swaps that are not over."""
        columns = (_swaps.c.source_asset, _swaps.c.destination_asset)
        rows = self._all(select(*columns).where(text("open")).distinct())
        return {key for row in rows for key in row}

    def open_swaps(self) -> list[OpenSwap]:
        """Return all swaps that are not over, by id, with no more of them than their terms."""
        statement = select(_swaps.c.id, _swaps.c.snapshot).where(text("open")).order_by(_swaps.c.id)
        return readable(self._all(statement), _open_swap)
