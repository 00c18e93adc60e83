"""The fake chain keeps its books and has the faults that the scenarios ask of it."""

from __future__ import annotations

import pytest

from bridge.chains.actions import CancelAction, CooperativeRefundAction, LockAction, RefundAction
from bridge.chains.errors import ActionRefusedError, InsufficientFundsError, PortUnavailableError
from bridge.chains.port import BroadcastOutcome, FeeLevel, LockStatus, SignedTx, TxState
from bridge.protocol.types import Address, Amount, Asset, LockTerms, TxId, UnixSeconds
from relayers.fake import FakeChain, FakeDevnet, FakePort
from tests import instances
from tests.unit.samples import ZION, preimage

TOKEN = Asset(instances.ZION, "TOK", 6, "0xtok")


@pytest.fixture
def chain() -> FakeChain:
    made = FakeChain(instances.ZION, ZION, seed=1)
    for who in ("bridge", "user"):
        made.credit(who, ZION, 10**9)
    return made


@pytest.fixture
def port(chain: FakeChain) -> FakePort:
    return FakePort(chain, "bridge")


def _terms(chain: FakeChain, sender: str = "bridge", asset: Asset = ZION) -> LockTerms:
    recipient = "user" if sender == "bridge" else "bridge"
    hashlock = preimage().hashlock()
    return LockTerms(
        instances.ZION,
        Address("htlc"),
        Address(sender),
        Address(recipient),
        asset,
        Amount(5000),
        hashlock,
        UnixSeconds(chain.head.time + 100),
    )


async def _lock(port: FakePort, sequence: int | None = 0) -> SignedTx:
    tx = await port.prepare(LockAction(_terms(port.fake)), sequence, FeeLevel())
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    return tx


async def test_lock_and_claim_move_the_money_and_the_supply_stays(chain: FakeChain, port: FakePort) -> None:
    terms = _terms(chain)
    supply = chain.ledger.supply(ZION)
    tx = await _lock(port)
    assert (await port.tx_status(tx)).state is TxState.PENDING
    chain.mine()
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.OPEN
    before = chain.ledger.balance("user", ZION)
    tx_id = FakeDevnet(chain).wallet().claim(port.lock_id(terms), preimage())
    chain.mine()
    found = chain.included(TxId(tx_id))
    assert found is not None
    assert chain.ledger.balance("user", ZION) == before + 5000 - found[1].tx.cost
    assert chain.ledger.supply(ZION) == supply


async def test_a_reorg_takes_the_lock_back_and_scan_says_so(chain: FakeChain, port: FakePort) -> None:
    supply = chain.ledger.supply(ZION)
    known = (await port.scan([], 10)).blocks
    tx = await _lock(port)
    chain.mine(2)
    scan = await port.scan(known, 10)
    assert len(scan.events) == 1
    chain.reorg(2, [tx.tx_id])
    after = await port.scan([*known, *scan.blocks], 10)
    assert [block.height for block in after.orphaned] == [2, 1]
    assert [block.height for block in after.blocks] == [1, 2, 3]
    assert after.events == ()
    assert (await port.tx_status(tx)).state is TxState.UNKNOWN
    assert chain.ledger.supply(ZION) == supply


async def test_a_refund_waits_for_the_deadline_and_a_cooperative_one_does_not(
    chain: FakeChain, port: FakePort
) -> None:
    user = FakeDevnet(chain).wallet()
    terms = _terms(chain, "user")
    user.lock(terms)
    chain.mine()
    with pytest.raises(ActionRefusedError):
        await port.prepare(RefundAction(terms), 0, FeeLevel())
    early = CooperativeRefundAction(terms)
    await port.broadcast(await port.prepare(early, 0, FeeLevel()))
    chain.mine()
    assert await port.read_lock(port.lock_id(terms), terms) is LockStatus.REFUNDED


async def test_a_replacement_must_bid_more_and_then_the_old_one_is_gone(
    chain: FakeChain, port: FakePort
) -> None:
    first = await _lock(port)
    cheap = await port.prepare(CancelAction(), 0, FeeLevel())
    assert (await port.broadcast(cheap)).outcome is BroadcastOutcome.UNDERPRICED
    better = await port.prepare(CancelAction(), 0, FeeLevel(1, first.fee))
    assert (await port.broadcast(better)).outcome is BroadcastOutcome.ACCEPTED
    chain.mine()
    assert (await port.tx_status(first)).state is TxState.REPLACED
    assert (await port.broadcast(first)).outcome is BroadcastOutcome.SEQUENCE_USED


async def test_a_fee_spike_leaves_cheap_transactions_waiting(chain: FakeChain, port: FakePort) -> None:
    tx = await _lock(port)
    chain.price *= 100
    chain.mine(3)
    assert (await port.tx_status(tx)).state is TxState.PENDING


async def test_the_rpc_can_be_down_and_late_and_the_chain_can_halt(chain: FakeChain, port: FakePort) -> None:
    chain.mine(5)
    port.faults.lag = 2
    assert (await port.tip()).block.height == 3
    port.faults.down = True
    with pytest.raises(PortUnavailableError):
        await port.tip()
    chain.faults.halted = True
    chain.mine(5)
    assert chain.head.height == 5


async def test_a_token_needs_its_approval_first(chain: FakeChain, port: FakePort) -> None:
    chain.credit("bridge", TOKEN, 10**6)
    (approval,) = await port.setup_actions([ZION, TOKEN])
    lock = LockAction(_terms(chain, asset=TOKEN))
    with pytest.raises(ActionRefusedError):
        await port.prepare(lock, 0, FeeLevel())
    await port.broadcast(await port.prepare(approval, 0, FeeLevel()))
    chain.mine()
    assert await port.setup_actions([TOKEN]) == ()
    await port.prepare(lock, 1, FeeLevel())


async def test_an_account_without_money_signs_nothing(chain: FakeChain) -> None:
    with pytest.raises(InsufficientFundsError):
        await FakePort(chain, "poor").prepare(CancelAction(), 0, FeeLevel())


async def test_transactions_expire_on_a_chain_that_has_no_sequences(chain: FakeChain) -> None:
    made = FakeChain(instances.ZION, ZION, sequences=False, expiry_blocks=2)
    made.credit("bridge", ZION, 10**9)
    port = FakePort(made, "bridge")
    made.faults.drop_broadcasts = 1
    tx = await _lock(port, None)
    made.mine(3)
    assert tx.valid_until_height == 2
    assert (await port.tx_status(tx)).state is TxState.UNKNOWN
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.REJECTED
