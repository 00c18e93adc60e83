"""Tokens with code of their own (SEP-41): what an operator lists, and what a hostile one can do."""

from __future__ import annotations

import msgspec
import pytest
from stellar_sdk import scval

from bridge.chains.actions import ClaimAction, LockAction, RefundAction
from bridge.chains.config import AssetConfig
from bridge.chains.errors import ActionRefusedError, InsufficientFundsError
from bridge.chains.port import FeeLevel, Locked, LockStatus
from bridge.protocol.types import Amount
from relayers.stellar import contract
from relayers.stellar.adapter import StellarPort
from relayers.stellar.assets import token_address
from relayers.stellar.plugin import StellarSection
from scripts.soroban_vectors.tokens import (
    ADDS_A_UNIT,
    BALANCE_IS_NO_NUMBER,
    CALLS_BACK,
    FAILS,
    HONEST,
    KEEPS_A_UNIT,
    MOVES_NOTHING,
    NEVER_ENDS,
    PAYS_OUT_LESS,
)
from tests import instances
from tests.unit.stellar.conftest import SECRET, Net
from tests.unit.stellar.contracts_of_others import Token


async def dealing(net: Net) -> tuple[Token, StellarPort, StellarPort]:
    """Return a listed token, and two ports that have some of it."""
    token = await Token.made(net)
    ours, theirs = await net.port("ours", token.asset), await net.port("theirs", token.asset)
    for port in (ours, theirs):
        await token.mint(port.account, 10**12)
    return token, ours, theirs


async def test_a_token_is_locked_claimed_and_refunded_like_any_asset(net: Net) -> None:
    token, ours, theirs = await dealing(net)
    claimed = net.terms(ours, theirs, asset=token.asset, amount=7 * 10**9)
    refunded = net.terms(theirs, ours, asset=token.asset, amount=10**9, lifetime=1_000)
    ring = (await ours.tip()).block
    assert await ours.setup_actions([token.asset]) == ()
    fee = await ours.fees(token.asset)
    assert fee.minimum == 0
    assert fee.claim > (await ours.fees(net.settings().native)).claim
    for port, terms in ((ours, claimed), (theirs, refunded)):
        tx = await net.done(port, LockAction(terms))
        assert fee.lock < 2 * tx.max_cost < 8 * fee.lock
        assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
        assert await ours.read_lock(ours.lock_id(terms), terms, agreed=True) is LockStatus.OPEN
    told = [each.terms for each in (await ours.scan([ring], 100)).events if isinstance(each, Locked)]
    assert told == [claimed, refunded]
    claim = await net.done(ours, ClaimAction(claimed, SECRET))
    assert claim.fee["resources"] < 2 * fee.claim
    assert await theirs.balance(theirs.account, token.asset) == 10**12 - 10**9 + 7 * 10**9
    await net.node.advance(1_000)
    await net.done(ours, RefundAction(refunded))
    assert await theirs.balance(theirs.account, token.asset) == 10**12 + 7 * 10**9
    too_much = net.terms(ours, theirs, asset=token.asset, amount=1001 * 10**9)
    with pytest.raises(InsufficientFundsError, match="needs 1001 TOK"):
        await ours.prepare(LockAction(too_much), await ours.next_sequence(), FeeLevel())


async def test_what_is_no_token_or_hides_an_issuer_is_not_dealt_in(net: Net) -> None:
    token, ours, _ = await dealing(net)
    usd = await net.asset("issuer", "ours")
    disguised = msgspec.structs.replace(token.asset, contract=token_address(usd.contract, net.passphrase))
    lumens = msgspec.structs.replace(token.asset, contract=token_address("", net.passphrase))
    nothing = msgspec.structs.replace(token.asset, contract="C" + "A" * 51 + "D2KM")
    htlc = msgspec.structs.replace(token.asset, contract=net.contract)
    wrong = msgspec.structs.replace(token.asset, decimals=7)
    for asset, words in (
        (disguised, "CODE:ISSUER"),
        (lumens, "CODE:ISSUER"),
        (nothing, "no token"),
        (htlc, "no token"),
        (wrong, "has 9 decimals, not 7"),
    ):
        terms = net.terms(ours, ours.account, asset=asset, amount=1)
        for refused in (
            ours.fees(asset),
            ours.setup_actions([asset]),
            ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel()),
        ):
            with pytest.raises(ActionRefusedError, match=words):
                await refused


