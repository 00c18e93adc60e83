"""What the RPC says about chain and mempool: read-only, one snapshot per answer."""

from __future__ import annotations

from chain.consensus.chain import Chain
from chain.mempool.pool import Mempool
from chain.rules.address import encode_address
from chain.rules.anchors import AnchorProof, merkle_path
from chain.rules.block import Block
from chain.rules.difficulty import median_time_past
from chain.rules.errors import NotFoundError
from chain.rules.locks import Lock, LockState
from chain.rules.params import MEDIAN_WINDOW, MIN_FEE
from chain.rules.records import SPENDS_LOCK, ZERO20, Kind, Transaction
from chain.rules.rewards import experience, level_of
from chain.rules.types import BlockId, KeyHash, LockId, TxId, UnixSeconds
from chain.service.messages import (
    AccountView,
    BlockView,
    FeeView,
    HeaderView,
    LockView,
    MempoolView,
    TransactionPlace,
    TransactionStatus,
    TransactionView,
)
from chain.state.headers import HeaderRecord
from chain.state.store import StateReader


def view_transaction(tx: Transaction) -> TransactionView:
    """Return a transaction decoded."""
    kind = Kind(tx.kind)
    htlc = kind is Kind.HTLC_LOCK or kind in SPENDS_LOCK
    return TransactionView(
        txid=tx.txid.hex(),
        kind=kind.name.lower(),
        chain_id=tx.chain_id,
        nonce=tx.nonce,
        amount=tx.amount,
        fee=tx.fee,
        sender=None if tx.sender == ZERO20 else encode_address(tx.sender),
        recipient=None if tx.recipient == ZERO20 else encode_address(tx.recipient),
        hash=tx.hash.hex(),
        deadline=tx.deadline,
        lock_id=tx.lock_id.hex() if htlc else None,
        preimage=tx.witness.aux.hex() if kind is Kind.HTLC_CLAIM else None,
        consented=kind is Kind.HTLC_COOPERATIVE_REFUND and bool(tx.witness.aux),
        public_key=tx.witness.public_key.hex(),
        signature=tx.witness.signature.hex(),
        raw=tx.raw.hex(),
    )


