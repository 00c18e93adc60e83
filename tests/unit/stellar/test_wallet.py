"""What users' wallets get: recipes, XDR and SEP-7 links, without any secret of ours."""

from __future__ import annotations

import pytest
from stellar_sdk import (
    Asset,
    Claimant,
    CreateClaimableBalance,
    Keypair,
    SetOptions,
    Signer,
    TransactionEnvelope,
)
from stellar_sdk.sep.stellar_uri import TransactionStellarUri

from bridge.chains.actions import LockAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import LockStatus, TxState
from bridge.client.swap import UserWallet
from bridge.commands.swap import RECIPE_SUFFIX
from bridge.protocol.types import Preimage, Purpose
from relayers.stellar.adapter import StellarPort
from relayers.stellar.recognition import read_lock
from relayers.stellar.wallet import FORMAT, XDR_FORMAT, StellarWallet
from tests.unit.stellar.conftest import SECRET, Net


async def test_a_lock_comes_as_a_recipe_for_the_gate_key_must_be_the_senders_own(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    unsigned = ours.unsigned(Purpose.LOCK, net.terms(theirs, ours))
    assert unsigned.format == unsigned.payload["kind"] == FORMAT
    assert FORMAT.endswith(RECIPE_SUFFIX)
    assert unsigned.summary.startswith("A recipe, not a transaction")
    assert "xdr" not in unsigned.payload
    assert unsigned.payload["gate_balance"] == "25000000"


async def test_a_wallet_builds_the_lock_signed_by_a_fresh_gate_and_links_to_it(
    net: Net, ours: StellarPort, theirs: StellarPort, wallet: StellarWallet
) -> None:
    terms = net.terms(theirs, ours)
    built, other = await wallet.lock(terms), await wallet.lock(terms)
    assert len(built.envelope.signatures) == 1
    gates = [
        read_lock(each.envelope.to_xdr_object(), net.node.network.header.sequence + 1, net.settings())
        for each in (built, other)
    ]
    assert gates[0] is not None
    assert gates[1] is not None
    assert gates[0].terms == terms
    assert gates[0].address != gates[1].address
    link = TransactionStellarUri.from_uri(built.link, net.passphrase)
    assert link.transaction_envelope.hash() == built.envelope.hash()
    assert (link.pubkey, link.replace) == (terms.sender, [])


async def test_claim_and_refund_of_a_known_lock_come_as_xdr_and_link(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs)
    block = (await ours.tip()).block
    await net.done(ours, LockAction(terms))
    assert "xdr" not in ours.unsigned(Purpose.CLAIM, terms).payload
    await ours.scan([block], 10)
    claim = ours.unsigned(Purpose.CLAIM, terms, SECRET)
    envelope = TransactionEnvelope.from_xdr(claim.payload["xdr"], net.passphrase)
    assert envelope.transaction.source.account_id == theirs.account
    link = TransactionStellarUri.from_uri(claim.payload["sep7"], net.passphrase)
    assert link.replace is not None
    assert [each.txrep_tx_field_name for each in link.replace] == ["seqNum"]
    # The wallet puts in the sequence and signs; the preimage's signature stays good.
    account = net.node.network.state.peek(("account", net.key("theirs").raw_public_key()))
    envelope.transaction.sequence = account.sequence + 1
    envelope.sign(net.key("theirs"))
    net.node.submit(envelope.to_xdr_object())
    await net.node.close()
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.CLAIMED
    refund = ours.unsigned(Purpose.REFUND, terms)
    source = TransactionEnvelope.from_xdr(refund.payload["xdr"], net.passphrase).transaction.source
    assert source.account_id == ours.account


async def test_a_wrong_preimage_and_a_cooperative_refund_are_refused(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs)
    with pytest.raises(ActionRefusedError, match="preimage"):
        ours.unsigned(Purpose.CLAIM, terms, Preimage(b"wrong"))
    with pytest.raises(ActionRefusedError):
        ours.unsigned(Purpose.COOPERATIVE_REFUND, terms)


async def test_users_take_everything_back_from_chain_data_alone_when_the_bridge_is_gone(
    net: Net, ours: StellarPort, theirs: StellarPort, wallet: StellarWallet
) -> None:
    terms = net.terms(theirs, ours, lifetime=500)
    await net.done(theirs, LockAction(terms))
    await ours.close()
    await net.node.advance(500)
    built = await wallet.refund(terms)
    built.envelope.sign(net.key("theirs"))
    net.node.submit(built.envelope.to_xdr_object())
    for _ in range(62):
        await net.node.close()
    payer: Keypair = net.key("theirs")
    await net.submit_xdr(await wallet.reclaim(terms, payer))
    with pytest.raises(ActionRefusedError):
        await wallet.reclaim(terms, payer)


async def test_whoever_has_lost_everything_but_the_key_finds_the_locks_of_the_account(
    net: Net, ours: StellarPort, theirs: StellarPort, wallet: StellarWallet
) -> None:
    usd = await net.asset("issuer", "ours", "theirs")
    mine = net.terms(theirs, ours, asset=usd, lifetime=500)
    for_me = [net.terms(ours, theirs), net.terms(ours, theirs, amount=7)]
    await net.done(theirs, LockAction(mine))
    for terms in for_me:
        await net.done(ours, LockAction(terms))
    # What looks like a lock and is none: somebody else's balances, and a gate with other signers.
    stranger = [Claimant(theirs.account), Claimant(net.key("issuer").public_key)]
    await net.send("ours", [CreateClaimableBalance(Asset.native(), "1", stranger)])
    await net.send("ours", [CreateClaimableBalance(Asset.native(), "1", [Claimant(theirs.account)])])
    await net.send("issuer", [SetOptions(signer=Signer.ed25519_public_key(theirs.account, 1))])
    found = await wallet.locks(theirs.account)
    assert {each.amount for each in found} == {mine.amount, for_me[0].amount, 7}
    assert {(each.sender, each.recipient, each.deadline) for each in found} == {
        (each.sender, each.recipient, each.deadline) for each in (mine, *for_me)
    }
    assert all(ours.lock_id(each) in {ours.lock_id(terms) for terms in (mine, *for_me)} for each in found)
    await net.node.advance(500)
    (refundable,) = [each for each in found if each.sender == theirs.account]
    built = await wallet.refund(refundable)
    built.envelope.sign(net.key("theirs"))
    await net.submit_xdr(built.envelope.to_xdr())
    assert len(await wallet.locks(theirs.account)) == 2


async def test_a_users_lock_is_sent_again_until_its_time_is_over(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    user = UserWallet(theirs)
    signed = await user.prepare(Purpose.LOCK, net.terms(theirs, ours))
    assert signed.valid_until_time is not None
    assert await user.resend(signed), "Unix seconds are not ledger numbers: it can still land"
    await net.node.close()
    assert (await theirs.tx_status(signed)).state is TxState.INCLUDED
    late = await user.prepare(Purpose.LOCK, net.terms(theirs, ours, amount=1))
    await net.node.advance(1000)
    assert not await user.resend(late), "it can never land: a new one is to be signed"


async def test_on_the_users_side_lock_and_claim_are_ready_to_sign(
    net: Net, ours: StellarPort, theirs: StellarPort, wallet: StellarWallet
) -> None:
    terms = net.terms(theirs, ours)
    for purpose, signer in ((Purpose.LOCK, "theirs"), (Purpose.CLAIM, "ours")):
        unsigned = await wallet.unsigned(purpose, terms, SECRET)
        assert unsigned.format == unsigned.payload["kind"] == XDR_FORMAT
        assert unsigned.payload["sep7"].startswith("web+stellar:tx?")
        envelope = TransactionEnvelope.from_xdr(unsigned.payload["xdr"], net.passphrase)
        envelope.sign(net.key(signer))
        await net.submit_xdr(envelope.to_xdr())
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.CLAIMED
