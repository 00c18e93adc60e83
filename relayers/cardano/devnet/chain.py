"""The devnet's chain: blocks, slots, a mempool, roll-backs and a history that survives any kind of end."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pycardano import TransactionInput, TransactionOutput

from kernels.errors import RainbowError
from relayers.cardano.devnet.ledger import ScalusLedger, TxRejectedError
from relayers.cardano.devnet.raw_body import OutRef
from relayers.cardano.devnet.records import DevBlock, TxRecord, read_tx

_KEPT_SNAPSHOTS = 2_160
"""As many blocks as Cardano itself may roll back (its security parameter k)."""

Now = Callable[[], float]


class UnknownHeightError(RainbowError):
    """A roll-back below genesis or below what is kept."""


class DevChain:
    """Applies transactions to the ledger in blocks.

    The newest ledger state is always head plus mempool: what enters the mempool was checked against it.
    `journal` gets one line for each block, roll-back and waiting transaction; on start it is replayed.
    """

    def __init__(
        self,
        ledger: ScalusLedger,
        genesis: Sequence[tuple[TransactionInput, TransactionOutput]],
        journal: Path,
        now: Now = time.time,
        zero_time: int = 0,
    ) -> None:
        self._ledger = ledger
        self._genesis = list(genesis)
        self._journal = journal
        self._now = now
        self._offset = 0
        self._salt = 0
        self.blocks: list[DevBlock] = []
        self.mempool: dict[str, TxRecord] = {}
        self.utxos: dict[OutRef, TransactionOutput] = {}
        self.outputs: dict[OutRef, TransactionOutput] = {}
        self.spent_by: dict[OutRef, str] = {}
        self.places: dict[str, tuple[int, int]] = {}
        self._load(zero_time)

    @property
    def head(self) -> DevBlock:
        """The newest block."""
        return self.blocks[-1]

    def time_of(self, slot: int) -> int:
        """Return a slot's Unix time."""
        return self.zero_time + slot

    # ------------------------------------------------------------------ what happens

    def submit(self, raw: bytes) -> TxRecord:
        """Take a transaction into the mempool. Raises `TxRejectedError` with the ledger's reason."""
        self._ledger.set_slot(self.head.slot + 1)
        record = read_tx(raw, self._ledger.submit(raw))
        self._write({"waiting": raw.hex()})
        self._wait(record)
        return record

    def mine(self, count: int = 1, slot: int | None = None) -> None:
        """Make blocks: the first with the whole mempool, at `slot` or as late as the clock says."""
        for _ in range(count):
            floor = self.head.slot + 1
            at = max(floor, int(self._now()) + self._offset - self.zero_time) if slot is None else slot
            self._make(max(at, floor), list(self.mempool.values()))
            slot = None

    def advance(self, seconds: int) -> None:
        """Make one block exactly `seconds` after the head; the clock goes on from there."""
        slot = self.head.slot + seconds
        self._offset = self.time_of(slot) - int(self._now())
        self.mine(1, slot)

    def rollback(self, depth: int, drop: Iterable[str] = ()) -> None:
        """Replace the last `depth` blocks by as many empty ones and one on top with their transactions but
        `drop`. What depended on a dropped one is gone too."""
        if not 0 < depth < len(self.blocks):
            raise UnknownHeightError(
                f"{depth} blocks cannot be rolled back, there are {len(self.blocks) - 1}"
            )
        dropped = set(drop)
        last = self.head.slot
        ancestor = self.head.height - depth
        undone = [tx for block in self.blocks[ancestor + 1 :] for tx in block.txs]
        waiting = list(self.mempool.values())
        self._write({"rollback": ancestor})
        self._undo(ancestor)
        self._salt += 1
        for _ in range(depth):
            self._make(self.head.slot + 1, [])
        self._ledger.set_slot(max(last, self.head.slot) + 1)
        kept = self._readmit(tx for tx in undone if tx.id not in dropped)
        self._make(max(last, self.head.slot) + 1, kept)
        self.mempool = {}
        for tx in waiting:
            if tx.id not in dropped:
                with contextlib.suppress(TxRejectedError):
                    self.submit(tx.raw)

    # ------------------------------------------------------------------ how it is kept

    def _wait(self, record: TxRecord) -> None:
        self.mempool[record.id] = record
        self.outputs |= record.makes

    def _make(self, slot: int, txs: Sequence[TxRecord]) -> None:
        """Put a block of transactions that the ledger's newest state already has on top."""
        block = DevBlock(self.head.height + 1, slot, self.head.id, list(txs), self._salt)
        if block.txs:
            block.txs = self._still_valid(block)
        else:
            self._ledger.set_slot(slot)
        line = {"slot": slot, "salt": self._salt, "txs": [tx.raw.hex() for tx in block.txs]}
        self._write(line)
        self._append(block)

    def _still_valid(self, block: DevBlock) -> list[TxRecord]:
        """Return those that the ledger takes at the block's own slot too: some may have expired."""
        self._ledger.restore(self.head.height)
        self._ledger.set_slot(block.slot)
        return self._readmit(block.txs)

    def _readmit(self, txs: Iterable[TxRecord]) -> list[TxRecord]:
        kept = []
        for tx in txs:
            try:
                self._ledger.submit(tx.raw)
            except TxRejectedError:
                continue
            kept.append(tx)
        return kept

    def _append(self, block: DevBlock) -> None:
        self.blocks.append(block)
        for index, tx in enumerate(block.txs):
            self.places[tx.id] = (block.height, index)
            for ref in tx.spends:
                self.utxos.pop(ref, None)
                self.spent_by[ref] = tx.id
            self.utxos |= tx.makes
            self.outputs |= tx.makes
        self.mempool = {}
        self._ledger.save(block.height)
        self._ledger.forget(block.height - _KEPT_SNAPSHOTS)

    def _undo(self, height: int) -> None:
        while self.head.height > height:
            for tx in reversed(self.blocks.pop().txs):
                del self.places[tx.id]
                for ref in tx.makes:
                    self.utxos.pop(ref, None)
                for ref in tx.spends:
                    self.spent_by.pop(ref, None)
                    self.utxos[ref] = self.outputs[ref]
        self.mempool = {}
        self._ledger.restore(height)

    def _load(self, zero_time: int) -> None:
        """Begin at genesis and replay the journal; a last line that was cut off never counted."""
        lines = self._journal.read_bytes().splitlines(keepends=True) if self._journal.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        if len(whole) < len(lines):
            self._journal.write_bytes(b"".join(whole))
        entries = [json.loads(line) for line in whole]
        if not entries:
            entries = [{"zero_time": zero_time or int(self._now())}]
            self._write(entries[0])
        self.zero_time: int = entries[0]["zero_time"]
        self._ledger.start(self._genesis, self.zero_time)
        for spent, output in self._genesis:
            ref = spent.transaction_id.payload.hex(), spent.index
            self.utxos[ref] = self.outputs[ref] = output
        self.blocks = [DevBlock(0, 0, "0" * 64)]
        self._ledger.save(0)
        self._waiting: list[bytes] = []
        for entry in entries[1:]:
            self._replay(entry)
        self._ledger.set_slot(self.head.slot + 1)
        for raw in self._waiting:
            with contextlib.suppress(TxRejectedError):
                self._wait(read_tx(raw, self._ledger.submit(raw)))
        self._offset = max(0, self.time_of(self.head.slot) - int(self._now()))

    def _replay(self, entry: dict[str, object]) -> None:
        if "rollback" in entry:
            self._undo(int(str(entry["rollback"])))
            return
        if "waiting" in entry:
            self._waiting.append(bytes.fromhex(str(entry["waiting"])))
            return
        self._waiting = []
        slot, self._salt = int(str(entry["slot"])), int(str(entry["salt"]))
        self._ledger.set_slot(slot)
        raws = entry["txs"]
        if not isinstance(raws, list):
            raise ValueError("the journal is damaged: delete the devnet's directory")
        txs = [read_tx(bytes.fromhex(raw), self._ledger.submit(bytes.fromhex(raw))) for raw in raws]
        self._append(DevBlock(self.head.height + 1, slot, self.head.id, txs, self._salt))

    def _write(self, entry: object) -> None:
        with self._journal.open("ab") as journal:
            journal.write(json.dumps(entry).encode() + b"\n")
