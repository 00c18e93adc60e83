"""How far back Kupo has read the chain: only so far does "not found" mean "never"."""

from __future__ import annotations

import msgspec

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.protocol.types import BlockHeight, BlockRef
from relayers.cardano.chain_view import ChainMovedError
from relayers.cardano.htlc import credential
from relayers.cardano.kupo import Checkpoint, Kupo
from relayers.cardano.ogmios import Ogmios, Point


class FirstRead(msgspec.Struct, frozen=True):
    """The first block that Kupo has read; `is_whole`: there is none before it."""

    point: Checkpoint
    height: int
    is_whole: bool


class KupoReach:
    """What one Kupo has read of the node's chain, and whether it kept what it found."""

    def __init__(self, kupo: Kupo, ogmios: Ogmios) -> None:
        self._kupo = kupo
        self._ogmios = ogmios
        self._first: FirstRead | None = None
        self._has_matches = False

    async def must_cover(self, block: BlockRef, slot: int) -> None:
        """Raise where Kupo began after a block in this slot: that it shows nothing there means nothing. It
        reads all that follow a block that it has read. Raises `ChainMovedError`."""
        point = await self._kupo.checkpoint(slot)
        if point is None:
            raise EndpointError(
                f"{self._kupo.name} has not read block {block.height}: it began later",
                "index from an earlier block on (--since), or add another service",
                kind=Answer.PERMANENT,
            )
        if point.header_hash != block.id:
            raise ChainMovedError

    async def reaches(self, since: BlockHeight | None, account: str) -> bool:
        """Tell whether Kupo has read the chain from a height on (None: from its first block), and kept what
        it found: it has something of the account or of the validator."""
        if not self._has_matches:
            places = (account, credential())
            self._has_matches = any([await self._kupo.unspent(place) for place in places])
        if not self._has_matches:
            return False
        first = await self._first_read()
        if first is None:
            return False
        return first.is_whole or (since is not None and first.height <= since)

    async def _first_read(self) -> FirstRead | None:
        """Return the first block that Kupo has read. Once found it is only compared: an index that was built
        again may begin later."""
        if self._first is not None:
            if await self._kupo.checkpoint(self._first.point.slot_no) == self._first.point:
                return self._first
            self._first = None
        point = await self._kupo.first()
        if point is None:
            return None
        following = await self._ogmios.blocks_after(Point(point.slot_no, point.header_hash), 1)
        if following is None:
            raise ChainMovedError
        if not following:
            return None  # nothing that a lock could depend on has been read yet
        start = await self._ogmios.blocks_after(None, 1)
        is_whole = bool(start) and start is not None and start[0].id == point.header_hash
        self._first = FirstRead(point, following[0].height - 1, is_whole)
        return self._first
