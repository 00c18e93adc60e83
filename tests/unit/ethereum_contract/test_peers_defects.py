"""One test for each way in which some other HTLC on the EVM lost or froze its users' money.

docs/chains/evm.md lists who had which.
"""

import hashlib
from collections.abc import Callable

import pytest

from relayers.evm.htlc import (
    COIN,
    Call,
    EvmLockTerms,
    cooperative_refund_typed_data,
    encode_claim,
    encode_claim_batch,
    encode_cooperative_refund,
    encode_lock,
    encode_lock_batch,
    encode_refund,
    typed_data_digest,
)
from tests.unit.ethereum_contract.conftest import HASHLOCK, PREIMAGE, Terms
from tests.unit.ethereum_contract.evm import ETHER, Chain, RevertedError, call

Step = tuple[str, int, bytes]
PLAIN_TERMS = "(address,address,address,uint256,bytes32,uint64,uint32)"


def others_deposit(chain: Chain, terms: Terms, token: str) -> EvmLockTerms:
    """Money of somebody else in the contract, for a thief to take."""
    lock = terms(token=token, sender=chain.carol.address, recipient=chain.carol.address, amount=50 * ETHER)
    chain.send(chain.carol, encode_lock(lock))
    return lock


def actor(chain: Chain, token: str = COIN, *, hooked: bool = False) -> str:
    """A contract account with 100 coins and, if asked, 100 tokens approved for the HTLC."""
    address = chain.deploy_test("Actor")
    chain.evm.set_balance(address, 100 * ETHER)
    if token != COIN:
        chain.raw(chain.alice, token, call("mint(address,uint256)", address, 100 * ETHER))
        run(chain, address, token, call("approve(address,uint256)", chain.htlc, 2**256 - 1))
    if hooked:
        run(chain, address, token, call("hook()"))
    return address


def run(chain: Chain, account: str, target: str, message: Call) -> None:
    chain.raw(chain.alice, account, call("run(address,uint256,bytes)", target, message.value, message.data))


def react(chain: Chain, account: str, *steps: Call, swallow: bool = False) -> None:
    """At its next receipt, `account` sends these to the HTLC."""
    plan = [(chain.htlc, step.value, step.data) for step in steps]
    chain.raw(chain.alice, account, call("react((address,uint256,bytes)[])", plan))
    chain.raw(chain.alice, account, call("swallow(bool)", swallow))


# --------------------------------------------------------------------------- tokens


def test_a_token_that_keeps_a_fee_is_refused_and_pays_nothing_from_others(chain: Chain, terms: Terms) -> None:
    token = chain.token("FeeToken")
    for make in (encode_lock, lambda lock: encode_lock_batch([lock])):
        with pytest.raises(RevertedError, match="ERC20AmountMismatch"):
            chain.send(chain.alice, make(terms(token=token)))
    assert chain.balance(chain.htlc, token) == 0


@pytest.mark.parametrize("name", ["NoReturnToken", "FalseToken"])
def test_a_token_that_returns_nothing_or_true_locks_and_pays(chain: Chain, terms: Terms, name: str) -> None:
    token = chain.token(name)
    for finish in (encode_claim, encode_refund):
        lock = terms(token=token)
        chain.send(chain.alice, encode_lock(lock))
        chain.warp(3600)
        chain.send(chain.bob, finish(lock, PREIMAGE) if finish is encode_claim else finish(lock))  # type: ignore[call-arg]
    assert chain.balance(chain.htlc, token) == 0
    assert chain.balance(chain.bob, token) == 1001 * ETHER


def test_a_token_that_says_no_instead_of_reverting_locks_nothing(chain: Chain, terms: Terms) -> None:
    token = chain.token("FalseToken")
    others_deposit(chain, terms, token)
    chain.raw(chain.alice, token, call("refuse(bool)", True))
    for message in (encode_lock(terms(token=token)), encode_lock_batch([terms(token=token)])):
        with pytest.raises(RevertedError, match="ERC20AmountMismatch"):
            chain.send(chain.alice, message)


def test_a_lock_stays_open_when_its_token_says_no_to_the_payment(chain: Chain, terms: Terms) -> None:
    token = chain.token("FalseToken")
    lock = terms(token=token)
    chain.send(chain.alice, encode_lock(lock))
    chain.raw(chain.alice, token, call("refuse(bool)", True))
    chain.warp(3600)
    for spend in (encode_claim(lock, PREIMAGE), encode_refund(lock), encode_claim_batch([(lock, PREIMAGE)])):
        with pytest.raises(RevertedError, match="ERC20TransferFailed"):
            chain.send(chain.bob, spend)
    assert chain.is_open(lock)
    chain.raw(chain.alice, token, call("refuse(bool)", False))
    chain.send(chain.bob, encode_claim(lock, PREIMAGE))


