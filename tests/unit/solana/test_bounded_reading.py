"""What strangers make us read is bounded and remembered; cursors and identity belong to one endpoint."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec
import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID

from bridge.chains.actions import action_of
from bridge.chains.endpoints.json_rpc import RpcError
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.family import Instance
from bridge.chains.network import Network
from bridge.chains.port import Claimed, FeeLevel, Locked, LockStatus
from bridge.protocol.types import BlockRef, LockTerms, Preimage, Purpose
from relayers.solana import address_index, locks, watch
from relayers.solana.adapter import SolanaPort
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.plugin import OLDEST_HEAD, SolanaSection, settings_of
from relayers.solana.settings import SOL
from tests import instances
from tests.conformance.lying_rpc import LyingRpc
from tests.unit.solana.conftest import Opener, lock_terms

SECRET = Preimage(b"a preimage among much rubbish...")


@pytest.fixture
async def node(started: SolanaNode) -> SolanaNode:
    await started.mine(40)
    return started


class Spammer:
    """Names an address in many transactions that do nothing."""

    def __init__(self, node: SolanaNode) -> None:
        self._node = node
        self._key = Keypair()
        self._count = 0

    async def name(self, address: str, times: int) -> None:
        if not self._count:
            await self._node.fund(str(self._key.pubkey()), SOL, 10**9)
        recent = Hash.from_string(self._node.ledger.head.hash)
        for _ in range(times):
            self._count += 1
            named = [AccountMeta(Pubkey.from_string(address), is_signer=False, is_writable=False)]
            gift = TransferParams(
                from_pubkey=self._key.pubkey(), to_pubkey=self._key.pubkey(), lamports=self._count
            )
            parts = [transfer(gift), Instruction(MEMO_PROGRAM_ID, b"", [])]
            parts[0] = Instruction(parts[0].program_id, parts[0].data, [*parts[0].accounts, *named])
            message = MessageV0.try_compile(self._key.pubkey(), parts[:1], [], recent)
            self._node.ledger.submit(VersionedTransaction(message, [self._key]), preflight=False)
        await self._node.mine(1)


async def funded(node: SolanaNode, opened: Opener, name: str, **changes: Any) -> SolanaPort:
    port = opened(name, **changes)
    await node.fund(port.account, SOL, 10**10)
    return port


async def did(node: SolanaNode, port: SolanaPort, purpose: Purpose, terms: LockTerms) -> str:
    preimage = SECRET if purpose is Purpose.CLAIM else None
    tx = await port.prepare(action_of(purpose, terms, preimage), None, FeeLevel())
    await port.broadcast(tx)
    await node.mine(1)
    return tx.tx_id


async def scanned(port: SolanaPort, ring: list[BlockRef]) -> list[Any]:
    """Scan to the head, and return the events."""
    events: list[Any] = []
    while True:
        scan = await port.scan(tuple(ring), 200)
        if not scan.blocks:
            return events
        ring += scan.blocks
        events += scan.events


# ---------------------------------------------------------------------- much rubbish


async def test_a_scan_takes_fewer_blocks_where_strangers_fill_them_and_loses_nothing(
    node: SolanaNode, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST_READ", 30)
    port = await funded(node, opened, "much rubbish")
    ring = list((await port.scan((), 10)).blocks)
    terms = lock_terms(node, port, SECRET.hashlock())
    spammer = Spammer(node)
    await did(node, port, Purpose.LOCK, terms)
    for _ in range(6):
        await spammer.name(port.contract, 20)
    await spammer.name(port.contract, 50)  # more than is read at once, in a single block
    await did(node, port, Purpose.CLAIM, terms)
    await node.mine(8)
    sizes = []
    events: list[Any] = []
    while (scan := await port.scan(tuple(ring), 200)).blocks:
        ring += scan.blocks
        events += scan.events
        sizes.append(len(scan.blocks))
    assert len(sizes) > 4
    assert [type(event) for event in events] == [Locked, Claimed]


async def test_rubbish_is_listed_once_and_not_again_for_each_scan(
    node: SolanaNode, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST_READ", 30)
    monkeypatch.setattr(address_index, "PAGE", 25)
    async with LyingRpc(node.rpc_url) as rpc:
        port = await funded(node, opened, "listed once", rpc_urls=(rpc.url,))
        ring = list((await port.scan((), 10)).blocks)
        spammer = Spammer(node)
        for _ in range(10):
            await spammer.name(port.contract, 20)
        await node.mine(40)  # all of it is finalized

        def paged(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
            if call["method"] == "getSignaturesForAddress":
                assert call["params"][1]["limit"] == 25
            return honest

        rpc.mangle = paged
        rpc.seen.clear()
        await scanned(port, ring)
        pages = rpc.seen.count("getSignaturesForAddress")
        scans = rpc.seen.count("getBlocksWithLimit")
        assert scans >= 6, "it was read in parts"
        assert pages <= 200 // 25 + 1 + scans, "each part asks once for what is new, and no more"


async def test_rate_limits_of_many_calls_are_waited_for_and_what_came_is_kept(
    node: SolanaNode, opened: Opener
) -> None:
    """41 transactions that name the program, and an endpoint that takes 40 calls of a method in a while."""
    port = await funded(node, opened, "41")
    ring = list((await port.scan((), 10)).blocks)
    await Spammer(node).name(port.contract, 41)
    terms = lock_terms(node, port, SECRET.hashlock())
    await did(node, port, Purpose.LOCK, terms)
    await node.mine(60)
    window, most = 1.5, 40
    calls: dict[str, deque[float]] = {}

    def limited(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        times, now = calls.setdefault(call["method"], deque()), time.monotonic()
        while times and now - times[0] > window:
            times.popleft()
        if len(times) >= most:
            words = "Too many requests for a specific RPC call"
            return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": 429, "message": words}}
        times.append(now)
        return honest

    async with LyingRpc(node.rpc_url) as rpc:
        rpc.mangle = limited
        slow = opened("41", rpc_urls=(rpc.url,))
        began = time.monotonic()
        (event,) = await scanned(slow, ring)
        assert isinstance(event, Locked)
        assert time.monotonic() - began < 20
        assert rpc.seen.count("getTransaction") < 3 * 42, "what came is not asked for again"


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_claim_that_was_seen_cannot_be_buried_under_a_vaults_other_transactions(
    node: SolanaNode, opened: Opener, monkeypatch: pytest.MonkeyPatch, *, remembered: bool
) -> None:
    monkeypatch.setattr(address_index, "PAGE", 20)
    monkeypatch.setattr(locks, "MAX_PAGES", 2)
    port = await funded(node, opened, "buried")
    ring = list((await port.scan((), 10)).blocks)
    terms = lock_terms(node, port, SECRET.hashlock())
    await did(node, port, Purpose.LOCK, terms)
    await did(node, port, Purpose.CLAIM, terms)
    vault = str(Pubkey.from_bytes(bytes.fromhex(port.lock_id(terms))))
    await Spammer(node).name(vault, 100)
    await node.mine(8)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.UNKNOWN
    if remembered:
        await scanned(port, ring)
        assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED


async def test_a_lock_that_was_seen_is_looked_for_from_there_on(
    node: SolanaNode, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address_index, "PAGE", 20)
    monkeypatch.setattr(locks, "MAX_PAGES", 2)
    port = await funded(node, opened, "from there on")
    ring = list((await port.scan((), 10)).blocks)
    terms = lock_terms(node, port, SECRET.hashlock())
    vault = str(Pubkey.from_bytes(bytes.fromhex(port.lock_id(terms))))
    await Spammer(node).name(vault, 100)
    await did(node, port, Purpose.LOCK, terms)
    await node.mine(8)
    await scanned(port, ring)
    await did(node, port, Purpose.CLAIM, terms)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED
    # What ended it is the newest of all: it is found first.
    fresh = opened("from there on")
    assert await fresh.read_lock(fresh.lock_id(terms), terms) is LockStatus.CLAIMED
    await Spammer(node).name(vault, 100)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.SPENT, "made and gone"
    await scanned(port, ring)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED


async def test_a_seen_signature_proves_nothing_by_itself(node: SolanaNode, opened: Opener) -> None:
    port = await funded(node, opened, "proves nothing")
    terms, other = (lock_terms(node, port, SECRET.hashlock(), amount=amount) for amount in (10**8, 10**8 + 1))
    lock = await did(node, port, Purpose.LOCK, terms)
    await did(node, port, Purpose.LOCK, other)
    claim_of_other = await did(node, port, Purpose.CLAIM, other)
    vault = Pubkey.from_bytes(bytes.fromhex(port.lock_id(terms)))
    port._seen.ended(vault, claim_of_other)
    port._seen.made(vault, "1" * 64)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.OPEN
    await did(node, port, Purpose.CLAIM, terms)
    port._seen.ended(vault, lock)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED


# ---------------------------------------------------------------------- one endpoint at a time


async def test_a_cursor_that_an_endpoint_does_not_know_is_given_up(node: SolanaNode, opened: Opener) -> None:
    async with LyingRpc(node.rpc_url) as rpc:
        port = await funded(node, opened, "cursor", rpc_urls=(rpc.url,))
        ring = list((await port.scan((), 10)).blocks)
        first = lock_terms(node, port, SECRET.hashlock())
        await did(node, port, Purpose.LOCK, first)
        await node.mine(60)
        assert len(await scanned(port, ring)) == 1
        index = port._rpc.pool.clients[0].memory["index"]
        assert index._until, "there is a cursor"
        cursor = index._until
        second = msgspec.structs.replace(first, amount=first.amount + 1)
        await did(node, port, Purpose.LOCK, second)
        await node.mine(8)

        def restarted(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
            if call["method"] == "getSignaturesForAddress" and call["params"][1].get("until") == cursor:
                words = f"Filter transaction {cursor} not found"
                return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32020, "message": words}}
            return honest

        rpc.mangle = restarted
        (event,) = await scanned(port, ring)
        assert isinstance(event, Locked)
        assert event.terms == second


@pytest.mark.parametrize("cursor", ["until", "before"])
async def test_the_devnet_refuses_cursors_of_transactions_that_it_lacks(
    node: SolanaNode, opened: Opener, cursor: str
) -> None:
    port = await funded(node, opened, "no such cursor")
    with pytest.raises(RpcError, match="not found") as refusal:
        await port._rpc.call("getSignaturesForAddress", port.contract, {cursor: "1" * 64})
    assert refusal.value.code == address_index.CURSOR_NOT_FOUND


async def test_a_scan_asks_one_endpoint_and_starts_again_with_the_next(
    node: SolanaNode, opened: Opener
) -> None:
    async with LyingRpc(node.rpc_url) as first, LyingRpc(node.rpc_url) as second:
        port = await funded(node, opened, "pinned", rpc_urls=(first.url, second.url))
        ring = list((await port.scan((), 10)).blocks)
        terms = lock_terms(node, port, SECRET.hashlock())
        await did(node, port, Purpose.LOCK, terms)
        await node.mine(8)
        first.seen.clear()
        second.seen.clear()

        first.mangle = lambda call, honest: (
            {**honest, "result": {"transaction": 7}} if call["method"] == "getTransaction" else honest
        )
        (event,) = await scanned(port, ring)
        assert isinstance(event, Locked)
        assert "getTransaction" in first.seen
        for method in ("getBlocksWithLimit", "getSignaturesForAddress", "getTransaction"):
            assert method in second.seen, "all of it was asked again of the second one"


async def test_the_program_is_looked_at_on_each_endpoint(node: SolanaNode, opened: Opener) -> None:
    async with LyingRpc(node.rpc_url) as first, LyingRpc(node.rpc_url) as second:
        port = await funded(node, opened, "programs", rpc_urls=(first.url, second.url))
        await port.tip()

        def another_program(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
            if call["method"] == "getAccountInfo" and call["params"][0] == port.contract:
                value = honest["result"]["value"] | {"owner": "NativeLoader1111111111111111111111111111111"}
                return honest | {"result": honest["result"] | {"value": value}}
            return honest

        second.mangle = another_program
        for client in port._rpc.pool.clients:
            port._rpc.pool.reconnected(client)
        assert (await port.tip()).block.height
        sound, foreign = await port.examine()
        assert sound.trouble is None
        assert foreign.trouble is not None
        assert "another loader" in foreign.trouble.reason
        first.status = 500
        with pytest.raises(PortError):
            await port.tip()


async def test_an_endpoint_whose_head_is_old_is_left_and_says_so(node: SolanaNode, opened: Opener) -> None:
    port = opened("old head", max_head_age=100.0)
    pool = port._rpc.pool
    pool._rules = pool._selection.rules = msgspec.structs.replace(pool._rules, ahead=1e9)
    await port.tip()
    pool._clock = lambda: node.ledger.head.time + 99.0
    pool._next_probe = 0.0
    await port.tip()
    pool._clock = lambda: node.ledger.head.time + 200.0
    pool._next_probe = 0.0
    with pytest.raises(PortUnavailableError, match="stands still: its newest block is 200 s old"):
        await port.tip()


@pytest.mark.parametrize("network", list(Network))
def test_the_head_may_be_old_on_local_networks_alone(network: Network) -> None:
    section = SolanaSection(family="solana", rpc_urls=("http://s",), contract=str(Pubkey.default()))
    settings = settings_of(Instance(instances.SOLANA, network, section, ()))
    assert settings.max_head_age == (0.0 if network is Network.DEV else OLDEST_HEAD)
