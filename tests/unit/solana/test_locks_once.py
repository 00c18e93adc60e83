"""No lock is made twice: what the chain sees to, what it does not, and what the adapter adds to it.

Decision 0085 tells why this is enough, and why durable nonces would be worse.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from bridge.chains.actions import LockAction, action_of
from bridge.chains.errors import ActionRefusedError, PortUnavailableError
from bridge.chains.port import BroadcastOutcome, FeeLevel, LockStatus, SignedTx, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.solana.adapter import SolanaPort
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.settings import SOL
from tests.conformance.lying_rpc import LyingRpc
from tests.unit.solana.conftest import Opener, lock_terms

SECRET = Preimage(b"a preimage for a lock made once.")
AMOUNT = 10**8


@pytest.fixture
async def node(started: SolanaNode) -> SolanaNode:
    await started.mine(160)
    return started


@pytest.fixture
async def port(node: SolanaNode, opened: Opener) -> SolanaPort:
    made = opened("locks once")
    await node.fund(made.account, SOL, 10**10)
    return made


@pytest.fixture
async def terms(node: SolanaNode, port: SolanaPort) -> LockTerms:
    recipient = str(Keypair.from_seed(devnet_key("locks once/recipient")).pubkey())
    await node.fund(recipient, SOL, 10**9)
    return lock_terms(node, port, SECRET.hashlock(), recipient=recipient, amount=AMOUNT)


async def landed(node: SolanaNode, port: SolanaPort, tx: SignedTx) -> None:
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await node.mine(1)
    assert (await port.tx_status(tx)).state is TxState.INCLUDED


async def done(node: SolanaNode, port: SolanaPort, purpose: Purpose, terms: LockTerms) -> SignedTx:
    preimage = SECRET if purpose is Purpose.CLAIM else None
    tx = await port.prepare(action_of(purpose, terms, preimage), None, FeeLevel())
    await landed(node, port, tx)
    return tx


async def test_the_same_bytes_lock_once_even_when_the_vault_is_spent_while_they_live(
    node: SolanaNode, port: SolanaPort, terms: LockTerms
) -> None:
    lock = await done(node, port, Purpose.LOCK, terms)
    await done(node, port, Purpose.CLAIM, terms)
    assert (await port.broadcast(lock)).outcome is BroadcastOutcome.ALREADY_KNOWN
    await node.mine(1)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED
    await node.mine(150)
    await port.broadcast(lock)
    await node.mine(1)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED


async def test_two_locks_alive_at_once_could_both_be_made_so_there_must_never_be_two(
    node: SolanaNode, port: SolanaPort, terms: LockTerms
) -> None:
    """What the program alone does not prevent: so the engine signs again only what can never land."""
    one = await port.prepare(LockAction(terms), None, FeeLevel())
    two = await port.prepare(LockAction(terms), None, FeeLevel(1))
    await landed(node, port, one)
    assert (await port.broadcast(two)).reason == "instruction 2: vault in use"
    await done(node, port, Purpose.CLAIM, terms)
    await landed(node, port, two)
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.OPEN


@pytest.mark.parametrize("spend", [Purpose.CLAIM, Purpose.REFUND])
async def test_no_second_lock_is_signed_once_the_first_is_spent(
    spend: Purpose, node: SolanaNode, port: SolanaPort, terms: LockTerms
) -> None:
    await done(node, port, Purpose.LOCK, terms)
    with pytest.raises(ActionRefusedError, match="it is open"):
        await port.prepare(LockAction(terms), None, FeeLevel(1))
    if spend is Purpose.REFUND:
        await node.advance_time(10_001)
    await done(node, port, spend, terms)
    with pytest.raises(ActionRefusedError, match=f"it is {spend.value}ed"):
        await port.prepare(LockAction(terms), None, FeeLevel(1))


async def test_a_transaction_lands_in_its_last_valid_block_and_in_none_after_it(
    node: SolanaNode, port: SolanaPort, terms: LockTerms
) -> None:
    late = await port.prepare(LockAction(terms), None, FeeLevel())
    later = await port.prepare(
        LockAction(msgspec.structs.replace(terms, amount=AMOUNT + 1)), None, FeeLevel()
    )
    assert late.valid_until_height is not None
    await node.mine(late.valid_until_height - node.ledger.head.height - 1)
    await landed(node, port, late)
    status = await port.tx_status(late)
    assert status.block is not None
    assert status.block.height == late.valid_until_height == later.valid_until_height
    assert (await port.broadcast(later)).outcome is BroadcastOutcome.REJECTED


async def test_a_lock_that_a_roll_back_took_away_lands_again_while_it_lives_and_never_afterwards(
    node: SolanaNode, port: SolanaPort, terms: LockTerms
) -> None:
    before = await port.balance(port.account, SOL)
    tx = await done(node, port, Purpose.LOCK, terms)
    await node.reorg(1, drop=[tx.tx_id])
    assert (await port.tx_status(tx)).state is TxState.UNKNOWN
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.ABSENT
    await landed(node, port, tx)
    await node.reorg(2, drop=[tx.tx_id])
    assert tx.valid_until_height is not None
    await node.mine(tx.valid_until_height - node.ledger.head.height)
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.REJECTED
    await node.mine(1)
    assert await port.balance(port.account, SOL) == before
    await landed(node, port, await port.prepare(LockAction(terms), None, FeeLevel(1, tx.fee)))


async def test_an_endpoint_behind_the_one_before_it_cannot_make_a_landed_lock_look_lost(
    node: SolanaNode, terms: LockTerms, opened: Opener
) -> None:
    """Else: the first endpoint says that time is up, the second has not seen the lock and its claim yet, and
    a new lock is made in a vault whose preimage is known to all."""
    async with LyingRpc(node.rpc_url) as first, LyingRpc(node.rpc_url) as second:
        port = opened("locks once", rpc_urls=(first.url, second.url))
        await node.fund(port.account, SOL, 10**10)
        behind = node.ledger.head.slot
        vault = str(Pubkey.from_bytes(bytes.fromhex(port.lock_id(terms))))

        def from_the_past(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
            values: dict[str, Any] = {"getSignatureStatuses": [None], "getAccountInfo": None}
            if call["method"] in values and call["params"][0] in (vault, [lock.tx_id]):
                return honest | {"result": {"context": {"slot": behind}, "value": values[call["method"]]}}
            if call["method"] == "getSignaturesForAddress":
                floor = call["params"][1].get("minContextSlot", 0)
                late = {"code": -32016, "message": "Minimum context slot has not been reached"}
                answer: dict[str, Any] = {"error": late} if floor > behind else {"result": []}
                return {key: honest[key] for key in ("jsonrpc", "id")} | answer
            return honest

        lock = await done(node, port, Purpose.LOCK, terms)
        second.mangle = from_the_past
        await done(node, port, Purpose.CLAIM, terms)
        assert lock.valid_until_height is not None
        await node.mine(lock.valid_until_height + 33 - node.ledger.head.height)
        assert (await port.tip()).block.height > lock.valid_until_height + 32
        first.status = 503
        with pytest.raises(PortUnavailableError, match="behind"):
            await port.tx_status(lock)
        with pytest.raises(PortUnavailableError):
            await port.read_lock(port.lock_id(terms), terms)
        with pytest.raises(PortUnavailableError):
            await port.prepare(LockAction(terms), None, FeeLevel(1, lock.fee))


async def test_a_spent_lock_is_no_open_one_while_the_index_lags(
    node: SolanaNode, terms: LockTerms, opened: Opener
) -> None:
    async with LyingRpc(node.rpc_url) as liar:
        port = opened("locks once", rpc_urls=(liar.url,))
        await node.fund(port.account, SOL, 10**10)
        lock = await done(node, port, Purpose.LOCK, terms)
        claim = await done(node, port, Purpose.CLAIM, terms)

        def without_the_claim(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
            if call["method"] != "getSignaturesForAddress":
                return honest
            left = [entry for entry in honest["result"] if entry["signature"] != claim.tx_id]
            assert [entry["signature"] for entry in left] == [lock.tx_id]
            return honest | {"result": left}

        liar.mangle = without_the_claim
        assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.SPENT
        liar.mangle = None
        assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED


async def test_strangers_cannot_hide_what_became_of_a_lock_behind_many_small_gifts(
    node: SolanaNode, port: SolanaPort, terms: LockTerms
) -> None:
    await done(node, port, Purpose.LOCK, terms)
    await done(node, port, Purpose.CLAIM, terms)
    stranger = Keypair()
    await node.fund(str(stranger.pubkey()), SOL, 10**9)
    vault = Pubkey.from_bytes(bytes.fromhex(port.lock_id(terms)))
    recent = Hash.from_string(node.ledger.head.hash)
    for number in range(250):
        gift = TransferParams(
            from_pubkey=stranger.pubkey(), to_pubkey=vault, lamports=890_880 if number == 0 else number
        )
        message = MessageV0.try_compile(stranger.pubkey(), [transfer(gift)], [], recent)
        node.ledger.submit(VersionedTransaction(message, [stranger]), preflight=False)
    await node.mine(1)
    assert len(node.ledger.head.entries) == 250
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.CLAIMED
