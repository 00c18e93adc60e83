"""Contracts as parties of locks: smart accounts (C…) that are paid, and that lock."""

from __future__ import annotations

import msgspec
import pytest
from stellar_sdk.exceptions import PrepareTransactionException
from stellar_sdk.operation import InvokeHostFunction, Operation
from stellar_sdk.xdr import Operation as XdrOperation

from bridge.chains.actions import ClaimAction, LockAction, RefundAction
from bridge.chains.errors import ActionRefusedError, BadAddressError, CannotReceiveError
from bridge.chains.issuer_powers import IssuerPower
from bridge.chains.port import FeeLevel, Locked, LockStatus
from bridge.protocol.types import Address, Purpose
from relayers.stellar.adapter import StellarPort
from relayers.stellar.assets import token_address
from relayers.stellar.wallet import StellarWallet
from tests.unit.stellar.conftest import SECRET, Net
from tests.unit.stellar.contracts_of_others import SmartAccount


async def test_a_smart_account_is_paid_xlm_by_a_claim_that_anybody_sends(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    account = await SmartAccount.made(net)
    address = ours.parse_address(account.address)
    await ours.check_receiver(address, net.settings().native)
    terms = net.terms(ours, address, amount=5)
    before = await ours.balance(address, terms.asset)
    await net.done(ours, LockAction(terms))
    await net.done(theirs, ClaimAction(terms, SECRET))
    assert await ours.balance(address, terms.asset) == before + 5
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.CLAIMED


async def test_a_smart_account_must_be_authorised_where_its_issuer_wants_it(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    account = await SmartAccount.made(net)
    usd = await net.asset("issuer", "ours", "theirs")
    trusting = {"powers": {usd.contract: frozenset(IssuerPower)}}
    ours = await net.port("ours", usd, more=trusting)
    address = Address(account.address)
    await ours.check_receiver(address, usd)
    # Once the issuer asks for it, holders that are new must be authorised.
    await net.asset("issuer", flags=3)
    with pytest.raises(CannotReceiveError, match="not authorised"):
        await ours.check_receiver(address, usd)
    with pytest.raises(CannotReceiveError, match="not authorised"):
        await ours.balance(address, usd)
    terms = net.terms(ours, address, asset=usd)
    with pytest.raises(ActionRefusedError, match="not authorised"):
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())
    for holder in (account.address, net.contract):
        await net.authorise("issuer", usd, holder)
    await ours.check_receiver(address, usd)
    await net.done(ours, LockAction(terms))
    await net.done(ours, ClaimAction(terms, SECRET))
    assert await ours.balance(address, usd) == terms.amount


async def test_a_smart_account_locks_with_its_own_signature_and_gets_its_refund(
    net: Net, ours: StellarPort, wallet: StellarWallet
) -> None:
    account = await SmartAccount.made(net)
    address = ours.parse_address(account.address)
    terms = msgspec.structs.replace(net.terms(ours, ours, lifetime=1_000), sender=address)
    ring = (await ours.tip()).block
    for refused in (
        wallet.unsigned(Purpose.LOCK, terms),
        wallet.unsigned(Purpose.REFUND, terms),
    ):
        with pytest.raises(ActionRefusedError, match="cannot be the source"):
            await refused
    draft = ours.unsigned(Purpose.LOCK, terms)
    operation = Operation.from_xdr_object(XdrOperation.from_xdr(str(draft.payload["operation"])))
    assert isinstance(operation, InvokeHostFunction)
    with pytest.raises(PrepareTransactionException):
        await account.send(operation, net.key("somebody else"))
    operation.auth = []
    await account.send(operation)
    (event,) = [each for each in (await ours.scan([ring], 100)).events if isinstance(each, Locked)]
    assert event.terms == terms
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    before = await ours.balance(address, terms.asset)
    await net.node.advance(1_000)
    await net.done(ours, RefundAction(terms))
    assert await ours.balance(address, terms.asset) == before + terms.amount


async def test_a_contract_that_could_not_pay_out_again_is_refused_as_a_receiver(
    net: Net, ours: StellarPort
) -> None:
    xlm = net.settings().native
    token = Address(token_address("", net.passphrase))
    usd = await net.asset("issuer")
    other = Address(token_address(usd.contract, net.passphrase))
    nothing = Address("C" + "A" * 51 + "D2KM")
    with pytest.raises(BadAddressError, match="holds the locks"):
        ours.parse_address(net.contract)
    for address, words in (
        (Address(net.contract), "is lost"),
        (token, "is lost"),
        (other, "not a smart account"),
        (nothing, "no contract"),
    ):
        with pytest.raises(CannotReceiveError, match=words):
            await ours.check_receiver(address, xlm)
        with pytest.raises(ActionRefusedError):
            await ours.prepare(LockAction(net.terms(ours, address)), await ours.next_sequence(), FeeLevel())
