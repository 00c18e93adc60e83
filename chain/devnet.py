"""The dev network's controls: a settable clock, blocks on demand, the treasury, and real reorganisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chain.clock import AdjustableClock
from chain.consensus.chain import Chain, ChainChange
from chain.mempool.pool import Added, Mempool, transactions_of
from chain.mining.template import assemble, solve
from chain.rules.block import Block
from chain.rules.errors import DevError
from chain.rules.params import MEDIAN_WINDOW, MIN_FEE, Network, NetworkParams
from chain.rules.records import Transaction
from chain.rules.types import BlockId, KeyHash, TxId
from chain.service.ports import ReorgResult
from chain.wallet.keys import dev_treasury_key
from chain.wallet.transactions import build_transfer

MAX_ADVANCE = 10 * 365 * 86_400
MAX_MINED_AT_ONCE = 5_000
MAX_REORG = 500


class DevNode(Protocol):
    """What the dev commands need of a node. `chain.node.Node` implements it."""

    params: NetworkParams
    chain: Chain
    mempool: Mempool
    clock: AdjustableClock
    miner: KeyHash

    def submit(self, tx: Transaction) -> Added:
        """Take a transaction. Raises `RuleBrokenError`."""

    def mine_one(self) -> Block:
        """Make one block at once."""

    def follow(self, change: ChainChange, leave_out: frozenset[TxId] = frozenset()) -> None:
        """Bring mempool, miner and subscribers up to a change of the head."""


class DevNet:
    """Dev commands over a node. Everything goes through the ordinary consensus code."""

    def __init__(self, node: DevNode) -> None:
        if node.params.network is not Network.DEV:
            raise DevError("dev commands work only on the dev network", hint="start with --network dev")
        self._node = node

    def advance_time(self, seconds: int, *, settle: bool) -> tuple[BlockId, ...]:
        """Move the clock forward; with `settle`, mine until the median time past has followed."""
        if not 0 <= seconds <= MAX_ADVANCE:
            raise DevError(f"the clock moves by 0 … {MAX_ADVANCE} s", hint="it never moves back")
        node = self._node
        wanted = node.clock.now() + seconds
        node.clock.advance(seconds)
        mined: list[BlockId] = []
        while settle and node.chain.median_time < wanted and len(mined) < 2 * MEDIAN_WINDOW:
            mined.extend(self.mine(1))
        return tuple(mined)

    def mine(self, count: int) -> tuple[BlockId, ...]:
        """Make blocks now."""
        if not 1 <= count <= MAX_MINED_AT_ONCE:
            raise DevError(f"mine 1 … {MAX_MINED_AT_ONCE} blocks at once")
        return tuple(self._node.mine_one().id for _ in range(count))

    def fund(self, recipient: KeyHash, amount: int) -> TxId:
        """Send from the treasury, whose key is public; returns the transaction id."""
        key = dev_treasury_key()
        node = self._node
        with node.chain.store.view() as view:
            confirmed = view.get_account(key.key_hash).nonce
        tx = build_transfer(
            key,
            node.params,
            nonce=node.mempool.next_nonce(key.key_hash, confirmed),
            recipient=recipient,
            amount=amount,
            fee=max(MIN_FEE, node.mempool.fee_for_next_block()),
        )
        node.submit(tx)
        return tx.txid

    def reorg(self, depth: int, drop: Sequence[TxId], *, readmit_dropped: bool) -> ReorgResult:
        """Replace the last `depth` blocks by `depth` + 1 heavier ones without the transactions `drop`.

        The transactions of the replaced blocks keep their order and, where they still are valid, their
        relative height. Those dropped leave the mempool too, unless `readmit_dropped`.
        """
        node, chain = self._node, self._node.chain
        if not 1 <= depth <= min(MAX_REORG, chain.tip.height):
            raise DevError(
                f"the depth must be 1 … {min(MAX_REORG, chain.tip.height)}", hint="genesis stays where it is"
            )
        fork_height = chain.tip.height - depth
        old = [self._block(height) for height in range(fork_height + 1, chain.tip.height + 1)]
        dropped = frozenset(drop)
        unknown = dropped - {tx.txid for tx in transactions_of(old)} - {tx.txid for tx in node.mempool}
        if unknown:
            raise DevError(
                f"{next(iter(unknown)).hex()} is in none of the last {depth} blocks nor in the mempool",
                hint="choose a greater depth, or another transaction",
            )
        left_out: set[TxId] = set()
        parent = old[0].header.previous
        change: ChainChange | None = None
        connected: list[BlockId] = []
        for replaced in [*old, None]:
            wanted = [tx for tx in replaced.transactions()[1:] if tx.txid not in dropped] if replaced else []
            time = replaced.header.time if replaced else node.clock.now()
            with chain.scratch_at(parent) as batch:
                block, invalid = assemble(chain, batch, node.miner, wanted, time)
            left_out.update(tx.txid for tx in invalid)
            block = solve(block)
            change = chain.accept_block(block)
            parent = block.id
            connected.append(block.id)
        if change is None or not change.disconnected:
            raise AssertionError("a longer branch of equal difficulty is heavier")
        node.follow(change, frozenset() if readmit_dropped else dropped)
        return ReorgResult(
            fork_height,
            tuple(block.id for block in change.disconnected),
            tuple(connected),
            tuple(dropped),
            tuple(left_out),
        )

    def _block(self, height: int) -> Block:
        block = self._node.chain.main_block(height)
        if block is None:
            raise DevError(f"no block at height {height}")
        return block
