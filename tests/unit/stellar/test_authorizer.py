"""Gasless claims: what the recipient signs serves the claim and nothing else, and until the end."""

from __future__ import annotations

import msgspec
import pytest
from stellar_sdk import (
    AccountMerge,
    Asset,
    BumpSequence,
    ChangeTrust,
    CreateAccount,
    Network,
    Payment,
    TimeBounds,
    Transaction,
    TransactionEnvelope,
)

from bridge.chains.actions import Action, CancelAction, ClaimAction, CloseAction, LockAction, RefundAction
from bridge.chains.errors import (
    ActionRefusedError,
    BadAuthorizationError,
    CannotReceiveError,
    InsufficientFundsError,
    NothingToDoError,
)
from bridge.chains.port import (
    Authorizer,
    BroadcastOutcome,
    Claimed,
    FeeLevel,
    LockStatus,
    SignedTx,
    TxState,
    UnsignedTx,
)
from bridge.protocol.types import Address, Amount, LockTerms
from relayers.stellar import authorized, htlc
from relayers.stellar.adapter import StellarPort
from relayers.stellar.assets import to_stellar
from relayers.stellar.authorized import Way
from relayers.stellar.authorizer import FIRST, FORMAT, SECOND
from relayers.stellar.settings import XLM
from relayers.stellar.wallet import StellarWallet
from tests.unit.stellar.conftest import SECRET, Net


def side(port: StellarPort) -> Authorizer:
    assert port.authorizer is not None
    return port.authorizer


async def authorisation(ours: StellarPort, theirs: StellarPort, terms: LockTerms) -> bytes:
    signed = await side(theirs).sign(terms, await side(ours).request(terms, Amount(0)), Amount(0))
    return await side(ours).check(terms, signed)


def claim(terms: LockTerms, authorization: bytes) -> Action:
    return ClaimAction(terms, SECRET, authorization=authorization)


async def land(net: Net, port: StellarPort, action: Action) -> SignedTx:
    tx = await port.prepare(action, None, FeeLevel())
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await net.node.close()
    return tx


async def locked(net: Net, ours: StellarPort, terms: LockTerms) -> LockTerms:
    await net.done(ours, LockAction(terms))
    return terms


async def gate_of(port: StellarPort, terms: LockTerms) -> htlc.Gate:
    (gate,) = await port._locks.find(terms)
    return gate


def _bounds(transaction: Transaction) -> TimeBounds:
    conditions = transaction.preconditions
    assert conditions is not None
    assert conditions.time_bounds is not None
    return conditions.time_bounds


async def pass_gate_sequence(net: Net) -> None:
    for _ in range(htlc.SEQUENCE_LEDGERS + 1):
        await net.node.close()


# The ordinary way


async def test_a_recipient_without_an_account_is_paid_the_amount_and_the_deposit_and_never_needs_xlm(
    net: Net,
) -> None:
    ours, theirs = await net.port("ours"), await net.port("newcomer", xlm=0)
    start = await ours.balance(ours.account, XLM)
    terms = await locked(net, ours, net.terms(ours, theirs))
    block = (await ours.tip()).block
    kept = await authorisation(ours, theirs, terms)
    tx = await land(net, ours, claim(terms, kept))
    status = await ours.tx_status(tx)
    assert (status.state, tx.sequence) == (TxState.INCLUDED, None)
    assert [type(each) for each in (await ours.scan([block], 9)).events] == [Claimed]
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.CLAIMED
    with pytest.raises(ActionRefusedError, match="yet"):
        await ours.prepare(CloseAction(terms), None, FeeLevel())
    await pass_gate_sequence(net)
    await land(net, ours, CloseAction(terms))
    newcomer = net.node.network.state.peek(("account", net.key("newcomer").raw_public_key()))
    assert newcomer.balance == terms.amount + htlc.deposit(terms)
    with pytest.raises(NothingToDoError):
        await ours.prepare(CloseAction(terms), None, FeeLevel())
    fees = 700 + 500 + 200
    assert await ours.balance(ours.account, XLM) == start - terms.amount - htlc.deposit(terms) - fees
    estimate = await ours.fees(XLM)
    assert estimate.authorized_claim == 500 + 200
    assert estimate.lock + estimate.authorized_claim == htlc.deposit(terms) + fees


