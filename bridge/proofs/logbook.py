"""The transparency log as others see it: signed heads, proofs, leaves, bundles, and what witnesses saw."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from bridge.chains.anchors import AnchorReader
from bridge.desk.chain_queries import Asking
from bridge.keys.quote_signature import QuoteSigner
from bridge.proofs.anchoring import anchor_transaction
from bridge.proofs.bundle import write_bundle
from bridge.proofs.notes import TreeHead, read_head, sign_head
from bridge.protocol import merkle
from bridge.protocol.receipt import is_public
from bridge.protocol.types import BlockHeight, ChainId, SwapId, TxId
from bridge.store import Store, Transaction
from kernels.errors import RainbowError

MOST_HEADERS = 1_000
"""Headers in one bundle: 88 bytes each, 176 in hexadecimal digits."""

log = structlog.get_logger("rainbow.log")


class NotAnchoredError(RainbowError):
    """The receipt is in the log, but in no anchored tree yet."""


class NoReceiptError(RainbowError):
    """The swap has no receipt (yet)."""


class SignedHead(msgspec.Struct, frozen=True):
    """A tree head and its note."""

    size: int
    root: bytes
    note: str


class Leaf(msgspec.Struct, frozen=True):
    """A leaf; `body` is None for one that holds a swap's id."""

    index: int
    hash: bytes
    body: str | None


class LogBook:
    """Reads the log and signs its heads."""

    def __init__(
        self, store: Store, signer: QuoteSigner, ports: Mapping[ChainId, Any], asking: Asking | None = None
    ) -> None:
        """`ports`: those that are `AnchorReader`s can show anchors. `asking`: bounds what strangers make
        them ask."""
        self._store = store
        self._signer = signer
        self._ports = ports
        self._asking = asking or Asking()

    @property
    def public_key(self) -> str:
        """The key that signs the heads, hex."""
        return self._signer.public_key

    def head(self) -> SignedHead:
        """Return the newest head."""
        with self._store.reading() as tx:
            return self._signed(tx, tx.receipts.size())

    def inclusion(self, index: int, size: int) -> tuple[bytes, list[bytes]]:
        """Return a leaf's hash and its audit path. Raises IndexError."""
        with self._store.reading() as tx:
            path = tx.receipts.inclusion(index, size)
            (leaf,) = tx.receipts.slice(index, index + 1)
            return merkle.leaf_hash(leaf.body.encode()), path

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that a head goes on from an older one. Raises IndexError."""
        with self._store.reading() as tx:
            return tx.receipts.consistency(first, second)

    def leaves(self, start: int, count: int) -> list[Leaf]:
        """Return leaves in order."""
        with self._store.reading() as tx:
            found = tx.receipts.slice(start, start + count)
        return [
            Leaf(
                each.index, merkle.leaf_hash(each.body.encode()), each.body if is_public(each.body) else None
            )
            for each in found
        ]

    async def bundle(self, swap_id: SwapId, since: BlockHeight | None) -> str:
        """Return the proof of a swap's outcome. Raises `NoReceiptError`, `NotAnchoredError`,
        `PortUnavailableError`."""

        def read() -> tuple[str, int, list[bytes], str, str, str]:
            with self._store.reading() as tx:
                receipt = tx.receipts.get(swap_id)
                if receipt is None:
                    raise NoReceiptError("this swap has no receipt", "a swap gets it when it has ended")
                anchor = anchor_transaction(tx, receipt.index)
                if anchor is None:
                    raise NotAnchoredError("the receipt is not anchored yet", "ask again in a minute")
                size, chain, tx_id = anchor
                path = tx.receipts.inclusion(receipt.index, size)
                note = self._signed(tx, size).note
                return receipt.body, receipt.index, path, note, chain, tx_id

        body, index, path, note, chain, tx_id = await asyncio.to_thread(read)
        port = self._ports.get(ChainId(chain))
        evidence = None
        if isinstance(port, AnchorReader):
            evidence = await self._asking.ask(
                ChainId(chain), lambda: port.anchor_evidence(TxId(tx_id), since=since, most=MOST_HEADERS)
            )
        if evidence is None:
            raise NotAnchoredError(
                "the chain does not show the anchor",
                f"ask again in a minute, at most {MOST_HEADERS} blocks back",
            )
        return write_bundle(
            receipt=body, index=index, path=path, head=note, key=self.public_key, evidence=evidence
        )

    def witnessed(self, note: str) -> tuple[TreeHead, str]:
        """Compare a head that somebody saw with our log: return it and what is wrong, "" if it agrees.

        Only notes with our own signature count (`NoteError` otherwise), so that no stranger can raise an
        alarm: one that does not fit proves that this log was forked or lost leaves.
        """
        head = read_head(note, self.public_key)
        with self._store.reading() as tx:
            size = tx.receipts.size()
            if head.size > size:
                wrong = f"the log had {head.size} leaves and has {size} now"
            elif tx.receipts.root(head.size) != head.root:
                wrong = f"the log had another root at {head.size} leaves"
            else:
                return head, ""
        with self._store.transaction() as tx:
            tx.log_alarms.add(note, wrong)
        log.error("log_forked", reason=wrong, size=head.size, hint="was an older database restored?")
        return head, wrong

    def _signed(self, tx: Transaction, size: int) -> SignedHead:
        root = tx.receipts.root(size)
        return SignedHead(size, root, sign_head(size, root, self._signer))
