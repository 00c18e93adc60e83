"""The node: chain, mempool, clock, mining and the events that the RPC pushes. All on one event loop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from chain.clock import AdjustableClock
from chain.consensus.chain import Chain, ChainChange
from chain.devnet import DevNet
from chain.mempool.entries import Admission, Verdict
from chain.mempool.pool import Added, Mempool
from chain.mining.miner import SoloMiner, Work
from chain.mining.template import assemble, solve
from chain.network.config import NetworkConfig
from chain.network.core.peers import Peer
from chain.network.node_ledger import NodeLedger
from chain.network.service import NetworkService
from chain.rules import compiled
from chain.rules.address import decode_address
from chain.rules.block import Block
from chain.rules.errors import Reason, RuleBrokenError, StoreError, ZionError
from chain.rules.params import NETWORKS, Network
from chain.rules.records import ZERO20, Transaction
from chain.rules.types import KeyHash, TxId
from chain.service.messages import BlockRefView, NetworkView, NewBlock, PeerView
from chain.service.ports import Event
from chain.service.process import run_service
from chain.service.queries import Queries, view_transaction
from chain.service.supervision import Tasks
from chain.wallet.keys import dev_treasury_key
from kernels import cosmic_harmony

log = structlog.get_logger("zion.node")

EVENT_QUEUE = 1_000
TEMPLATE_SECONDS = 10
"""A miner's block is renewed this often, to take up new transactions."""


@dataclass(frozen=True)
class NodeConfig:
    """How a node runs. `block_interval` (seconds) paces mining on dev only; port 0 takes a free one.

    Without `peers` the node stays alone.
    """

    network: Network
    data_dir: Path
    rpc_host: str = "127.0.0.1"
    rpc_port: int | None = None
    mine: bool = False
    miner_address: str | None = None
    block_interval: float = 1.0
    backend: str = "numba"
    sync: bool = True
    peers: NetworkConfig | None = None


