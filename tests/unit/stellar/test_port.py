"""What only Stellar's port does, beside the conformance suite: issuers, archived entries, history."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import msgspec
import pytest
from stellar_sdk import Asset as StellarAsset
from stellar_sdk import ManageData, SetTrustLineFlags, TrustLineFlags, xdr

from bridge.chains.actions import CancelAction, ClaimAction, LockAction, RefundAction
from bridge.chains.endpoints.answers import EndpointError
from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.endpoints.selection import Rules
from bridge.chains.errors import (
    ActionRefusedError,
    CannotReceiveError,
    InsufficientFundsError,
    PortError,
    PortUnavailableError,
    TooDearError,
)
from bridge.chains.issuer_powers import IssuerPower
from bridge.chains.port import (
    BroadcastOutcome,
    Claimed,
    FeeLevel,
    Locked,
    LockStatus,
    Refunded,
    Revealed,
    TxState,
)
from bridge.chains.recent_blocks import block_at
from bridge.protocol.types import Address, BlockHeight, Preimage
from relayers.stellar.adapter import StellarPort, open_port
from relayers.stellar.assets import to_stellar
from relayers.stellar.devnet.soroban.rpc import RpcServer
from relayers.stellar.ledgers import ANCESTRY
from relayers.stellar.reading import inner_envelope
from relayers.stellar.rpc import LAG_LEDGERS, open_rpc
from relayers.stellar.settings import FeeCaps
from tests import instances
from tests.unit.stellar.conftest import SECRET, Net


async def test_everything_the_bridge_signs_has_an_end(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    tx = await net.sent(ours, LockAction(net.terms(ours, theirs)))
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
    tx = await ours.prepare(LockAction(net.terms(ours, theirs)), await ours.next_sequence(), FeeLevel())
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
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())


async def test_a_sequence_ahead_of_its_time_waits_for_the_one_before(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    sequence = await ours.next_sequence() or 0
    second = await ours.prepare(LockAction(net.terms(ours, theirs)), sequence + 1, FeeLevel())
    told = await ours.broadcast(second)
    assert (told.outcome, "earlier sequence" in told.reason) == (BroadcastOutcome.LATER, True)
    await net.done(ours, CancelAction())
    assert (await ours.broadcast(second)).outcome is BroadcastOutcome.ACCEPTED
    await net.node.close()
    assert (await ours.tx_status(second)).state is TxState.INCLUDED


async def test_a_recipient_without_trustline_is_refused_before_anything_is_locked(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    usd = await net.asset("issuer", "ours")
    terms = net.terms(ours, theirs, asset=usd)
    with pytest.raises(ActionRefusedError, match="cannot receive USD") as refusal:
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())
    assert "trustline" in refusal.value.hint


async def test_a_recipient_who_does_not_exist_needs_enough_to_be_created(net: Net, ours: StellarPort) -> None:
    nobody = net.key("nobody").public_key
    few = net.terms(ours, nobody, amount=9_999_999)
    sequence = await ours.next_sequence()
    with pytest.raises(ActionRefusedError, match="does not exist"):
        await ours.prepare(LockAction(few), sequence, FeeLevel())
    await net.done(ours, LockAction(net.terms(ours, nobody, amount=10_000_000)))


async def test_a_trustline_is_a_set_up_action_and_is_opened_once(net: Net) -> None:
    usd = await net.asset("issuer")
    ours = await net.port("ours", usd)
    (action,) = await ours.setup_actions([usd])
    await net.done(ours, action)
    assert await ours.setup_actions([usd]) == ()


async def test_a_restarted_port_knows_claims_and_refunds_of_locks_it_never_saw(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    claimed, refunded = net.terms(ours, theirs), net.terms(theirs, ours, lifetime=500)
    await net.done(ours, LockAction(claimed))
    await net.done(theirs, LockAction(refunded))
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


async def test_an_issued_asset_goes_the_whole_way(net: Net, ours: StellarPort, theirs: StellarPort) -> None:
    usd = await net.asset("issuer", "ours", "theirs")
    terms = net.terms(ours, theirs, asset=usd)
    await net.done(ours, LockAction(terms))
    await net.done(theirs, ClaimAction(terms, SECRET))
    assert await ours.balance(theirs.account, usd) == 110 * 10**7
    assert await ours.balance(ours.account, usd) == 90 * 10**7
    too_much = net.terms(ours, theirs, asset=usd, amount=91 * 10**7)
    with pytest.raises(InsufficientFundsError, match="USD"):
        await ours.prepare(LockAction(too_much), await ours.next_sequence(), FeeLevel())
    assert to_stellar(usd).code == "USD"


async def test_fee_bumps_end_at_the_cap(net: Net, ours: StellarPort, theirs: StellarPort) -> None:
    terms = net.terms(ours, theirs)
    sequence = await ours.next_sequence()
    level = FeeLevel()
    rates = []
    for attempt in range(1, 6):
        tx = await ours.prepare(LockAction(terms), sequence, level)
        rates.append(tx.fee["rate"])
        level = FeeLevel(attempt, tx.fee)
    assert rates == [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
    with pytest.raises(ActionRefusedError, match="cap"):
        await ours.prepare(LockAction(terms), sequence, level)


async def test_a_multiplexed_address_is_refused_with_a_hint(ours: StellarPort) -> None:
    with pytest.raises(PortError, match="multiplexed"):
        ours.parse_address("MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAAAAAAAACJUQ")


async def test_a_preimage_longer_than_the_ledger_takes_cannot_even_be_made() -> None:
    with pytest.raises(ValueError, match="64"):
        Preimage(bytes(65))


async def test_a_lock_is_made_once_even_after_it_was_refunded_or_claimed(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    refunded = net.terms(ours, theirs, lifetime=1000)
    await net.done(ours, LockAction(refunded))
    await net.node.advance(1000)
    await net.done(ours, RefundAction(refunded))
    claimed = net.terms(ours, theirs)
    await net.done(ours, LockAction(claimed))
    await net.done(theirs, ClaimAction(claimed, SECRET))
    for terms in (refunded, claimed):
        with pytest.raises(ActionRefusedError):
            await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())


async def test_the_wrong_network_and_the_wrong_contract_are_noticed_at_once(net: Net) -> None:
    good = net.settings()
    foreign = msgspec.structs.replace(good, passphrase="another network")
    for settings, words in (
        (foreign, "serves the network"),
        (msgspec.structs.replace(good, contract="C" + "A" * 51 + "D2KM"), "no contract"),
        (
            msgspec.structs.replace(good, contract=StellarAsset.native().contract_id(net.passphrase)),
            "not this version's",
        ),
    ):
        wrong = open_port(settings, bytes(range(32)))
        with pytest.raises(PortError, match=words):
            await wrong.tip()
        await wrong.close()


@pytest.mark.parametrize(("flags", "power"), [(1, "authorise"), (2, "freeze"), (2 | 8, "clawback")])
async def test_an_issuer_with_powers_is_refused_until_the_operator_accepts_them_by_name(
    net: Net, ours: StellarPort, theirs: StellarPort, flags: int, power: str
) -> None:
    usd = await net.asset("issuer", "ours", "theirs")
    terms = net.terms(theirs, ours, asset=usd)
    await net.done(theirs, LockAction(terms))
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    await net.asset("issuer", flags=flags)
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.UNKNOWN
    new = net.terms(ours, theirs, asset=usd)
    for refused in (
        ours.prepare(LockAction(new), await ours.next_sequence(), FeeLevel()),
        ours.fees(usd),
        ours.setup_actions([usd]),
    ):
        with pytest.raises(ActionRefusedError, match=power):
            await refused
    # What is locked already is claimed all the same.
    await net.done(ours, ClaimAction(terms, SECRET))
    accepted = frozenset(IssuerPower) if flags > 2 else frozenset({IssuerPower(power)})
    trusting = await net.port("ours", usd, more={"powers": {usd.contract: accepted}})
    await net.done(trusting, LockAction(new))
    assert await trusting.read_lock(trusting.lock_id(new), new) is LockStatus.OPEN


async def test_a_frozen_contract_makes_no_lock_look_open(net: Net) -> None:
    for name in ("ours", "theirs"):
        await net.port(name)
    usd = await net.asset("issuer", "ours", "theirs", flags=2)
    trusting = {"powers": {usd.contract: frozenset({IssuerPower.FREEZE})}}
    theirs = await net.port("theirs", usd, more=trusting)
    reader = await net.port("ours", usd, more=trusting)
    terms = net.terms(theirs, reader, asset=usd)
    await net.done(theirs, LockAction(terms))
    assert await reader.read_lock(reader.lock_id(terms), terms) is LockStatus.OPEN
    await net.freeze("issuer", usd)
    assert await reader.read_lock(reader.lock_id(terms), terms) is LockStatus.UNKNOWN
    with pytest.raises(ActionRefusedError):
        await reader.prepare(ClaimAction(terms, SECRET), await reader.next_sequence(), FeeLevel())


async def test_recipients_that_cannot_be_paid_are_told_apart_before_anything_is_locked(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    usd = await net.asset("issuer", "ours", "theirs")
    nobody = net.key("nobody").public_key
    await ours.check_receiver(theirs.account, usd)
    await ours.check_receiver(ours.parse_address(nobody), net.settings().native)
    with pytest.raises(CannotReceiveError, match="no such account"):
        await ours.check_receiver(ours.parse_address(nobody), usd)
    await net.send("theirs", [ManageData("config.memo_required", "1")])
    for asset in (usd, net.settings().native):
        with pytest.raises(CannotReceiveError, match="memo"):
            await ours.check_receiver(theirs.account, asset)
    with pytest.raises(ActionRefusedError, match="memo"):
        await ours.prepare(LockAction(net.terms(ours, theirs)), await ours.next_sequence(), FeeLevel())
    await net.send("theirs", [ManageData("config.memo_required", "0")])
    await ours.check_receiver(theirs.account, usd)
    await net.asset("issuer", flags=2)
    dollar = to_stellar(usd)
    flags = TrustLineFlags.AUTHORIZED_FLAG
    await net.send("issuer", [SetTrustLineFlags(theirs.account, dollar, clear_flags=flags)])
    with pytest.raises(CannotReceiveError, match="not authorised"):
        await ours.check_receiver(theirs.account, usd)


async def test_a_claim_creates_the_account_of_a_recipient_who_has_none(net: Net, ours: StellarPort) -> None:
    nobody = net.key("nobody").public_key
    terms = net.terms(ours, nobody, amount=10_000_000)
    await net.done(ours, LockAction(terms))
    await net.done(ours, ClaimAction(terms, SECRET))
    assert net.node.network.state.has_account(net.key("nobody").raw_public_key())


async def test_what_history_does_not_reach_is_unknown_and_never_absent(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    spent, never = net.terms(ours, theirs), net.terms(ours, theirs, lifetime=7_000)
    made = await net.done(ours, LockAction(spent))
    await net.done(theirs, ClaimAction(spent, SECRET))
    for _ in range(12):
        await net.node.close()
    assert await ours.read_lock(ours.lock_id(spent), spent) is LockStatus.CLAIMED
    assert await ours.read_lock(ours.lock_id(never), never) is LockStatus.ABSENT
    net.node.rpc_retention = 10
    oldest = net.node.network.header.sequence - 9
    for terms in (spent, never):
        assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.UNKNOWN
    for since, status in ((oldest - 1, LockStatus.ABSENT), (oldest - 2, LockStatus.UNKNOWN)):
        told = await ours.read_lock(ours.lock_id(never), never, since=BlockHeight(since))
        assert told is status
    assert (await ours.tx_status(made)).state is TxState.UNSURE
    lost = await ours.prepare(LockAction(never), await ours.next_sequence(), FeeLevel())
    for height, state in ((oldest - 2, TxState.UNSURE), (oldest - 1, TxState.UNKNOWN)):
        stored = msgspec.structs.replace(lost, signed_height=BlockHeight(height))
        assert (await ours.tx_status(stored)).state is state


async def test_a_lock_of_another_contract_is_never_said_to_be_absent(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs)
    await net.done(ours, LockAction(terms))
    token = Address(StellarAsset.native().contract_id(net.passphrase))
    for other in (token, Address("")):
        elsewhere = msgspec.structs.replace(terms, contract=other)
        with pytest.raises(ActionRefusedError, match="ours is") as refusal:
            await ours.read_lock(ours.lock_id(terms), elsewhere)
        assert "configuration" in refusal.value.hint
    elsewhere = msgspec.structs.replace(terms, contract=token)
    with pytest.raises(ActionRefusedError, match="ours is"):
        await ours.read_lock(ours.lock_id(elsewhere), elsewhere, agreed=True)


async def test_a_scan_that_begins_before_what_an_endpoint_keeps_is_no_empty_scan(
    net: Net, ours: StellarPort
) -> None:
    ring = (await ours.tip()).block
    for _ in range(12):
        await net.node.close()
    net.node.rpc_retention = 5
    with pytest.raises(PortUnavailableError, match="keeps ledgers from"):
        await ours.scan([ring], 100)


async def test_a_young_network_is_read_from_its_first_ledger_at_once(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    """A new relayer starts 64 ledgers below the head: that may be before the genesis."""
    await net.done(ours, LockAction(net.terms(ours, theirs)))
    assert net.node.network.header.sequence < 64
    fresh = await net.port("ours")
    for height in (0, 1):
        scan = await fresh.scan([block_at(height)], 100)
        assert [each.height for each in scan.blocks] == [*range(2, net.node.network.header.sequence + 1)]
        assert len([each for each in scan.events if isinstance(each, Locked)]) == 1
    net.node.rpc_retention = 5
    with pytest.raises(PortUnavailableError, match="what was seen last is older"):
        await fresh.scan([block_at(1)], 100)


async def test_an_archived_lock_is_open_and_its_claim_restores_it(net: Net) -> None:
    net.node.network.settings = replace(net.node.network.settings, min_persistent_ttl=40, max_ttl=60)
    ours, theirs = await net.port("ours"), await net.port("theirs")
    terms = net.terms(ours, theirs)
    await net.done(ours, LockAction(terms))
    ring = (await ours.tip()).block
    for _ in range(70):
        await net.node.close()
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    claim = await theirs.prepare(ClaimAction(terms, SECRET), await theirs.next_sequence(), FeeLevel())
    inner = inner_envelope(xdr.TransactionEnvelope.from_xdr_bytes(claim.raw))
    assert inner is not None
    assert inner.tx.ext.soroban_data is not None
    restored = inner.tx.ext.soroban_data.ext.resource_ext
    assert restored is not None
    assert restored.archived_soroban_entries
    before = await ours.balance(theirs.account, terms.asset)
    assert (await theirs.broadcast(claim)).outcome is BroadcastOutcome.ACCEPTED
    await net.node.close()
    assert (await theirs.tx_status(claim)).state is TxState.INCLUDED
    assert await ours.balance(theirs.account, terms.asset) > before
    (event,) = (await ours.scan([ring], 100)).events
    assert isinstance(event, Claimed)
    cheap = open_port(net.settings(caps=FeeCaps(resources=20_000)), bytes(range(32)))
    net.node.fund(cheap.account, 10**9)
    await net.node.close()
    with pytest.raises(TooDearError):
        await cheap.prepare(LockAction(net.terms(cheap, theirs)), await cheap.next_sequence(), FeeLevel())
    await cheap.close()


async def test_strangers_claims_cost_no_request_each(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    names = [f"stranger {number}" for number in range(6)]
    strangers = [await net.port(name) for name in names]
    ring = (await ours.tip()).block
    locks = [net.terms(port, theirs, preimage=Preimage(bytes([at]))) for at, port in enumerate(strangers)]
    for port, terms in zip(strangers, locks, strict=True):
        await net.sent(port, LockAction(terms))
    await net.node.close()
    for at, (port, terms) in enumerate(zip(strangers, locks, strict=True)):
        await net.sent(port, ClaimAction(terms, Preimage(bytes([at]))))
    await net.node.close()
    before = net.requests
    scan = await ours.scan([ring], 100)
    assert [type(each) for each in scan.events] == [Locked] * 6 + [Claimed] * 6
    assert net.requests - before <= 8


async def test_a_failed_claim_shows_its_preimage_and_the_lock_stays_open(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs)
    await net.done(ours, LockAction(terms))
    ring = (await ours.tip()).block
    claim = await theirs.prepare(ClaimAction(terms, SECRET), await theirs.next_sequence(), FeeLevel())
    starved = net.starved(claim, "theirs")
    await net.submit_failing(starved)
    shown = {each.preimage for each in (await ours.scan([ring], 10)).events if isinstance(each, Revealed)}
    assert SECRET in shown
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN


async def test_two_endpoints_must_agree_where_two_are_configured(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs)
    await net.done(ours, LockAction(terms))
    silent = msgspec.structs.replace(net.settings(), rpc_urls=(net.url, "http://127.0.0.1:9"))
    doubtful = open_port(silent, bytes(range(32)))
    lock = doubtful.lock_id(terms)
    assert await doubtful.read_lock(lock, terms) is LockStatus.OPEN
    assert await doubtful.read_lock(lock, terms, agreed=True) is LockStatus.UNKNOWN
    twice = open_port(msgspec.structs.replace(net.settings(), rpc_urls=(net.url, net.url)), bytes(range(32)))
    assert await twice.read_lock(lock, terms, agreed=True) is LockStatus.OPEN
    for port in (doubtful, twice):
        await port.close()


@pytest.mark.parametrize("tells_when", [True, False])
async def test_an_endpoint_whose_newest_ledger_is_old_is_left_whatever_its_version(
    net: Net, monkeypatch: pytest.MonkeyPatch, tells_when: bool
) -> None:
    closed_at = net.node.network.header.close_time
    if tells_when:
        plain = RpcServer._health
        more = {"latestLedgerCloseTime": str(closed_at)}
        monkeypatch.setattr(RpcServer, "_health", lambda self, params: plain(self, params) | more)
    for age, left in ((100, False), (101, True)):
        rules, clock = Rules(lag=LAG_LEDGERS, max_age=100, patience=0), partial(float, closed_at + age)
        rpc = open_rpc((net.url,), 30.0, instances.STELLAR, rules=rules, clock=clock)
        (report,) = await rpc.examine()
        assert bool(report.trouble) is left, report
        await rpc.close()


async def test_an_endpoint_that_is_ahead_shows_the_ledgers_of_the_other_one(net: Net) -> None:
    for _ in range(8):
        await net.node.close()
    rpc = open_rpc((net.url,), 30.0, instances.STELLAR)

    async def look(one: OneEndpoint) -> None:
        newest = await ANCESTRY.recent(one)
        heights = [block.height for block in newest]
        assert heights[:3] == [heights[0], heights[0] - 1, heights[0] - 5]
        assert await ANCESTRY.backs(one, one) is True
        forged = msgspec.structs.replace(newest[0], id="00" * 32)
        assert not await ANCESTRY.shows(one, forged)
        beyond = msgspec.structs.replace(newest[0], height=BlockHeight(heights[0] + 1))
        with pytest.raises(EndpointError):
            await ANCESTRY.shows(one, beyond)

    await rpc.pinned(look)
    await rpc.close()