@pytest.mark.parametrize(
    "how", [KEEPS_A_UNIT, MOVES_NOTHING, ADDS_A_UNIT, BALANCE_IS_NO_NUMBER, FAILS, NEVER_ENDS]
)
async def test_a_token_that_lies_is_not_locked_and_nothing_is_sent(net: Net, how: int) -> None:
    token, ours, theirs = await dealing(net)
    await token.behave(how)
    terms = net.terms(ours, theirs, asset=token.asset, amount=10**9)
    with pytest.raises((ActionRefusedError, InsufficientFundsError)):
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())
    await token.behave(HONEST)
    assert await ours.balance(ours.account, token.asset) == 10**12


async def test_a_token_that_fails_when_it_pays_out_leaves_the_lock_open(net: Net) -> None:
    token, ours, theirs = await dealing(net)
    terms = net.terms(theirs, ours, asset=token.asset, amount=10**9)
    await net.done(theirs, LockAction(terms))
    await token.behave(FAILS)
    with pytest.raises(ActionRefusedError):
        await ours.prepare(ClaimAction(terms, SECRET), await ours.next_sequence(), FeeLevel())
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    await token.behave(HONEST)
    await net.done(ours, ClaimAction(terms, SECRET))


async def test_a_token_whose_books_do_not_cover_a_lock_makes_it_look_open_to_nobody(net: Net) -> None:
    token, ours, theirs = await dealing(net)
    terms = net.terms(theirs, ours, asset=token.asset, amount=10**9)
    await net.done(theirs, LockAction(terms))
    await token.behave(BALANCE_IS_NO_NUMBER)
    assert await ours.read_lock(ours.lock_id(terms), terms) is not LockStatus.OPEN
    await token.behave(PAYS_OUT_LESS)
    # What it pays is its own affair; other assets' locks lose nothing by it.
    xlm = net.terms(theirs, ours)
    await net.done(theirs, LockAction(xlm))
    await net.done(ours, ClaimAction(terms, SECRET))
    await net.done(ours, ClaimAction(xlm, SECRET))
    assert await ours.balance(ours.account, token.asset) == Amount(10**12 + 10**9 // 2)


@pytest.mark.parametrize("function", ["claim", "refund", "lock"])
async def test_a_token_that_calls_back_into_the_contract_ends_the_call(net: Net, function: str) -> None:
    """Re-entrancy: in the middle of its transfer the token claims, refunds or locks."""
    token, ours, theirs = await dealing(net)
    victim = net.terms(theirs, ours)
    await net.done(theirs, LockAction(victim))
    own = net.terms(theirs, ours, asset=token.asset, amount=10**9)
    await net.done(theirs, LockAction(own))
    named = contract.id_value(ours.lock_id(victim))
    arguments = {
        "claim": [named, scval.to_bytes(SECRET.reveal())],
        "refund": [named],
        "lock": contract.term_values(net.terms(theirs, ours, asset=token.asset, amount=2), net.passphrase),
    }
    await token.arm(net.contract, function, arguments[function])
    await token.behave(CALLS_BACK)
    with pytest.raises(ActionRefusedError, match="Context"):
        await ours.prepare(ClaimAction(own, SECRET), await ours.next_sequence(), FeeLevel())
    again = net.terms(ours, theirs, asset=token.asset, amount=10**9)
    with pytest.raises(ActionRefusedError):
        await ours.prepare(LockAction(again), await ours.next_sequence(), FeeLevel())
    for terms in (victim, own):
        assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN


async def test_a_token_cannot_move_anything_else_of_whoever_locks_it(net: Net) -> None:
    """What the simulation proposes to sign is not signed: the tree is made from the terms."""
    token, ours, theirs = await dealing(net)
    theft = [scval.to_address(ours.account), scval.to_address(theirs.account), scval.to_int128(10**7)]
    await token.arm(token_address("", net.passphrase), "transfer", theft)
    await token.behave(CALLS_BACK)
    before = await ours.balance(ours.account, net.settings().native)
    terms = net.terms(ours, theirs, asset=token.asset, amount=10**9)
    with pytest.raises(ActionRefusedError, match="Auth"):
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())
    assert await ours.balance(ours.account, net.settings().native) == before


@pytest.mark.parametrize(
    ("named", "decimals", "problem"),
    [
        ("USD:" + "G" + "A" * 55, 7, ""),
        ("USD:" + "G" + "A" * 55, 9, "every issued asset on stellar has 7 decimals"),
        ("C" + "A" * 51 + "D2KM", 9, ""),
        ("C" + "A" * 51 + "D2KN", 9, "mistyped"),
        ("USD", 7, "CODE:ISSUER, or a token's contract"),
    ],
)
def test_the_configuration_names_issued_assets_and_tokens(named: str, decimals: int, problem: str) -> None:
    entry = AssetConfig(chain="stellar", symbol="USD", decimals=decimals, contract=named)
    found = list(StellarSection.model_construct().asset_problems(instances.STELLAR, entry))
    assert bool(found) is bool(problem)
    assert all(problem in each for each in found)