class Queries:
    """Answers over one chain and its mempool. Raises `NotFoundError`."""

    def __init__(self, chain: Chain, mempool: Mempool) -> None:
        self._chain = chain
        self._mempool = mempool

    def _confirmations(self, view: StateReader, block_id: BlockId, height: int) -> int:
        tip = view.tip()
        return tip.height - height + 1 if tip and view.id_at(height) == block_id else 0

    def _resolve(self, view: StateReader, block: str | int) -> BlockId:
        if isinstance(block, int):
            block_id = view.id_at(block)
            if block_id is None:
                tip = view.tip()
                raise NotFoundError(
                    f"no block at height {block}", hint=f"the head is at {tip.height if tip else 0}"
                )
            return block_id
        return BlockId(bytes.fromhex(block))

    def _header_view(self, view: StateReader, block_id: BlockId, record: HeaderRecord) -> HeaderView:
        header = record.header
        confirmations = self._confirmations(view, block_id, header.height)
        return HeaderView(
            id=block_id.hex(),
            height=header.height,
            previous=header.previous.hex(),
            merkle_root=header.merkle_root.hex(),
            time=header.time,
            target=f"{header.target:08x}",
            nonce=f"{header.nonce:016x}",
            version=header.version,
            transactions=record.transactions,
            confirmations=confirmations,
            main_chain=confirmations > 0,
            raw=header.encode().hex(),
        )

    def _record(self, view: StateReader, block_id: BlockId) -> HeaderRecord:
        record = view.get_header(block_id)
        if record is None:
            raise NotFoundError(f"no block {block_id.hex()}", hint="ask getInfo for the head")
        return record

    def header(self, block: str | int) -> HeaderView:
        """Return a header by id (any branch) or height (main chain)."""
        with self._chain.store.view() as view:
            block_id = self._resolve(view, block)
            return self._header_view(view, block_id, self._record(view, block_id))

    def headers(self, start: int, count: int) -> tuple[HeaderView, ...]:
        """Return main-chain headers from a height up, as many as there are, at most `count`."""
        found: list[HeaderView] = []
        with self._chain.store.view() as view:
            for height in range(start, start + count):
                block_id = view.id_at(height)
                if block_id is None:
                    break
                found.append(self._header_view(view, block_id, self._record(view, block_id)))
        return tuple(found)

    def block(self, block: str | int) -> BlockView:
        """Return a block by id (any branch) or height (main chain)."""
        with self._chain.store.view() as view:
            block_id = self._resolve(view, block)
            header = self._header_view(view, block_id, self._record(view, block_id))
            body = self._stored(view, block_id)
            median_time = _median_time(view, block_id)
        transactions = body.transactions()
        return BlockView(
            header=header,
            miner=encode_address(transactions[0].recipient),
            median_time=median_time,
            transactions=tuple(view_transaction(tx) for tx in transactions),
        )

    def size_of(self, block: str | int) -> int:
        """Return how many transactions a block has: what its answer costs."""
        with self._chain.store.view() as view:
            return self._record(view, self._resolve(view, block)).transactions

    def _stored(self, view: StateReader, block_id: BlockId) -> Block:
        block = view.get_block(block_id)
        if block is None:
            raise NotFoundError(f"block {block_id.hex()} is not kept: its branch is lighter, or invalid")
        return block

    def transaction(self, txid: TxId) -> TransactionStatus:
        """Tell where a transaction is; unknown is an answer."""
        with self._chain.store.view() as view:
            place = view.get_place(txid)
            if place is not None:
                tx = self._stored(view, place.block_id).transaction(place.index)
                return TransactionStatus(
                    txid.hex(),
                    TransactionPlace.INCLUDED,
                    place.block_id.hex(),
                    place.height,
                    place.index,
                    self._confirmations(view, place.block_id, place.height),
                    view_transaction(tx),
                )
        waiting = self._mempool.get(txid)
        if waiting is not None:
            return TransactionStatus(
                txid.hex(), TransactionPlace.MEMPOOL, transaction=view_transaction(waiting)
            )
        return TransactionStatus(txid.hex(), TransactionPlace.UNKNOWN)

    def account(self, address: KeyHash) -> AccountView:
        """Return an account; one never seen is empty."""
        with self._chain.store.view() as view:
            account = view.get_account(address)
        level = level_of(experience(account.blocks_mined, account.anchors_carried))
        return AccountView(
            address=encode_address(address),
            balance=account.balance,
            nonce=account.nonce,
            pending_nonce=self._mempool.next_nonce(address, account.nonce),
            blocks_mined=account.blocks_mined,
            anchors_carried=account.anchors_carried,
            level=level.name,
            per_mille=level.per_mille,
        )

    def lock(self, lock_id: LockId) -> LockView:
        """Return a lock, open or spent."""
        with self._chain.store.view() as view:
            lock = view.get_lock(lock_id)
            if lock is None:
                raise NotFoundError(
                    f"no lock {lock_id.hex()}", hint="it appears once its transaction is in a block"
                )
            return self._lock_view(view, lock_id, lock)

    def locks_of(self, hashlock: bytes, limit: int) -> tuple[LockView, ...]:
        """Return the locks under a hashlock."""
        with self._chain.store.view() as view:
            found = [(lock_id, view.get_lock(lock_id)) for lock_id in view.find_locks(hashlock, limit)]
            return tuple(self._lock_view(view, lock_id, lock) for lock_id, lock in found if lock)

    def _lock_view(self, view: StateReader, lock_id: LockId, lock: Lock) -> LockView:
        spent = lock.state is not LockState.OPEN
        made_in, spent_in = view.id_at(lock.lock_height), view.id_at(lock.spent_height)
        pending = self._mempool.spender_of(lock_id)
        if made_in is None or spent_in is None:
            raise NotFoundError("the lock's block left the main chain", hint="ask again")
        return LockView(
            lock_id=lock_id.hex(),
            state=lock.state.value,
            sender=encode_address(lock.sender),
            recipient=encode_address(lock.recipient),
            amount=lock.amount,
            hashlock=lock.hashlock.hex(),
            deadline=lock.deadline,
            lock_txid=lock.lock_txid.hex(),
            lock_height=lock.lock_height,
            lock_block_id=made_in.hex(),
            lock_confirmations=self._confirmations(view, made_in, lock.lock_height),
            spent_by=encode_address(lock.spent_by) if spent else None,
            spent_txid=lock.spent_txid.hex() if spent else None,
            spent_height=lock.spent_height if spent else None,
            spent_block_id=spent_in.hex() if spent else None,
            spent_confirmations=self._confirmations(view, spent_in, lock.spent_height) if spent else 0,
            preimage=lock.preimage.hex() if lock.preimage is not None else None,
            cooperative=lock.cooperative,
            pending_spend=pending.hex() if pending else None,
        )

    def fees(self) -> FeeView:
        """Return what fees suffice now."""
        return FeeView(MIN_FEE, self._mempool.fee_for_next_block())

    def mempool(self, limit: int) -> MempoolView:
        """Return waiting transactions, highest fee first."""
        best = sorted(self._mempool, key=lambda tx: -tx.fee)[:limit]
        return MempoolView(len(self._mempool), tuple(view_transaction(tx) for tx in best))

    def anchor_proof(self, txid: TxId) -> AnchorProof:
        """Return the proof of an anchor on the main chain."""
        with self._chain.store.view() as view:
            place = view.get_place(txid)
            if place is None:
                raise NotFoundError(f"no transaction {txid.hex()} in a block", hint="wait for a block")
            block = self._stored(view, place.block_id)
            confirmations = self._confirmations(view, place.block_id, place.height)
        tx = block.transaction(place.index)
        if tx.kind != Kind.ANCHOR:
            raise NotFoundError(f"the transaction {txid.hex()} is not an anchor")
        path = merkle_path([row.tobytes() for row in block.txids], place.index)
        header = block.header.encode()
        return AnchorProof(
            txid=txid.hex(),
            root=tx.hash.hex(),
            tree_size=tx.amount,
            body=tx.body.hex(),
            index=place.index,
            transactions=len(block),
            path=tuple(step.hex() for step in path),
            header=header[:80].hex(),
            nonce=header[80:].hex(),
            block_id=place.block_id.hex(),
            height=place.height,
            confirmations=confirmations,
        )

    def anchors_of(self, root: bytes, limit: int) -> tuple[str, ...]:
        """Return ids of the anchors of a root on the main chain."""
        with self._chain.store.view() as view:
            return tuple(txid.hex() for txid in view.find_anchors(root, limit))


def _median_time(view: StateReader, block_id: BlockId) -> int:
    """Return the median time past of a block from this very snapshot: this runs on threads."""
    times: list[UnixSeconds] = []
    while len(times) < MEDIAN_WINDOW and (record := view.get_header(block_id)) is not None:
        times.append(UnixSeconds(record.header.time))
        block_id = record.header.previous
    return median_time_past(times[::-1])
