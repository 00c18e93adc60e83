"""Attacks on locks, each by its name, through the adapter on the test network. What the real host says of the
same is recorded in tests/vectors (docs/chains/stellar.md lists which).

Re-entrancy through a token, and tokens that lie: test_tokens. Forged, expired and foreign authorisations of
locks: soroban/test_transactions. Archived code, instance and balance: soroban/test_archival.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest
from stellar_sdk import SetTrustLineFlags, TrustLineFlags, scval, xdr
from stellar_sdk.exceptions import PrepareTransactionException
from stellar_sdk.operation import InvokeHostFunction

from bridge.chains.actions import ClaimAction, LockAction, RefundAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.issuer_powers import IssuerPower
from bridge.chains.port import Claimed, FeeLevel, LockStatus, SignedTx
from bridge.protocol.types import Address, Asset, Preimage
from relayers.stellar import contract
from relayers.stellar.adapter import StellarPort
from relayers.stellar.assets import to_stellar
from relayers.stellar.devnet.entries import ContractEntry
from relayers.stellar.devnet.soroban.storage import entry_at
from relayers.stellar.reading import inner_envelope
from tests.unit.stellar.conftest import SECRET, Net
from tests.unit.stellar.contracts_of_others import deployer
from tests.unit.stellar.soroban.chain import STRANGER, WASM, RefusedError


async def dollars(net: Net) -> tuple[Asset, StellarPort, StellarPort]:
    """Return an asset whose issuer can freeze and claw back, and two ports that deal in it."""
    for name in ("ours", "theirs"):
        await net.port(name)
    usd = await net.asset("issuer", flags=2 | 8)
    for name in ("ours", "theirs"):  # lines that are opened now can be clawed back from
        await net.asset("issuer", name)
    trusting = {"powers": {usd.contract: frozenset(IssuerPower)}}
    return usd, await net.port("ours", usd, more=trusting), await net.port("theirs", usd, more=trusting)


# Issuers


async def test_clawed_back_money_makes_no_lock_look_open_and_no_other_asset_pays(net: Net) -> None:
    usd, ours, theirs = await dollars(net)
    first, second = net.terms(theirs, ours, asset=usd), net.terms(theirs, ours, asset=usd, lifetime=9_000)
    xlm = net.terms(theirs, ours)
    for terms in (first, second, xlm):
        await net.done(theirs, LockAction(terms))
    await net.claw_back("issuer", usd, first.amount + 1)
    for terms in (first, second):
        assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.UNKNOWN
        with pytest.raises(ActionRefusedError):
            await ours.prepare(ClaimAction(terms, SECRET), await ours.next_sequence(), FeeLevel())
    assert await ours.read_lock(ours.lock_id(xlm), xlm) is LockStatus.OPEN
    await net.done(ours, ClaimAction(xlm, SECRET))
    # What the issuer gives back is there for the locks again: one of two.
    await net.give_back("issuer", usd, 1)
    await net.done(ours, ClaimAction(first, SECRET))
    assert await ours.read_lock(ours.lock_id(second), second) is LockStatus.UNKNOWN


async def test_a_frozen_recipient_is_not_paid_and_the_sender_gets_the_money_back(net: Net) -> None:
    usd, ours, theirs = await dollars(net)
    terms = net.terms(ours, theirs, asset=usd, lifetime=1_000)
    await net.done(ours, LockAction(terms))
    frozen = SetTrustLineFlags(theirs.account, to_stellar(usd), clear_flags=TrustLineFlags.AUTHORIZED_FLAG)
    await net.send("issuer", [frozen])
    with pytest.raises(ActionRefusedError, match="not authorised"):
        await ours.prepare(ClaimAction(terms, SECRET), await ours.next_sequence(), FeeLevel())
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    before = await ours.balance(ours.account, usd)
    await net.node.advance(1_000)
    await net.done(ours, RefundAction(terms))
    assert await ours.balance(ours.account, usd) == before + terms.amount


async def test_a_frozen_contract_pays_nobody_until_it_is_thawed(net: Net) -> None:
    usd, ours, theirs = await dollars(net)
    terms = net.terms(theirs, ours, asset=usd)
    await net.done(theirs, LockAction(terms))
    await net.freeze("issuer", usd)
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.UNKNOWN
    for action in (ClaimAction(terms, SECRET), LockAction(net.terms(ours, theirs, asset=usd))):
        with pytest.raises(ActionRefusedError):
            await ours.prepare(action, await ours.next_sequence(), FeeLevel())
    await net.authorise("issuer", usd, net.contract)
    await net.done(ours, ClaimAction(terms, SECRET))


# Preimages


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64])
async def test_a_preimage_of_an_odd_length_claims_and_is_told(
    net: Net, ours: StellarPort, theirs: StellarPort, size: int
) -> None:
    preimage = Preimage(bytes(size))  # zeros, whatever their number, are not one another
    terms = net.terms(ours, theirs, preimage=preimage)
    await net.done(ours, LockAction(terms))
    ring = (await ours.tip()).block
    for other in (size + 1, size - 1):
        if 0 <= other <= 64:
            wrong = ClaimAction(terms, Preimage(bytes(other)))
            with pytest.raises(ActionRefusedError, match="does not open"):
                await ours.prepare(wrong, await ours.next_sequence(), FeeLevel())
    await net.done(ours, ClaimAction(terms, preimage))
    (event,) = (await ours.scan([ring], 10)).events
    assert isinstance(event, Claimed)
    assert event.preimage == preimage


async def test_a_preimage_too_long_for_other_chains_opens_nothing_here(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    """A lock whose hashlock is that of 65 bytes, which no other chain takes as a preimage."""
    long = bytes(65)
    terms = msgspec.structs.replace(net.terms(ours, theirs), hashlock=hashlib.sha256(long).digest())
    await net.done(ours, LockAction(terms))
    async with deployer(net) as chain:
        named = contract.id_value(ours.lock_id(terms))
        with pytest.raises(RefusedError, match=r"Error\(Contract, #8\)"):
            await chain.call_signed(STRANGER, STRANGER, "claim", named, scval.to_bytes(long))
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN


# Time to live


def archived_in(claim: SignedTx) -> int:
    """Return how many entries a claim says that it restores."""
    inner = inner_envelope(xdr.TransactionEnvelope.from_xdr_bytes(claim.raw))
    assert inner is not None
    assert inner.tx.ext.soroban_data is not None
    told = inner.tx.ext.soroban_data.ext.resource_ext
    return 0 if told is None else len(told.archived_soroban_entries)


@pytest.mark.parametrize(("behind", "archived"), [(0, 0), (1, 1)])
async def test_a_lock_at_the_edge_of_its_life_is_claimed_either_way(
    net: Net, behind: int, archived: int
) -> None:
    """In the last ledger that its entry lives in it is live; in the next one it is restored by the claim."""
    ours, theirs = await net.port("ours"), await net.port("theirs")
    terms = net.terms(ours, theirs)
    await net.done(ours, LockAction(terms))
    lock = ours.lock_id(terms)
    place = contract.entry_key(net.contract, lock)
    state = net.node.network.state
    entry = entry_at(state, place)
    assert isinstance(entry, ContractEntry)
    next_ledger = net.node.network.header.sequence + 1
    (key,) = [each for each, found in state._changes.items() if found is entry]
    state._changes[key] = replace(entry, live_until=next_ledger - behind)
    assert await ours.read_lock(lock, terms) is LockStatus.OPEN
    claim = await ours.prepare(ClaimAction(terms, SECRET), await ours.next_sequence(), FeeLevel())
    assert archived_in(claim) == archived
    await net.done(ours, ClaimAction(terms, SECRET))
    assert await ours.read_lock(lock, terms) is LockStatus.CLAIMED


# Authorisations


async def test_an_authorised_claim_serves_once_though_the_same_lock_is_made_again(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    """claim_for: the recipient's signature for (id, fee, payee) is used, then played again by a stranger."""
    terms = net.terms(ours, theirs)
    await net.done(ours, LockAction(terms))
    payee = scval.to_address(STRANGER.public_key)
    values = [
        contract.id_value(ours.lock_id(terms)),
        scval.to_bytes(SECRET.reveal()),
        scval.to_int128(7),
        payee,
    ]
    async with deployer(net) as chain:
        operation = chain.invocation("claim_for", values)
        await chain.authorise(STRANGER, net.key("theirs"), operation)
        signed = operation.auth
        await chain.send(STRANGER, operation)
        # The adapter makes no lock twice; its sender could, with another wallet.
        again = contract.lock_call(terms, net.passphrase)
        await chain.send(net.key("ours"), InvokeHostFunction(again.host_function, again.auth))
        before = await theirs.balance(theirs.account, terms.asset)
        replay = chain.invocation("claim_for", values)
        replay.auth = signed
        with pytest.raises(PrepareTransactionException) as refused:
            await chain.send(STRANGER, replay)
        assert "Error(Auth" in str(refused.value.simulate_transaction_response.error)
    assert await theirs.balance(theirs.account, terms.asset) == before
    assert await theirs.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN


async def test_an_authorisation_for_one_contract_does_nothing_at_its_twin(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    """The same code at another address: the signed call names the contract."""
    terms = net.terms(ours, theirs)
    values = contract.term_values(terms, net.passphrase)
    async with deployer(net) as chain:
        twin = await chain.deploy_wasm(WASM.read_bytes(), b"\x05" * 32)
        assert twin != net.contract
        operation = chain.invocation("lock", values)
        await chain.authorise(STRANGER, net.key("ours"), operation)
        elsewhere = chain.invocation("lock", values, twin)
        elsewhere.auth = operation.auth
        with pytest.raises(PrepareTransactionException) as refused:
            await chain.send(STRANGER, elsewhere)
        assert "Error(Auth" in str(refused.value.simulate_transaction_response.error)
        await chain.send(STRANGER, operation)
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    assert await ours.balance(Address(twin), terms.asset) == 0
