"""What a chain that carries anchors can show of one, so that nobody needs to trust who shows it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from bridge.protocol.types import BlockHeight, TxId


class AnchorEvidence(msgspec.Struct, frozen=True):
    """An anchor's body, its Merkle path (whether each sibling is on the left, and the sibling), and a chain
    of headers with nonces, of which the one at `at` is its block's."""

    body: bytes
    path: tuple[tuple[bool, bytes], ...]
    headers: tuple[bytes, ...]
    at: int


@runtime_checkable
class AnchorReader(Protocol):
    """A port of a chain that carries anchors."""

    async def anchor_evidence(
        self, tx_id: TxId, *, since: BlockHeight | None, most: int
    ) -> AnchorEvidence | None:
        """Return the evidence of an anchor in a block, with at most `most` headers: from height `since` (or
        from the anchor's block) to the head. None for one that is in no block, or too far from `since`.
        Raises `PortUnavailableError`."""
        ...