class Node:
    """One node. Every method runs on the event loop's thread; none awaits while state is half changed."""

    def __init__(self, config: NodeConfig) -> None:
        """Open the data directory. Raises `StoreError` when another process holds it."""
        self.config = config
        self.params = NETWORKS[config.network]
        if config.miner_address is not None:
            self.miner = decode_address(config.miner_address)
        elif config.network is Network.DEV:
            self.miner = dev_treasury_key().key_hash
        elif config.mine:
            raise ZionError("mining needs an address", hint="give --miner-address")
        else:
            self.miner = ZERO20
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self._directory_lock = _hold(config.data_dir)
        cosmic_harmony.prepare()
        compiled.prepare()
        self.chain = Chain(self.params, config.data_dir / "state", sync=config.sync)
        with self.chain.store.view() as view:
            offset = int(view.get_meta(b"clock_offset") or b"0")
        self.clock = AdjustableClock(lambda: int(time.time()), offset, self._keep_clock)
        self.chain.clock = self.clock.now
        self.mempool = Mempool(self.chain)
        self.queries = Queries(self.chain, self.mempool)
        self.dev = DevNet(self) if config.network is Network.DEV else None
        self.mining = config.mine
        self.solo: SoloMiner | None = None
        self.ledger = NodeLedger(self.chain, self.mempool, self.accept, self._admit)
        self.network: NetworkService | None = None
        if config.peers is not None:
            self.network = NetworkService(self.ledger, config.peers, config.data_dir)
        self.deep_branch = (0, "")
        """Work of the last branch that was refused for its depth although it is heavier, and what to do.

        Its headers showed their work; a single block at any depth costs nothing and proves nothing."""
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self.tasks = Tasks()
        self._found_blocks: asyncio.Queue[Block] = asyncio.Queue()

    def _keep_clock(self, offset: int) -> None:
        with self.chain.store.batch() as batch:
            batch.set_meta(b"clock_offset", str(offset).encode())

    @property
    def hash_rate(self) -> float:
        """Hashes per second of the node's own miner."""
        return self.solo.hash_rate if self.solo else 0.0

    def peers(self) -> NetworkView:
        """Return the node's connections and how far it has synchronised."""
        if self.network is None or self.network.core is None:
            return NetworkView(enabled=False, height=self.chain.tip.height)
        core = self.network.core
        left = core.downloads.left
        return NetworkView(
            enabled=True,
            listening=tuple(self.network.listening),
            key=self.network.fingerprint,
            peers=tuple(_peer_view(peer) for peer in core.peers),
            height=self.chain.tip.height,
            best_height=self.chain.tip.height + left,
            blocks_left=left,
            known_addresses=len(core.connections.book),
        )

    # transactions and blocks -------------------------------------------------------------------------

    def submit(self, tx: Transaction) -> Added:
        """Take a transaction. One waiting or in a block is known. Raises `RuleBrokenError`."""
        with self.chain.store.view() as view:
            if view.get_place(tx.txid) is not None:
                return Added(tx.txid, known=True)
        added = self.mempool.add(tx)
        if not added.known:
            self._publish_transaction(tx)
            if self.network is not None and self.mempool.is_ready(tx.txid):
                self.network.own_transaction(tx.raw, tx.fee)
        return added

    def _admit(self, tx: Transaction) -> Admission:
        """Take a transaction that a peer sent."""
        admission = self.mempool.admit(tx)
        if admission.verdict in (Verdict.ACCEPTED, Verdict.QUEUED):
            self._publish_transaction(tx)
        return admission

    def _publish_transaction(self, tx: Transaction) -> None:
        if self._subscribers:
            self._publish(view_transaction(tx))

    def accept(self, block: Block) -> ChainChange:
        """Take a block. Raises `RuleBrokenError`."""
        try:
            change = self.chain.accept_block(block)
        except RuleBrokenError as error:
            known = self.chain.header(block.id)
            if error.reason is Reason.REORG_TOO_DEEP and known and known.work > self.chain.tip.work:
                self.deep_branch = (known.work, f"block {block.id.hex()}: {error.with_hint}")
                log.error("a heavier branch below the finality window was refused", block=block.id.hex())
            raise
        self.follow(change)
        return change

    def follow(self, change: ChainChange, leave_out: frozenset[TxId] = frozenset()) -> None:
        """Bring mempool, miner and subscribers up to a change of the head."""
        if not change.connected:
            return
        self.mempool.update(change, leave_out)
        for txid in leave_out:
            self.mempool.remove(txid)
        tip = self.chain.tip
        if change.disconnected:
            log.warning("reorganised", depth=len(change.disconnected), best=tip.id.hex(), height=tip.height)
        else:
            log.info(
                "new block",
                id=tip.id.hex(),
                height=tip.height,
                transactions=sum(len(block) for block in change.connected),
            )
        self._publish(
            NewBlock(
                best=BlockRefView(tip.id.hex(), tip.height),
                connected=tuple(_ref(block) for block in change.connected),
                orphaned=tuple(_ref(block) for block in change.disconnected),
                median_time=self.chain.median_time,
                common_height=change.connected[0].header.height - 1,
            )
        )
        if self.solo is not None:
            self._offer_work()
        if self.network is not None:
            self.network.tip_moved()

    def template(self, miner: KeyHash | None = None) -> Block:
        """Return an unmined block on the head; transactions that do not fit it leave the mempool."""
        with self.chain.store.scratch() as batch:
            block, left_out = assemble(
                self.chain, batch, miner or self.miner, self.mempool.best(), self.clock.now()
            )
        for tx in left_out:
            log.warning("transaction dropped from the mempool", txid=tx.txid.hex())
            self.mempool.remove(tx.txid)
        return block

    def mine_one(self) -> Block:
        """Make one block at once (dev). The clock follows if the block had to be ahead of it."""
        block = solve(self.template())
        self.clock.at_least(block.header.time)
        self.accept(block)
        return block

    # mining ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start mining and the network, if asked to."""
        if self.network is not None:
            await self.network.start()
        if self.config.network is Network.DEV:
            self.tasks.start("mining", self._mine_dev)
        elif self.mining:
            loop = asyncio.get_running_loop()

            def found(work: Work, nonce: int) -> None:
                loop.call_soon_threadsafe(self._found_blocks.put_nowait, work.solved(nonce))

            self.solo = SoloMiner(self.config.backend, found)
            self._offer_work()
            self.solo.start()
            self.tasks.start("work for the miner", self._renew_work)
            self.tasks.start("blocks of our own", self._take_found)

    async def _mine_dev(self) -> None:
        """Make a block every interval; at the very start enough for the median time to be the clock's."""
        while True:
            if self.mining:
                self.mine_one()
                while self.chain.tip.height < 2:
                    self.mine_one()
                self.tasks.succeeded("mining")
            await asyncio.sleep(self.config.block_interval)

    async def _renew_work(self) -> None:
        while True:
            await asyncio.sleep(TEMPLATE_SECONDS)
            self._offer_work()
            self.tasks.succeeded("work for the miner")

    def _offer_work(self) -> None:
        if self.solo is not None:
            self.solo.offer(Work.of(self.template()))

    async def _take_found(self) -> None:
        """Take the blocks that the miner found. One that cannot be stored, for a full disk, is kept."""
        while True:
            block = await self._found_blocks.get()
            try:
                self.accept(block)
                self.tasks.succeeded("blocks of our own")
            except RuleBrokenError as error:
                log.warning("block of our own refused", reason=error.reason.value)
            except Exception:
                self._found_blocks.put_nowait(block)
                raise

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work now, one sentence each; empty when all is well."""
        found = list(self.tasks.problems)
        if self.solo is not None and self.solo.problem:
            found.append(self.solo.problem)
        elif self.solo is not None and not self.solo.alive:
            found.append("the miner's thread has ended")
        if self.deep_branch[0] > self.chain.tip.work:
            found.append(self.deep_branch[1])
        return tuple(found)

    # events ------------------------------------------------------------------------------------------

    def subscribe(self) -> asyncio.Queue[Event | None]:
        """Return a queue of events; None in it means that the reader was too slow and is cut off."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(EVENT_QUEUE)
        self._subscribers.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[Event | None]) -> None:
        """Stop a subscription."""
        self._subscribers.discard(queue)

    def _publish(self, event: Event) -> None:
        for queue in list(self._subscribers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._subscribers.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)

    async def stop(self) -> None:
        """Stop mining, leave the network and close the store."""
        if self.network is not None:
            await self.network.stop()
        await self.tasks.stop()
        if self.solo is not None:
            await asyncio.to_thread(self.solo.stop)
        self.chain.close()
        self._directory_lock.close()
        log.info("node stopped", height=self.chain.tip.height)


def node_main(config: NodeConfig, *, ready: Callable[[str], None] = lambda _: None) -> None:
    """Run a node until SIGTERM or SIGINT. `ready` is called with the RPC URL once it answers.

    Raises `ZionError` when it cannot start.
    """
    port = NETWORKS[config.network].rpc_port if config.rpc_port is None else config.rpc_port
    run_service(lambda: Node(config), config.rpc_host, port, config.data_dir, ready)


def _peer_view(peer: Peer) -> PeerView:
    return PeerView(
        address=str(peer.address),
        kind=peer.kind.value,
        ready=peer.ready,
        agent=peer.hello.agent if peer.hello else "",
        height=peer.hello.height if peer.hello else 0,
        latency=peer.latency if peer.latency != float("inf") else None,
        blocks_given=peer.blocks_given,
    )


def _ref(block: Block) -> BlockRefView:
    return BlockRefView(block.id.hex(), block.header.height)


def _hold(directory: Path) -> IO[str]:
    """Hold the directory for this process; the system releases it however the process ends."""
    file = (directory / "node.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StoreError(
            f"another node runs on {directory}", hint="stop it, or choose another --data-dir"
        ) from None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file
