"""Signatures that were checked before, so that a block's validation need not check them again."""

from __future__ import annotations

from collections import OrderedDict

from chain.rules.types import TxId


class SignatureCache:
    """Transactions whose signatures were checked: transaction id → the exact witness.

    A block's validation asks here first, so what the mempool checked is not checked again. Bounded; the
    oldest entries leave first.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._good: OrderedDict[TxId, bytes] = OrderedDict()
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._good)

    def holds(self, txid: TxId, witness: bytes) -> bool:
        """Tell whether exactly this witness was checked for this body."""
        return self._good.get(txid) == witness

    def missing(self, txids: list[TxId], witnesses: list[bytes]) -> list[int]:
        """Return the positions of those not checked before."""
        good = self._good.get
        pairs = zip(txids, witnesses, strict=True)
        return [i for i, (txid, witness) in enumerate(pairs) if good(txid) != witness]

    def add(self, txid: TxId, witness: bytes) -> None:
        """Remember a valid one."""
        self._good[txid] = witness
        if len(self._good) > self._capacity:
            self._good.popitem(last=False)