def test_a_short_answer_is_no_yes(chain: Chain, terms: Terms) -> None:
    """Its missing last byte would be the last byte of the hashlock, which lay there before."""
    token = chain.token("ShortAnswerToken")
    preimages = (number.to_bytes(32, "big") for number in range(10**4))
    preimage = next(one for one in preimages if hashlib.sha256(one).digest()[31] == 1)
    lock = terms(token=token, hashlock=hashlib.sha256(preimage).digest())
    chain.send(chain.alice, encode_lock(lock))
    with pytest.raises(RevertedError, match="ERC20TransferFailed"):
        chain.send(chain.bob, encode_claim(lock, preimage))


def test_an_address_without_code_is_no_token(chain: Chain, terms: Terms) -> None:
    for nobody in ("0x" + "99" * 20, chain.bob.address, "0x" + "00" * 19 + "04", "0x" + "00" * 19 + "02"):
        for message in (encode_lock(terms(token=nobody)), encode_lock_batch([terms(token=nobody)])):
            with pytest.raises(RevertedError, match="ERC20AmountMismatch"):
                chain.send(chain.alice, message)


def test_the_zero_token_is_not_a_way_to_a_coin_lock_without_coins(chain: Chain, terms: Terms) -> None:
    others_deposit(chain, terms, COIN)
    lock = terms()
    for message in (
        call("lockERC20(uint256,bytes32,address,uint256)", lock.payee, lock.hashlock, COIN, ETHER),
        call(
            "lockERC20Batch(address,(uint256,bytes32,uint256)[])", COIN, [(lock.payee, lock.hashlock, ETHER)]
        ),
    ):
        with pytest.raises(RevertedError, match="ERC20AmountMismatch"):
            chain.send(chain.alice, message)
    assert not chain.is_open(lock)


def test_a_token_whose_code_is_gone_is_not_counted_as_paid(chain: Chain, terms: Terms) -> None:
    token = chain.token()
    lock = terms(token=token)
    chain.send(chain.alice, encode_lock(lock))
    chain.put_code(token, b"")
    with pytest.raises(RevertedError, match="ERC20TransferFailed"):
        chain.send(chain.bob, encode_claim(lock, PREIMAGE))
    assert chain.is_open(lock)


def test_without_allowance_or_funds_nothing_is_locked(chain: Chain, terms: Terms) -> None:
    token = chain.token()
    others_deposit(chain, terms, token)
    chain.raw(chain.alice, token, call("approve(address,uint256)", chain.htlc, ETHER - 1))
    for lock in (terms(token=token), terms(token=token, amount=2**256 - ETHER)):
        with pytest.raises(RevertedError, match="ERC20AmountMismatch"):
            chain.send(chain.alice, encode_lock(lock))
    assert chain.balance(chain.htlc, token) == 50 * ETHER


# ----------------------------------------------------------------------- reentrancy


@pytest.mark.parametrize("outer", ["single", "batch"])
@pytest.mark.parametrize("inner", ["single", "batch"])
def test_the_gap_of_a_fee_cannot_be_filled_by_a_deposit_within(
    chain: Chain, terms: Terms, outer: str, inner: str
) -> None:
    """A token with hooks and a fee: 9 of 10 arrive; a deposit of 1 within brings the rest."""
    token = chain.token("HookToken")
    others_deposit(chain, terms, token)
    thief = actor(chain, token, hooked=True)
    first = terms(token=token, sender=thief, amount=10 * ETHER)
    second = terms(token=token, sender=thief, amount=1 * ETHER)
    make: dict[str, Callable[[EvmLockTerms], Call]] = {
        "single": encode_lock,
        "batch": lambda lock: encode_lock_batch([lock]),
    }
    steps = [(chain.htlc, 0, make[inner](second).data), (token, 0, call("setFee(uint256)", 10).data)]
    chain.raw(chain.alice, thief, call("react((address,uint256,bytes)[])", steps))
    with pytest.raises(RevertedError, match="Reentered"):
        run(chain, thief, chain.htlc, make[outer](first))
    assert not chain.is_open(first)
    assert not chain.is_open(second)
    assert chain.balance(chain.htlc, token) == 50 * ETHER


def test_two_deposits_one_after_the_other_in_one_transaction_are_fine(chain: Chain, terms: Terms) -> None:
    token = chain.token()
    wallet = actor(chain, token)
    locks = [terms(token=token, sender=wallet, amount=ETHER + i) for i in range(4)]
    calls = [
        encode_lock(locks[0]),
        encode_lock_batch([locks[1]]),
        encode_lock(locks[2]),
        encode_lock_batch([locks[3]]),
    ]
    steps = [(chain.htlc, 0, message.data) for message in calls]
    chain.raw(chain.alice, wallet, call("runAll((address,uint256,bytes)[])", steps))
    assert all(chain.is_open(lock) for lock in locks)


