"""One finder of secrets: which byte strings that a transaction shows could open a hashlock.

Readers hand over every byte string of a transaction that names one of our locks, wherever it stands:
redeemers and datums, signatures of inner and outer envelopes, instruction data of all levels, calldata and
logs, of successful and of failed transactions. What each of them was meant for does not matter: a secret is
whatever opens a hashlock that we know. The engine compares them with the hashlocks of our swaps.
"""

from __future__ import annotations

from collections.abc import Iterable

from bridge.chains.port import Revealed
from bridge.protocol.types import MAX_PREIMAGE_BYTES, BlockRef, Preimage, TxId


def possible_preimages(strings: Iterable[bytes]) -> tuple[Preimage, ...]:
    """Return those of the byte strings that are short enough to be a preimage, each once, in their order."""
    return tuple(Preimage(value) for value in dict.fromkeys(strings) if len(value) <= MAX_PREIMAGE_BYTES)


def revealed(block: BlockRef, tx_id: TxId, strings: Iterable[bytes]) -> tuple[Revealed, ...]:
    """Return what a transaction reveals by showing these byte strings."""
    return tuple(Revealed(block, tx_id, preimage) for preimage in possible_preimages(strings))


def opening(hashlock: bytes, strings: Iterable[bytes]) -> Preimage | None:
    """Return the one of the byte strings that opens `hashlock`, None if none does."""
    for preimage in possible_preimages(strings):
        if preimage.opens(hashlock):
            return preimage
    return None
