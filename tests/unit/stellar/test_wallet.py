"""What users' wallets get: recipes, XDR and SEP-7 links, without any secret of ours."""

from __future__ import annotations

import pytest
from stellar_sdk import Keypair, TransactionEnvelope
from stellar_sdk.sep.stellar_uri import TransactionStellarUri

from bridge.protocol.types import Preimage, Purpose
from relayers.port import Action, ActionRefused, LockStatus
from relayers.stellar.recognition import read_lock
from relayers.stellar.wallet import FORMAT, Wallet
from tests.unit.stellar.conftest import SECRET, Net


async def test_a_lock_comes_as_a_recipe_for_the_gate_key_must_be_the_senders_own(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("theirs")
    unsigned = ours.unsigned(Purpose.LOCK, net.terms(theirs, ours))
    assert unsigned.format == FORMAT
    assert "xdr" not in unsigned.payload
    assert unsigned.payload["gate_balance"] == "25000000"


async def test_a_wallet_builds_the_lock_signed_by_a_fresh_gate_and_links_to_it(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("theirs")
    wallet = Wallet(net.server.url, net.passphrase)
    terms = net.terms(theirs, ours)
    built, other = await wallet.lock(terms), await wallet.lock(terms)
    await wallet.close()
    assert len(built.envelope.signatures) == 1
    gates = [
        read_lock(each.envelope.to_xdr_object(), net.node.network.header.sequence + 1, net.passphrase)
        for each in (built, other)
    ]
    assert gates[0] is not None
    assert gates[1] is not None
    assert gates[0].terms == terms
    assert gates[0].address != gates[1].address
    link = TransactionStellarUri.from_uri(built.link, net.passphrase)
    assert link.transaction_envelope.hash() == built.envelope.hash()
    assert (link.pubkey, link.replace) == (terms.sender, [])


async def test_claim_and_refund_of_a_known_lock_come_as_xdr_and_link(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("theirs")
    terms = net.terms(ours, theirs)
    block = (await ours.tip()).block
    await net.done(ours, Action(Purpose.LOCK, terms))
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


async def test_a_wrong_preimage_and_a_cooperative_refund_are_refused(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("theirs")
    terms = net.terms(ours, theirs)
    with pytest.raises(ActionRefused, match="preimage"):
        ours.unsigned(Purpose.CLAIM, terms, Preimage(b"wrong"))
    with pytest.raises(ActionRefused):
        ours.unsigned(Purpose.COOPERATIVE_REFUND, terms)


async def test_users_take_everything_back_from_chain_data_alone_when_the_bridge_is_gone(net: Net) -> None:
    ours, theirs = await net.port("ours"), await net.port("theirs")
    terms = net.terms(theirs, ours, lifetime=500)
    await net.done(theirs, Action(Purpose.LOCK, terms))
    await ours.close()
    await net.node.advance(500)
    wallet = Wallet(net.server.url, net.passphrase)
    built = await wallet.refund(terms)
    built.envelope.sign(net.key("theirs"))
    net.node.submit(built.envelope.to_xdr_object())
    for _ in range(62):
        await net.node.close()
    payer: Keypair = net.key("theirs")
    await net.submit_xdr(await wallet.reclaim(terms, payer))
    with pytest.raises(ActionRefused):
        await wallet.reclaim(terms, payer)
    await wallet.close()
