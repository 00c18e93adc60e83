"""The network's view of today's chain and mempool. When their interface changes, this file does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from chain.consensus.chain import Chain
from chain.mempool.entries import Admission, Verdict
from chain.mempool.pool import Mempool
from chain.network.codec import Block, Header, wtxid_of
from chain.network.ledger import (
    BlockFault,
    BlockVerdict,
    LedgerHeader,
    LedgerTip,
    TransactionFault,
    TransactionVerdict,
)
from chain.network.messages import MAX_HEADERS
from chain.rules.block import witness_commitment
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.params import MIN_FEE, NetworkParams
from chain.rules.records import Kind, Transaction, decode_transaction
from chain.rules.types import BlockId, WtxId
from chain.state.evaluation import check_signature
from kernels import cosmic_harmony

log = structlog.get_logger("zion.network")

_WAITS = frozenset({Reason.NONCE_TOO_HIGH, Reason.UNKNOWN_LOCK})

_CLOCKS = frozenset(
    {Reason.TIME_TOO_NEW, Reason.UNKNOWN_PARENT, Reason.REORG_TOO_DEEP, Reason.TOO_LITTLE_WORK}
)


class NodeLedger:
    """Implements `chain.network.ledger.Ledger` over a chain and a mempool.

    `take_block` and `take_transaction` are the node's own ways in, so that its miner and its subscribers
    hear of what comes from peers.
    """

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        take_block: Callable[[Block], object],
        take_transaction: Callable[[Transaction], Admission],
    ) -> None:
        self._chain, self._mempool = chain, mempool
        self._take_block, self._take_transaction = take_block, take_transaction

    @property
    def params(self) -> NetworkParams:
        """The network's constants."""
        return self._chain.params

    @property
    def genesis_id(self) -> BlockId:
        """The genesis block's id."""
        return self._chain.genesis_id

    def now(self) -> int:
        """Return the node's clock."""
        return self._chain.clock()

    # blocks ------------------------------------------------------------------------------------------

    def tip(self) -> LedgerTip:
        """Return the head."""
        tip = self._chain.tip
        return LedgerTip(tip.id, tip.height, tip.work)

    def header(self, block_id: BlockId) -> LedgerHeader | None:
        """Return the header of a stored block."""
        record = self._chain.header(block_id)
        if record is None or not (record.has_body or record.invalid):
            return None
        return LedgerHeader(record.header, record.work, record.invalid)

    def note_headers(self, headers: Sequence[Header]) -> bool:
        """Let the chain keep headers: it then keeps the blocks that lead to the heaviest of them."""
        try:
            for start in range(0, len(headers), MAX_HEADERS):
                # their work was measured by the caller, presync included
                self._chain.accept_headers(
                    headers[start : start + MAX_HEADERS], work_behind=self.params.minimum_work
                )
        except RuleBrokenError as error:
            log.warning("headers not followed", reason=error.reason.value, last=headers[-1].id.hex())
            return False
        return True

    def id_at(self, height: int) -> BlockId | None:
        """Return the main chain's id at a height."""
        with self._chain.store.view() as view:
            return view.id_at(height)

    def headers_from(self, height: int, count: int) -> Sequence[Header]:
        """Return headers of the main chain, in one snapshot."""
        found: list[Header] = []
        with self._chain.store.view() as view:
            for at in range(height, height + count):
                block_id = view.id_at(at)
                record = view.get_header(block_id) if block_id is not None else None
                if record is None:
                    break
                found.append(record.header)
        return found

    def block(self, block_id: BlockId) -> Block | None:
        """Return a stored block that is on the main chain: others may not have been checked."""
        with self._chain.store.view() as view:
            record = view.get_header(block_id)
            if record is None or record.invalid or view.id_at(record.header.height) != block_id:
                return None
            return view.get_block(block_id)

    def accept_block(self, block: Block) -> BlockVerdict:
        """Check and take a block."""
        try:
            self._take_block(block)
        except RuleBrokenError as error:
            return BlockVerdict(False, self._fault(block, error), error.reason.value)
        except Exception:  # a full disk, say: the block is asked for again later
            log.exception("a block could not be taken", id=block.id.hex())
            return BlockVerdict(False, BlockFault.NONE, "internal")
        return BlockVerdict(accepted=True)

    def _fault(self, block: Block, error: RuleBrokenError) -> BlockFault:
        """Tell whether the header is to blame, the body alone, or nobody.

        The header is to blame only for the transactions and witnesses that it commits to.
        """
        record = self._chain.header(block.id)
        if record is not None and record.invalid:
            return BlockFault.BLOCK
        if error.reason in _CLOCKS:
            return BlockFault.NONE
        if len(block) == 0 or cosmic_harmony.merkle_root(block.txids) != block.header.merkle_root:
            return BlockFault.BODY
        if witness_commitment(block.witnesses) != block.bodies[0, 9:13].tobytes():
            first_kind = int(block.bodies[0, 0]) & 0xFF
            return BlockFault.BODY if first_kind == Kind.COINBASE else BlockFault.BLOCK
        return BlockFault.BLOCK

    # transactions ------------------------------------------------------------------------------------

    def accept_transaction(self, raw: bytes) -> TransactionVerdict:
        """Check and take a transaction."""
        wtxid = wtxid_of(raw)
        try:
            tx = decode_transaction(raw)
        except RuleBrokenError as error:
            return TransactionVerdict(wtxid, False, 0, TransactionFault.INVALID, error.reason.value)
        try:
            admitted = self._take_transaction(tx)
        except Exception:
            log.exception("a transaction could not be taken", txid=tx.txid.hex())
            return TransactionVerdict(wtxid, False, tx.fee, TransactionFault.NONE, "internal")
        ready = self.transaction(wtxid) is not None
        fault = TransactionFault.NONE if ready else self._transaction_fault(tx, admitted)
        reason = admitted.reason.value if admitted.reason else admitted.verdict.value
        return TransactionVerdict(wtxid, ready, tx.fee, fault, reason, tx.sender, tx.nonce)

    def _transaction_fault(self, tx: Transaction, admitted: Admission) -> TransactionFault:
        if admitted.provably_wrong:
            return TransactionFault.INVALID
        if admitted.verdict is Verdict.KNOWN:
            return TransactionFault.POLICY  # waits here under another witness: nothing to relay
        if admitted.verdict is not Verdict.QUEUED and admitted.reason not in _WAITS:
            return TransactionFault.POLICY
        try:
            # the state may have been asked first: without this, anybody could take another's place
            check_signature(tx, self._chain.signatures)
        except RuleBrokenError:
            return TransactionFault.INVALID
        return TransactionFault.WAITS

    def transaction(self, wtxid: WtxId) -> bytes | None:
        """Return the bytes of a waiting transaction that could be mined now."""
        tx = self._mempool.by_wtxid(wtxid)
        return tx.raw if tx is not None and self._mempool.is_ready(tx.txid) else None

    def waiting(self) -> Sequence[WtxId]:
        """Return the wtxids of all waiting transactions."""
        return [tx.wtxid for tx in self._mempool]

    def least_fee(self) -> int:
        """Return the least fee that the mempool takes."""
        return MIN_FEE
