"""An RPC that lags, lies, refuses or breaks: nothing is concluded from it, and nothing of its URL is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import ActionRefusedError, PortError, PortUnavailableError
from bridge.chains.port import BroadcastOutcome, Claimed, FeeLevel, Locked, LockStatus, Revealed, TxState
from bridge.protocol.types import BlockRef, LockTerms, Preimage, UnixSeconds
from relayers.solana.adapter import SolanaPort
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.explain import explain
from relayers.solana.settings import SOL
from tests.conformance.lying_rpc import LyingRpc
from tests.unit.solana.conftest import Opener, lock_terms

SECRET = Preimage(b"a preimage for lying endpoints..")


@pytest.fixture
async def devnet(started: SolanaNode) -> SolanaNode:
    await started.mine(40)
    return started


@pytest.fixture
async def liar(devnet: SolanaNode) -> AsyncIterator[LyingRpc]:
    async with LyingRpc(devnet.rpc_url) as made:
        yield made


@pytest.fixture
async def port(devnet: SolanaNode, liar: LyingRpc, opened: Opener) -> SolanaPort:
    made = opened("lied to", rpc_urls=(liar.url,), timeout=0.5)
    await devnet.fund(made.account, SOL, 10**10)
    return made


def terms_of(devnet: SolanaNode, port: SolanaPort, recipient: str = "") -> LockTerms:
    return lock_terms(devnet, port, SECRET.hashlock(), recipient=recipient, lifetime=1000)


async def locked(devnet: SolanaNode, port: SolanaPort) -> LockTerms:
    terms = terms_of(devnet, port)
    tx = await port.prepare(LockAction(terms), None, FeeLevel())
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await devnet.mine(1)
    return terms


@pytest.mark.parametrize("fault", ["status", "garbage", "delay"])
async def test_a_broken_line_is_unavailable_without_its_url(
    fault: str, liar: LyingRpc, port: SolanaPort
) -> None:
    await port.tip()
    setattr(liar, fault, {"status": 500, "garbage": True, "delay": 2.0}[fault])
    with pytest.raises(PortUnavailableError) as failure:
        await port.tip()
    shown = f"{failure.value} {failure.value.hint} {failure.value.__cause__!r} {port!r}"
    assert "secret-api-key" not in shown


async def test_another_endpoint_takes_over(devnet: SolanaNode, liar: LyingRpc, opened: Opener) -> None:
    port = opened("two lines", rpc_urls=(liar.url, devnet.rpc_url))
    liar.status = 503
    assert (await port.tip()).block.height == devnet.ledger.head.height


async def test_a_slot_without_an_answer_is_no_reorg(
    devnet: SolanaNode, liar: LyingRpc, port: SolanaPort
) -> None:
    ring = (await port.scan((), 10)).blocks
    await devnet.mine(1)
    first = devnet.ledger.block(int(ring[0].id[:16], 16))
    assert first is not None

    def forget(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "getBlock" and call["params"][0] == first.slot:
            return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32004, "message": "not available"}}
        return honest

    liar.mangle = forget
    with pytest.raises(PortUnavailableError):
        await port.scan(ring, 10)
    liar.mangle = None
    assert (await port.scan(ring, 10)).orphaned == ()


async def test_what_a_late_index_kept_from_a_scan_is_noticed_by_the_lock_and_found_by_scanning_again(
    devnet: SolanaNode, liar: LyingRpc, port: SolanaPort
) -> None:
    """As the worker's regular check does it: ask about the lock, then scan its blocks once more."""
    ring = (await port.scan((), 10)).blocks
    terms = await locked(devnet, port)

    def late(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        return honest | {"result": []} if call["method"] == "getSignaturesForAddress" else honest

    liar.mangle = late
    scan = await port.scan(ring, 10)
    assert (len(scan.blocks), scan.events) == (1, ())
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.OPEN
    liar.mangle = None
    await devnet.mine(40)  # whatever was remembered of the index meanwhile
    assert (await port.scan(scan.blocks, 100)).events == ()
    (event,) = (await port.scan(ring, 100)).events
    assert isinstance(event, Locked)


async def test_the_scan_stays_behind_the_newest_slots_by_the_lag_of_the_index(
    devnet: SolanaNode, opened: Opener
) -> None:
    port = opened("patient", index_lag=8)
    await devnet.skip(3)
    await devnet.mine(6)  # slots behind the newest: 0 to 5, then 9
    assert (await port.tip()).block.height == devnet.ledger.head.height - 6


@pytest.mark.parametrize("code", [-32007, -32009])
async def test_blocks_that_a_node_lacks_and_calls_skipped_are_no_reorg(
    code: int, devnet: SolanaNode, liar: LyingRpc, port: SolanaPort
) -> None:
    """As after a start from a snapshot: "Slot … was skipped, or missing due to ledger jump"."""
    ring: tuple[BlockRef, ...] = (await port.scan((), 1)).blocks
    for _ in range(3):
        await devnet.mine(1)
        ring += (await port.scan(ring, 10)).blocks
    await devnet.mine(3)
    lacking = {int(block.id[:16], 16) for block in ring}

    def jump(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "getBlock" and call["params"][0] in lacking:
            return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": "was skipped"}}
        if call["method"].startswith("getBlocks"):
            return honest | {"result": [slot for slot in honest["result"] if slot not in lacking]}
        return honest

    liar.mangle = jump
    with pytest.raises(PortUnavailableError):
        await port.scan(ring, 10)
    lacking = {int(ring[-1].id[:16], 16)}  # the newest alone
    with pytest.raises(PortUnavailableError):
        await port.scan(ring, 10)
    liar.mangle = None
    scan = await port.scan(ring, 10)
    assert (scan.orphaned, len(scan.blocks)) == ((), 3)


async def test_a_node_without_the_history_that_is_needed_says_so(
    devnet: SolanaNode, liar: LyingRpc, port: SolanaPort
) -> None:
    ring = (await port.scan((), 1)).blocks
    await devnet.mine(20)
    first_kept = devnet.ledger.head.slot - 5

    def pruned(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "getBlock" and call["params"][0] < first_kept:
            words = f"Block {call['params'][0]} cleaned up, does not exist on node."
            return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32001, "message": words}}
        if call["method"].startswith("getBlocks"):
            return honest | {"result": [slot for slot in honest["result"] if slot >= first_kept]}
        return honest

    liar.mangle = pruned
    with pytest.raises(PortUnavailableError, match="cleaned up") as failure:
        await port.scan(ring, 10)
    assert "keeps more blocks" in failure.value.hint
    with pytest.raises(PortUnavailableError, match="any more") as failure:
        await port.scan((BlockRef(ring[0].height, "", "", UnixSeconds(0)),), 10)
    assert "more history" in failure.value.hint
    liar.mangle = lambda call, honest: (
        {
            "jsonrpc": "2.0",
            "id": call["id"],
            "error": {"code": -32011, "message": "Transaction history is not available"},
        }
        if call["method"] == "getSignaturesForAddress"
        else honest
    )
    with pytest.raises(PortUnavailableError, match="history"):
        await port.scan(ring, 10)
    terms = terms_of(devnet, port)
    with pytest.raises(PortUnavailableError, match="history"):
        await port.read_lock(port.lock_id(terms), terms)


async def test_a_transaction_that_cannot_be_read_holds_its_block_back(
    devnet: SolanaNode, liar: LyingRpc, port: SolanaPort
) -> None:
    ring = (await port.scan((), 10)).blocks
    terms = await locked(devnet, port)

    def forget(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        return honest | {"result": None} if call["method"] == "getTransaction" else honest

    liar.mangle = forget
    with pytest.raises(PortUnavailableError):
        await port.scan(ring, 10)
    liar.mangle = None
    (event,) = (await port.scan(ring, 10)).events
    assert isinstance(event, Locked)
    assert event.terms == terms


async def test_a_failed_claim_claims_nothing_but_shows_its_preimage_and_why_it_failed(
    devnet: SolanaNode, port: SolanaPort
) -> None:
    terms = await locked(devnet, port)
    first = await port.prepare(ClaimAction(terms, SECRET), None, FeeLevel())
    second = await port.prepare(ClaimAction(terms, SECRET), None, FeeLevel(1, first.fee))
    ring = (await port.scan((), 10)).blocks
    for tx in (first, second):
        assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await devnet.mine(1)
    claimed, shown = (await port.scan(ring, 10)).events
    assert isinstance(claimed, Claimed)
    assert (claimed.tx_id, claimed.lock_id) == (first.tx_id, port.lock_id(terms))
    assert isinstance(shown, Revealed)
    assert (shown.tx_id, shown.preimage, claimed.preimage) == (second.tx_id, SECRET, SECRET)
    status = await port.tx_status(second)
    assert (status.state, status.reason) == (TxState.FAILED, "instruction 2: not our vault")


async def test_another_cluster_or_a_missing_program_is_said(devnet: SolanaNode, opened: Opener) -> None:
    terms_asset = SOL
    for change, word in (
        ({"genesis_hash": "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"}, "another cluster"),
        ({"program": devnet.token.contract}, "no program"),
    ):
        port = opened("lost", **change)
        with pytest.raises(PortError, match=word) as failure:
            await port.fees(terms_asset)
        assert failure.value.hint


async def test_dust_to_somebody_without_an_account_is_refused(
    devnet: SolanaNode, port: SolanaPort, opened: Opener
) -> None:
    nobody = opened("without an account")
    dust = msgspec.structs.replace(terms_of(devnet, port, nobody.account), amount=890_879)
    with pytest.raises(ActionRefusedError, match="cannot open one") as refusal:
        await port.prepare(LockAction(dust), None, FeeLevel())
    assert "890880" in refusal.value.hint
    enough = msgspec.structs.replace(dust, amount=890_880)
    await port.prepare(LockAction(enough), None, FeeLevel())


def test_errors_are_put_into_words() -> None:
    assert explain({"InstructionError": [2, {"Custom": 7}]}) == "instruction 2: wrong preimage"
    assert explain({"InstructionError": [0, {"Custom": 4711}]}) == "instruction 0: error 4711"
    assert explain({"InstructionError": [1, "InvalidArgument"]}) == "instruction 1: InvalidArgument"
    assert explain("BlockhashNotFound") == "BlockhashNotFound"


async def test_an_endpoint_that_tells_no_prices_still_gets_transactions(
    devnet: SolanaNode, liar: LyingRpc, port: SolanaPort
) -> None:
    def without(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        unknown = {"code": -32601, "message": "Method not found"}
        if call["method"] == "getRecentPrioritizationFees":
            return {"jsonrpc": "2.0", "id": call["id"], "error": unknown}
        return honest

    liar.mangle = without
    await locked(devnet, port)
