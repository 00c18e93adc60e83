"""What only Stellar's port does, beside the conformance suite: gates, trustlines, issuers, closing."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from stellar_sdk import (
    Account,
    Asset,
    FeeBumpTransactionEnvelope,
    Payment,
    TransactionBuilder,
    TransactionEnvelope,
    xdr,
)

from bridge.chains.actions import Action, CancelAction, ClaimAction, CloseAction, LockAction, RefundAction
from bridge.chains.errors import ActionRefusedError, InsufficientFundsError, NothingToDoError, PortError
from bridge.chains.port import (
    BroadcastOutcome,
    Claimed,
    FeeLevel,
    LockStatus,
    Refunded,
    Revealed,
    SignedTx,
    TxState,
)
from bridge.protocol.types import LockTerms, Preimage
from relayers.stellar import htlc
from relayers.stellar.adapter import StellarPort, open_port
from relayers.stellar.assets import to_stellar
from tests.unit.stellar.conftest import SECRET, Net


def _lock(port: StellarPort, terms: LockTerms) -> Action:
    return LockAction(terms)


async def test_everything_the_bridge_signs_has_an_end(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    tx = await net.sent(ours, _lock(ours, net.terms(ours, theirs)))
    head = net.node.network.header.close_time
    assert tx.valid_until_time == head + 180
    await net.node.close(head + 181)
    status = await ours.tx_status(tx)
    assert status.state is TxState.UNKNOWN
    assert "can never land" in status.reason
    assert (await ours.broadcast(tx)).outcome is BroadcastOutcome.REJECTED
    for _ in range(10):
        await net.node.close()
    assert (await ours.broadcast(tx)).outcome is BroadcastOutcome.REJECTED


async def test_what_a_node_finds_too_late_is_rejected_and_not_given_up_before_its_time(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    tx = await ours.prepare(_lock(ours, net.terms(ours, theirs)), await ours.next_sequence(), FeeLevel())
    assert tx.valid_until_time is not None
    await net.node.close(tx.valid_until_time - 5)
    told = await ours.broadcast(tx)
    assert (told.outcome, "txTOO_LATE" in told.reason) == (BroadcastOutcome.REJECTED, True)
    status = await ours.tx_status(tx)
    assert (status.state, status.reason) == (TxState.UNKNOWN, ""), "another node may have taken it"
    await net.node.close(tx.valid_until_time + 1)
    assert "can never land" in (await ours.tx_status(tx)).reason


async def test_a_lane_is_refused_for_nothing_on_the_ledger_would_tell_of_it(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = msgspec.structs.replace(net.terms(ours, theirs), lane=1)
    with pytest.raises(ActionRefusedError, match="lanes"):
        await ours.prepare(_lock(ours, terms), await ours.next_sequence(), FeeLevel())


async def test_a_sequence_ahead_of_its_time_waits_for_the_one_before(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    sequence = await ours.next_sequence() or 0
    second = await ours.prepare(_lock(ours, net.terms(ours, theirs)), sequence + 1, FeeLevel())
    told = await ours.broadcast(second)
    assert (told.outcome, "earlier sequence" in told.reason) == (BroadcastOutcome.LATER, True)
    await net.done(ours, CancelAction())
    assert (await ours.broadcast(second)).outcome is BroadcastOutcome.ACCEPTED
    await net.node.close()
    assert (await ours.tx_status(second)).state is TxState.INCLUDED


async def test_a_full_pool_asks_for_a_better_bid_and_takes_it(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    names = [f"crowd {n}" for n in range(4)]
    for name in names:
        net.node.fund(net.key(name).public_key, 100 * 10**7)
        await net.node.close()
    low = await ours.prepare(_lock(ours, net.terms(ours, theirs)), await ours.next_sequence(), FeeLevel())
    net.node.network.state.header = replace(net.node.network.header, max_tx_set_size=10)
    for name in names:
        await _crowd(net, name, [Payment(ours.account, Asset.native(), "0.0000001")] * 5)
    assert (await ours.broadcast(low)).outcome is BroadcastOutcome.UNDERPRICED
    high = await ours.prepare(_lock(ours, net.terms(ours, theirs)), low.sequence, FeeLevel(1, low.fee))
    while high.fee["rate"] <= 40_000:
        high = await ours.prepare(_lock(ours, net.terms(ours, theirs)), low.sequence, FeeLevel(1, high.fee))
    assert (await ours.broadcast(high)).outcome is BroadcastOutcome.ACCEPTED
    await net.node.close()
    assert (await ours.tx_status(high)).state is TxState.INCLUDED


async def test_a_recipient_without_trustline_is_refused_before_anything_is_locked(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    usd = await net.asset("issuer", "ours")
    terms = net.terms(ours, theirs, asset=usd)
    with pytest.raises(ActionRefusedError, match="cannot receive USD") as refusal:
        await ours.prepare(_lock(ours, terms), await ours.next_sequence(), FeeLevel())
    assert "trustline" in refusal.value.hint


async def test_a_recipient_who_does_not_exist_needs_enough_to_be_created(net: Net, ours: StellarPort) -> None:
    nobody = net.key("nobody").public_key
    few = net.terms(ours, nobody, amount=9_999_999)
    sequence = await ours.next_sequence()
    with pytest.raises(ActionRefusedError, match="does not exist"):
        await ours.prepare(_lock(ours, few), sequence, FeeLevel())
    await net.done(ours, _lock(ours, net.terms(ours, nobody, amount=10_000_000)))


@pytest.mark.parametrize("flags", [1, 2, 2 | 8])
async def test_an_issuer_that_could_freeze_is_refused_at_the_start_and_at_every_lock(
    net: Net, ours: StellarPort, theirs: StellarPort, flags: int
) -> None:
    usd = await net.asset("issuer", "ours", "theirs")
    terms = net.terms(theirs, ours, asset=usd)
    await net.done(theirs, _lock(theirs, terms))
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    net_flags = await net.asset("issuer", flags=flags)
    assert net_flags == usd
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.ABSENT
    with pytest.raises(ActionRefusedError, match="issuer has set"):
        await ours.prepare(
            _lock(ours, net.terms(ours, theirs, asset=usd)), await ours.next_sequence(), FeeLevel()
        )
    late = await net.port("late", usd)
    with pytest.raises(PortError, match="cannot be dealt in"):
        await late.tip()


async def test_the_wrong_network_is_noticed_at_once(net: Net) -> None:
    settings = net.settings()
    wrong = open_port(type(settings)(settings.horizon_url), bytes(range(32)))
    with pytest.raises(PortError, match="serves the network"):
        await wrong.tip()
    await wrong.close()


async def test_a_trustline_is_a_set_up_action_and_is_opened_once(net: Net) -> None:
    usd = await net.asset("issuer")
    ours = await net.port("ours", usd)
    (action,) = await ours.setup_actions([usd])
    await net.done(ours, action)
    assert await ours.setup_actions([usd]) == ()


async def test_the_same_lock_can_never_be_made_twice_even_after_it_was_refunded(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs, lifetime=1000)
    first = await ours.prepare(_lock(ours, terms), await ours.next_sequence(), FeeLevel())
    assert first.sequence is not None
    second = await ours.prepare(_lock(ours, terms), first.sequence + 1, FeeLevel())
    await ours.broadcast(first)
    await net.node.close()
    refused = await ours.broadcast(second)
    assert (refused.outcome, "opBAD_AUTH" in refused.reason) == (BroadcastOutcome.REJECTED, True)
    await net.node.advance(1000)
    await net.done(ours, RefundAction(terms))
    with pytest.raises(ActionRefusedError):
        await ours.prepare(_lock(ours, terms), await ours.next_sequence(), FeeLevel())


async def test_a_failed_claim_shows_the_preimage_to_whoever_looks(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs)
    await net.done(ours, _lock(ours, terms))
    assert await ours.revealed(terms) is None
    tx = await theirs.prepare(ClaimAction(terms, SECRET), 1, FeeLevel())
    inner = _inner(tx, net.passphrase)
    before = (await ours.tip()).block
    inner.transaction.operations = [
        *inner.transaction.operations,
        Payment(ours.account, Asset.native(), "100000"),
    ]
    account = net.node.network.state.peek(("account", net.key("theirs").raw_public_key()))
    inner.transaction.sequence = account.sequence + 1
    del inner.signatures[:]
    htlc.sign_claim(inner, net.key("theirs"), SECRET)
    net.node.submit(htlc.bump(inner, net.key("theirs"), 1000).to_xdr_object())
    await net.node.close()
    assert not net.node.network.ledgers[-1].transactions[0].result.succeeded
    assert await ours.revealed(terms) == SECRET
    (shown,) = (await ours.scan([before], 10)).events
    assert isinstance(shown, Revealed)
    assert shown.preimage == SECRET
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN


def _inner(tx: SignedTx, passphrase: str) -> TransactionEnvelope:
    envelope = xdr.TransactionEnvelope.from_xdr_bytes(tx.raw)
    outer = FeeBumpTransactionEnvelope.from_xdr_object(envelope, passphrase)
    return outer.transaction.inner_transaction_envelope


async def test_a_restarted_port_knows_claims_and_refunds_of_locks_it_never_saw(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    claimed, refunded = net.terms(ours, theirs), net.terms(theirs, ours, lifetime=500)
    await net.done(ours, _lock(ours, claimed))
    await net.done(theirs, _lock(theirs, refunded))
    ring = (await ours.tip()).block
    claim = await net.done(theirs, ClaimAction(claimed, SECRET))
    await net.node.advance(600)
    refund = await net.done(theirs, RefundAction(refunded))
    fresh = await net.port("ours")
    events = (await fresh.scan([ring], 100)).events
    assert [type(each) for each in events] == [Claimed, Refunded]
    assert [each.tx_id for each in events] == [claim.tx_id, refund.tx_id]
    assert [each.lock_id for each in events if not isinstance(each, Revealed)] == [
        ours.lock_id(claimed),
        ours.lock_id(refunded),
    ]


async def test_the_fate_of_a_lock_whose_gate_is_gone_is_found_in_the_senders_history(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(theirs, ours, lifetime=500)
    await net.done(theirs, _lock(theirs, terms))
    await net.node.advance(600)
    await net.done(theirs, RefundAction(terms))
    for _ in range(htlc.SEQUENCE_LEDGERS):
        await net.node.close()
    closing = await theirs.prepare(CloseAction(terms), None, FeeLevel())
    await theirs.broadcast(closing)
    await net.node.close()
    assert (await theirs.tx_status(closing)).state is TxState.INCLUDED
    with pytest.raises(NothingToDoError):
        await theirs.prepare(CloseAction(terms), None, FeeLevel())
    fresh = await net.port("ours")
    assert await fresh.read_lock(fresh.lock_id(terms), terms) is LockStatus.REFUNDED


async def test_the_recipient_closes_a_claimed_gate_and_gains_its_deposit(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(theirs, ours)
    await net.done(theirs, _lock(theirs, terms))
    with pytest.raises(ActionRefusedError, match="yet"):
        await ours.prepare(CloseAction(terms), None, FeeLevel())
    await net.done(ours, ClaimAction(terms, SECRET))
    with pytest.raises(ActionRefusedError, match="yet"):
        await ours.prepare(CloseAction(terms), None, FeeLevel())
    for _ in range(htlc.SEQUENCE_LEDGERS):
        await net.node.close()
    before = await ours.balance(ours.account, terms.asset)
    closing = await ours.prepare(CloseAction(terms), None, FeeLevel())
    await ours.broadcast(closing)
    await net.node.close()
    gained = await ours.balance(ours.account, terms.asset) - before
    assert gained == htlc.deposit(terms) - 200


async def test_an_issued_asset_goes_the_whole_way(net: Net, ours: StellarPort, theirs: StellarPort) -> None:
    usd = await net.asset("issuer", "ours", "theirs")
    terms = net.terms(ours, theirs, asset=usd)
    await net.done(ours, _lock(ours, terms))
    await net.done(theirs, ClaimAction(terms, SECRET))
    assert await ours.balance(theirs.account, usd) == 110 * 10**7
    assert await ours.balance(ours.account, usd) == 90 * 10**7
    too_much = net.terms(ours, theirs, asset=usd, amount=91 * 10**7)
    with pytest.raises(InsufficientFundsError, match="USD"):
        await ours.prepare(_lock(ours, too_much), await ours.next_sequence(), FeeLevel())
    assert to_stellar(usd).code == "USD"


async def test_fee_bumps_end_at_the_cap(net: Net, ours: StellarPort, theirs: StellarPort) -> None:
    terms = net.terms(ours, theirs)
    sequence = await ours.next_sequence()
    level = FeeLevel()
    rates = []
    for attempt in range(1, 6):
        tx = await ours.prepare(_lock(ours, terms), sequence, level)
        rates.append(tx.fee["rate"])
        level = FeeLevel(attempt, tx.fee)
    assert rates == [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
    with pytest.raises(ActionRefusedError, match="cap"):
        await ours.prepare(_lock(ours, terms), sequence, level)


async def test_under_surge_pricing_we_outbid_the_crowd(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    quiet = await ours.prepare(_lock(ours, net.terms(ours, theirs)), 1, FeeLevel())
    names = [f"crowd {n}" for n in range(50)]
    for name in names:
        net.node.fund(net.key(name).public_key, 100 * 10**7)
        await net.node.close()
    net.node.network.state.header = replace(net.node.network.header, max_tx_set_size=120)
    payments = [Payment(ours.account, Asset.native(), "0.0000001")] * 5
    for _ in range(5):
        for name in names[:24]:
            await _crowd(net, name, payments)
        await net.node.close()
    crowded = await ours.prepare(_lock(ours, net.terms(ours, theirs)), 1, FeeLevel())
    assert quiet.fee["rate"] == 1_000
    assert crowded.fee["rate"] == 2 * 40_000


async def _crowd(net: Net, name: str, operations: list[Payment]) -> None:
    key = net.key(name)
    entry = net.node.network.state.peek(("account", key.raw_public_key()))
    builder = TransactionBuilder(Account(key.public_key, entry.sequence), net.passphrase, base_fee=40_000)
    for operation in operations:
        builder.append_operation(operation)
    envelope = builder.add_time_bounds(0, 0).build()
    envelope.sign(key)
    net.node.submit(envelope.to_xdr_object())


async def test_a_multiplexed_address_is_refused_with_a_hint(ours: StellarPort) -> None:
    with pytest.raises(PortError, match="multiplexed"):
        ours.parse_address("MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAAAAAAAACJUQ")


async def test_a_preimage_longer_than_the_ledger_takes_cannot_even_be_made() -> None:
    with pytest.raises(ValueError, match="64"):
        Preimage(bytes(65))


async def test_a_flood_of_dust_hides_no_preimage(net: Net, ours: StellarPort, theirs: StellarPort) -> None:
    terms = net.terms(theirs, ours)
    await net.done(theirs, _lock(theirs, terms))
    block = (await ours.tip()).block
    (gate,) = [each for each in await ours._locks.find(terms) if each.terms == terms]
    for _ in range(201):
        await net.send("theirs", [Payment(gate.address, Asset.native(), "0.0000001")])
    await net.done(ours, ClaimAction(terms, SECRET))
    fresh = await net.port("ours")
    assert await fresh.revealed(terms) == SECRET
    assert await fresh.read_lock(fresh.lock_id(terms), terms) is LockStatus.CLAIMED
    assert [type(each) for each in (await fresh.scan([block], 300)).events] == [Claimed]