def test_a_lock_claimed_within_its_own_deposit_steals_nothing(chain: Chain, terms: Terms) -> None:
    """The lock is open before its money arrives; a claim in between lowers the balance and is found."""
    token = chain.token("HookToken")
    others_deposit(chain, terms, token)
    for make in (encode_lock, lambda one: encode_lock_batch([one])):
        thief = actor(chain, token, hooked=True)
        lock = terms(token=token, sender=thief, recipient=thief, amount=10 * ETHER)
        react(chain, thief, encode_claim(lock, PREIMAGE))
        with pytest.raises(RevertedError):
            run(chain, thief, chain.htlc, make(lock))
        assert chain.balance(chain.htlc, token) == 50 * ETHER


@pytest.mark.parametrize("way", ["claim", "batch", "refund", "cooperative"])
@pytest.mark.parametrize("again", ["claim", "batch", "refund"])
def test_a_receiver_that_comes_back_gets_nothing_more(
    chain: Chain, terms: Terms, way: str, again: str, lane: int
) -> None:
    for token in (COIN, chain.token("HookToken")):
        others_deposit(chain, terms, token)
        thief = actor(chain, token, hooked=token != COIN)
        lock = terms(token=token, sender=thief, recipient=thief, lane=lane)
        run(chain, thief, chain.htlc, encode_lock(lock))
        chain.warp(3600)
        repeat = {
            "claim": encode_claim(lock, PREIMAGE),
            "batch": encode_claim_batch([(lock, PREIMAGE)]),
            "refund": encode_refund(lock),
        }
        digest_of = cooperative_refund_typed_data(chain.chain_id, chain.htlc, lock, nonce=1, expiry=2**40)
        first = repeat.get(way) or encode_cooperative_refund(lock, nonce=1, expiry=2**40, signature=b"1271")
        approve(chain, thief, digest_of)
        before = chain.balance(thief, token)
        react(chain, thief, repeat[again], swallow=True)
        chain.send(chain.carol, first)
        assert chain.balance(thief, token) == before + ETHER
        assert chain.balance(chain.htlc, token) == 50 * ETHER


def approve(chain: Chain, wallet: str, typed_data: dict[str, object]) -> None:

    chain.raw(chain.alice, wallet, call("approveDigest(bytes32)", typed_data_digest(typed_data)))


# ------------------------------------------------------------- receivers that refuse


@pytest.mark.parametrize("way", ["claim", "bytes", "batch", "refund"])
def test_a_receiver_that_rejects_coins_keeps_its_claim(
    chain: Chain, terms: Terms, way: str, lane: int
) -> None:
    stubborn = actor(chain)
    lock = terms(sender=stubborn, recipient=stubborn, lane=lane)
    run(chain, stubborn, chain.htlc, encode_lock(lock))
    chain.raw(chain.alice, stubborn, call("refuse(bool)", True))
    chain.warp(3600)
    spend = {
        "claim": encode_claim(lock, PREIMAGE),
        "bytes": call(
            "claimBytes(bytes,(address,address,address,uint256,bytes32,uint64,uint32))",
            PREIMAGE,
            lock.plain(),
        ),
        "batch": encode_claim_batch([(lock, PREIMAGE)]),
        "refund": encode_refund(lock),
    }[way]
    with pytest.raises(RevertedError, match="NativeTransferFailed"):
        chain.send(chain.carol, spend)
    assert chain.is_open(lock)
    chain.raw(chain.alice, stubborn, call("refuse(bool)", False))
    chain.send(chain.carol, spend)
    assert chain.balance(stubborn) == 100 * ETHER


def test_a_receiver_that_rejects_coins_for_ever_does_not_keep_the_sender_from_its_refund(
    chain: Chain, terms: Terms
) -> None:
    stubborn = actor(chain)
    chain.raw(chain.alice, stubborn, call("refuse(bool)", True))
    lock = terms(recipient=stubborn)
    chain.send(chain.alice, encode_lock(lock))
    chain.warp(3600)
    chain.send(chain.carol, encode_refund(lock))
    assert chain.balance(chain.alice) == 1000 * ETHER


# ----------------------------------------------------------------------------- other


def test_a_lock_of_one_wei_under_the_same_hashlock_blocks_nobody(
    chain: Chain, terms: Terms, token: str
) -> None:
    squats = [
        terms(token=token, sender=chain.carol.address, amount=1),
        terms(token=token, sender=chain.carol.address, amount=ETHER),
    ]
    for squat in squats:
        chain.send(chain.carol, encode_lock(squat))
    lock = terms(token=token)
    chain.send(chain.alice, encode_lock(lock))
    chain.warp(3600)
    chain.send(chain.carol, encode_refund(squats[0]))
    chain.send(chain.bob, encode_claim(lock, PREIMAGE))
    assert chain.is_open(squats[1])


def test_a_claim_that_runs_out_of_gas_takes_no_other_path(chain: Chain, terms: Terms) -> None:
    """Not even when SHA-256 itself is starved: the hashlock must never pass for its own preimage."""
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    for gas in range(21_000, 36_000, 97):
        with pytest.raises(RevertedError):
            chain.send(chain.bob, encode_claim(lock, HASHLOCK), gas)
    assert chain.is_open(lock)