async def test_an_existing_recipient_without_spendable_xlm_receives_an_issued_asset(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("theirs", xlm=2)
    usd = await net.asset("issuer", "ours")
    await net.send("theirs", [ChangeTrust(to_stellar(usd))])
    poor = await theirs.balance(theirs.account, XLM)
    await net.send("theirs", [Payment(ours.account, Asset.native(), f"0.{poor - 100:07d}")])
    assert await theirs.balance(theirs.account, XLM) == 0
    terms = await locked(net, ours, net.terms(ours, theirs, asset=usd))
    kept = await authorisation(ours, theirs, terms)
    tx = await land(net, ours, claim(terms, kept))
    assert (await ours.tx_status(tx)).state is TxState.INCLUDED
    assert await ours.balance(theirs.account, usd) == terms.amount
    await pass_gate_sequence(net)
    await land(net, ours, CloseAction(terms))
    assert await theirs.balance(theirs.account, XLM) == htlc.deposit(terms)


async def test_the_authorisation_outlives_whatever_the_accounts_do_until_the_end_of_the_lock(
    net: Net,
) -> None:
    ours, theirs = await net.port("ours", channels=2), await net.port("theirs")
    for action in await ours.setup_actions([]):
        await net.done(ours, action)
    terms = await locked(net, ours, net.terms(ours, theirs, lifetime=5_000))
    kept = await authorisation(ours, theirs, terms)
    await net.send("theirs", [BumpSequence((net.node.network.header.sequence + 9) << 32)])
    for _ in range(3):
        await net.done(ours, CancelAction())
    await pass_gate_sequence(net)
    await net.node.advance(20_000)  # past the deadline, and nobody has refunded
    restarted = await net.port("ours", channels=2)
    before = await restarted.next_sequence()
    tx = await land(net, restarted, claim(terms, kept))
    assert (await restarted.tx_status(tx)).state is TxState.INCLUDED
    assert await restarted.next_sequence() == before, "it uses no sequence of ours"
    assert tx.valid_until_time == terms.deadline + authorized.VALID_AFTER_DEADLINE


async def test_a_stuck_claim_is_outbid_by_a_better_fee_bump_of_the_same_transaction(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = await locked(net, ours, net.terms(ours, theirs))
    kept = await authorisation(ours, theirs, terms)
    slow = await ours.prepare(claim(terms, kept), None, FeeLevel())
    assert (await ours.broadcast(slow)).outcome is BroadcastOutcome.ACCEPTED
    again = await ours.prepare(claim(terms, kept), 7, FeeLevel())
    assert again.raw == slow.raw, "the same each time it is made"
    fast = await ours.prepare(claim(terms, kept), None, FeeLevel(1, slow.fee))
    assert fast.fee["rate"] == 10 * slow.fee["rate"]
    assert (await ours.broadcast(fast)).outcome is BroadcastOutcome.ACCEPTED
    assert (await ours.broadcast(slow)).outcome is BroadcastOutcome.UNDERPRICED
    await net.node.close()
    assert (await ours.tx_status(fast)).state is TxState.INCLUDED
    assert (await ours.tx_status(slow)).state is TxState.REPLACED
    assert (await ours.broadcast(slow)).outcome is BroadcastOutcome.SEQUENCE_USED


async def test_a_close_too_can_be_outbid(net: Net, ours: StellarPort, theirs: StellarPort) -> None:
    terms = await locked(net, ours, net.terms(ours, theirs))
    await land(net, ours, claim(terms, await authorisation(ours, theirs, terms)))
    await pass_gate_sequence(net)
    slow = await ours.prepare(CloseAction(terms), None, FeeLevel())
    await ours.broadcast(slow)
    fast = await ours.prepare(CloseAction(terms), None, FeeLevel(1, slow.fee))
    assert (await ours.broadcast(fast)).outcome is BroadcastOutcome.ACCEPTED
    await net.node.close()
    assert (await ours.tx_status(fast)).state is TxState.INCLUDED
    assert (await ours.tx_status(slow)).state is TxState.REPLACED


# Strangers who interfere


async def test_a_stranger_who_creates_the_recipients_account_first_stops_nothing(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("newcomer", xlm=0)
    await net.port("stranger")
    terms = await locked(net, ours, net.terms(ours, theirs))
    kept = await authorisation(ours, theirs, terms)
    await net.send("stranger", [CreateAccount(theirs.account, "1")])
    tx = await land(net, ours, claim(terms, kept))
    assert (await ours.tx_status(tx)).state is TxState.INCLUDED
    assert await theirs.balance(theirs.account, XLM) == terms.amount


async def test_a_claim_that_failed_in_a_ledger_leaves_the_second_one_good(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("newcomer", xlm=0)
    terms = await locked(net, ours, net.terms(ours, theirs))
    kept = await authorisation(ours, theirs, terms)
    tx = await ours.prepare(claim(terms, kept), None, FeeLevel())
    net.node.fund(theirs.account, 10**7)
    await net.node.close()  # the account was created after we looked
    assert (await ours.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await net.node.close()
    failed = await ours.tx_status(tx)
    assert (failed.state, "CREATE_ACCOUNT_ALREADY_EXIST" in failed.reason) == (TxState.FAILED, True)
    again = await land(net, ours, claim(terms, kept))
    assert (await ours.tx_status(again)).state is TxState.INCLUDED
    assert await theirs.balance(theirs.account, XLM) == terms.amount
    await pass_gate_sequence(net)
    with pytest.raises(NothingToDoError):  # only the recipient can close this gate
        await ours.prepare(CloseAction(terms), None, FeeLevel())
    await land(net, theirs, CloseAction(terms))
    assert await theirs.balance(theirs.account, XLM) == terms.amount + htlc.deposit(terms) - 200


async def test_after_both_were_used_up_a_new_request_is_for_the_gates_next_sequences(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    usd = await net.asset("issuer", "ours", "theirs")
    terms = await locked(net, ours, net.terms(ours, theirs, asset=usd))
    kept = await authorisation(ours, theirs, terms)
    line = to_stellar(usd)
    for _ in range(2):
        tx = await ours.prepare(claim(terms, kept), None, FeeLevel())
        await net.send("theirs", [ChangeTrust(line, "100")])  # no room, just when it lands
        await ours.broadcast(tx)
        await net.node.close()
        assert (await ours.tx_status(tx)).state is TxState.FAILED
        with pytest.raises(ActionRefusedError, match="room for 0"):
            await ours.prepare(claim(terms, kept), None, FeeLevel())
        await net.send("theirs", [ChangeTrust(line, "1000")])
    with pytest.raises(ActionRefusedError, match="does not fit"):
        await ours.prepare(claim(terms, kept), None, FeeLevel())
    with pytest.raises(BadAuthorizationError, match="sequence"):
        await side(ours).check(terms, msgspec.json.decode(kept, type=dict[str, str]) | _as_signed(kept))
    tx = await land(net, ours, claim(terms, await authorisation(ours, theirs, terms)))
    assert (await ours.tx_status(tx)).state is TxState.INCLUDED


def _as_signed(kept: bytes) -> dict[str, str]:
    fields = msgspec.json.decode(kept, type=dict[str, str])
    return {FIRST: fields["first"], SECOND: fields["second"]}


async def test_a_reclaim_after_the_deadline_ends_what_the_recipient_signed(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = await locked(net, ours, net.terms(ours, theirs, lifetime=500))
    kept = await authorisation(ours, theirs, terms)
    await net.node.advance(600)
    await net.done(ours, RefundAction(terms))
    with pytest.raises(ActionRefusedError, match="can be claimed"):
        await ours.prepare(claim(terms, kept), None, FeeLevel())
    await pass_gate_sequence(net)
    before = await ours.balance(ours.account, XLM)
    await land(net, ours, CloseAction(terms))
    assert await ours.balance(ours.account, XLM) == before + htlc.deposit(terms) - 200


async def test_without_the_preimage_what_was_signed_is_worth_nothing(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = await locked(net, ours, net.terms(ours, theirs))
    for text in _as_signed(await authorisation(ours, theirs, terms)).values():
        inner = TransactionEnvelope.from_xdr(text, net.passphrase)
        status, frame = net.node.submit(htlc.bump(inner, net.key("ours"), 1000).to_xdr_object())
        assert (status.value, "txBAD_AUTH" in frame.result.names) == ("ERROR", True)


# What is not signed, and what is not taken


async def test_what_a_wallet_is_shown_says_what_it_is(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("newcomer", xlm=0)
    terms = await locked(net, ours, net.terms(ours, theirs))
    request = await side(ours).request(terms, Amount(0))
    assert side(ours).required
    assert request.format == request.payload["kind"] == FORMAT == "stellar-authorization-xdr"
    assert request.payload["sep7"].startswith("web+stellar:tx?")
    assert "10.0000000 XLM" in request.summary
    assert "creates your account" in request.summary
    shown = TransactionEnvelope.from_xdr(request.payload["xdr"], net.passphrase).transaction
    assert len(request.payload["shows"]) == len(shown.operations)
    assert shown.source.account_id == request.payload["gate"]
    assert _bounds(shown).max_time == request.payload["valid_until"]


async def test_a_recipient_signs_nothing_but_the_claim_of_exactly_its_lock(net: Net) -> None:
    ours, theirs, other = await net.port("ours"), await net.port("theirs"), await net.port("other")
    terms = await locked(net, ours, net.terms(ours, theirs))
    request = await side(ours).request(terms, Amount(0))
    gate = await gate_of(ours, terms)
    theft = [AccountMerge(ours.account, source=theirs.account)]
    for change in (
        lambda tx: tx.operations.append(theft[0]),
        lambda tx: setattr(tx, "sequence", tx.sequence + 1),
        lambda tx: setattr(_bounds(tx), "max_time", 0),
        lambda tx: setattr(tx, "source", Payment(theirs.account, Asset.native(), "1").destination),
        lambda tx: setattr(tx, "fee", 100),
    ):
        for name in (FIRST, SECOND):
            envelope = TransactionEnvelope.from_xdr(request.payload[name], net.passphrase)
            change(envelope.transaction)
            bad = UnsignedTx(FORMAT, "", request.payload | {name: envelope.to_xdr()})
            with pytest.raises(BadAuthorizationError, match="not the claim of this lock"):
                await side(theirs).sign(terms, bad, Amount(0))
    for wrong in (
        msgspec.structs.replace(terms, amount=terms.amount + 1),
        msgspec.structs.replace(terms, deadline=terms.deadline + 1),
    ):
        with pytest.raises(BadAuthorizationError, match="no lock with these terms"):
            await side(theirs).sign(wrong, request, Amount(0))
    with pytest.raises(BadAuthorizationError, match="the claim pays"):
        await side(other).sign(terms, request, Amount(0))
    with pytest.raises(BadAuthorizationError, match="no request"):
        await side(theirs).sign(terms, UnsignedTx("evm", "", request.payload), Amount(0))
    first, _ = authorized.claims(gate, gate.sequence, Way.PAYMENT, net.passphrase)
    assert first.to_xdr() == request.payload["xdr"]


async def test_what_comes_back_wrong_is_refused_with_the_reason(net: Net) -> None:
    ours, theirs, other = await net.port("ours"), await net.port("theirs"), await net.port("other")
    terms = await locked(net, ours, net.terms(ours, theirs))
    request = await side(ours).request(terms, Amount(0))
    good = await side(theirs).sign(terms, request, Amount(0))

    async def refused(match: str, **signed: str) -> None:
        with pytest.raises(BadAuthorizationError, match=match) as refusal:
            await side(ours).check(terms, signed)
        assert refusal.value.hint

    await refused("is missing")
    await refused("no Stellar transaction", xdr="AAAA")
    await refused("no Stellar transaction", xdr="not base64")
    await refused("has not signed", xdr=request.payload["xdr"])
    await refused("has not signed", xdr=good["xdr"], fallback_xdr=request.payload["fallback_xdr"])
    stranger = TransactionEnvelope.from_xdr(request.payload["xdr"], net.passphrase)
    stranger.sign(net.key("other"))
    await refused("has not signed", xdr=stranger.to_xdr())
    elsewhere = TransactionEnvelope.from_xdr(request.payload["xdr"], Network.PUBLIC_NETWORK_PASSPHRASE)
    elsewhere.sign(net.key("theirs"))
    await refused("another network", xdr=elsewhere.to_xdr())
    bumped = htlc.bump(TransactionEnvelope.from_xdr(good["xdr"], net.passphrase), net.key("theirs"), 200)
    await refused("fee bump", xdr=bumped.to_xdr())
    short = TransactionEnvelope.from_xdr(request.payload["xdr"], net.passphrase)
    _bounds(short.transaction).max_time = terms.deadline - 1
    short.sign(net.key("theirs"))
    await refused("time bounds", xdr=short.to_xdr())
    await net.done(theirs, ClaimAction(terms, SECRET))
    await refused("no lock with these terms", **good)
    assert other.account != theirs.account


async def test_a_wallet_may_sign_the_first_alone_and_add_signatures_too_many(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = await locked(net, ours, net.terms(ours, theirs))
    request = await side(ours).request(terms, Amount(0))
    envelope = TransactionEnvelope.from_xdr(request.payload["xdr"], net.passphrase)
    for name in ("other", "theirs"):
        envelope.sign(net.key(name))
    kept = await side(ours).check(terms, {FIRST: envelope.to_xdr()})
    tx = await land(net, ours, claim(terms, kept))
    assert (await ours.tx_status(tx)).state is TxState.INCLUDED


async def test_a_wallet_on_the_recipients_side_makes_the_same_request_without_the_bridge(
    net: Net, wallet: StellarWallet
) -> None:
    ours, theirs = await net.port("ours"), await net.port("newcomer", xlm=0)
    terms = await locked(net, ours, net.terms(ours, theirs))
    own = await wallet.authorization(terms)
    assert own == await side(ours).request(terms, Amount(0))
    signed = {}
    for name in (FIRST, SECOND):
        envelope = TransactionEnvelope.from_xdr(own.payload[name], net.passphrase)
        envelope.sign(net.key("newcomer"))
        signed[name] = envelope.to_xdr()
    tx = await land(net, ours, claim(terms, await side(ours).check(terms, signed)))
    assert (await ours.tx_status(tx)).state is TxState.INCLUDED


async def test_what_was_kept_is_checked_again_before_the_preimage_is_put_to_it(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = await locked(net, ours, net.terms(ours, theirs))
    kept = await authorisation(ours, theirs, terms)
    envelope = TransactionEnvelope.from_xdr(_as_signed(kept)[FIRST], net.passphrase)
    envelope.transaction.operations[-1] = Payment(ours.account, Asset.native(), "10")
    for bad in (b"{}", b"", b'{"first":"AAAA"}', msgspec.json.encode({"first": envelope.to_xdr()})):
        action = claim(terms, bad or b" ")
        with pytest.raises(ActionRefusedError):
            await ours.prepare(action, None, FeeLevel())
    wrong = msgspec.structs.replace(claim(terms, kept), preimage=type(SECRET)(b"wrong"))
    with pytest.raises(ActionRefusedError, match="preimage"):
        await ours.prepare(wrong, None, FeeLevel())


async def test_no_secret_is_in_what_is_kept_or_shown(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = await locked(net, ours, net.terms(ours, theirs))
    kept = await authorisation(ours, theirs, terms)
    tx = await ours.prepare(claim(terms, kept), None, FeeLevel())
    for shown in (kept.decode(), repr(tx), repr(claim(terms, kept)), repr(ours.authorizer)):
        assert SECRET.reveal().decode() not in shown
        assert SECRET.reveal().hex() not in shown


async def test_a_relayer_that_cannot_pay_the_fee_says_so_before_it_signs(net: Net) -> None:
    ours, theirs = await net.port("ours", xlm=17), await net.port("theirs")
    terms = await locked(net, ours, net.terms(ours, theirs))
    kept = await authorisation(ours, theirs, terms)
    left = await ours.balance(ours.account, XLM)
    await net.send("ours", [Payment(theirs.account, Asset.native(), f"{(left - 2000) / 10**7:.7f}")])
    with pytest.raises(InsufficientFundsError):
        await ours.prepare(claim(terms, kept), None, FeeLevel())


# Who can be paid at all


async def test_whoever_cannot_receive_an_issued_asset_is_named_before_anything_is_locked(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    usd = await net.asset("issuer", "ours")
    nobody = net.key("nobody").public_key

    async def reason(address: str) -> str:
        with pytest.raises(CannotReceiveError) as refusal:
            await ours.balance(Address(address), usd)
        assert refusal.value.hint
        return str(refusal.value)

    assert "no such account" in await reason(nobody)
    assert "no trustline" in await reason(theirs.account)
    line = to_stellar(usd)
    await net.send("theirs", [ChangeTrust(line, "5")])
    assert await ours.balance(theirs.account, usd) == 0
    await net.send("issuer", [Payment(theirs.account, line, "5")])
    assert "room for 0" in await reason(theirs.account)
    assert await ours.balance(Address(nobody), XLM) == 0, "XLM can create its account"
    assert await ours.balance(Address(net.key("issuer").public_key), usd) == 0
    assert ((await ours.fees(usd)).minimum, (await ours.fees(XLM)).minimum) == (0, 10_000_000)


async def test_an_unauthorised_trustline_cannot_receive(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    usd = await net.asset("issuer", flags=1)
    await net.send("theirs", [ChangeTrust(to_stellar(usd))])
    with pytest.raises(CannotReceiveError, match="not authorised"):
        await ours.balance(theirs.account, usd)


async def test_our_own_account_is_not_asked_what_its_set_up_opens(net: Net) -> None:
    usd = await net.asset("issuer")
    ours = await net.port("ours", usd)
    assert await ours.balance(ours.account, usd) == 0
