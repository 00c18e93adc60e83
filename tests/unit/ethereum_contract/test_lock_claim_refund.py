"""The four ways a lock goes: made, claimed, refunded, refunded by agreement; one by one and in batches."""

import hashlib

import pytest

from relayers.evm.htlc import (
    COIN,
    MAX_COIN_AMOUNT,
    Call,
    Claimed,
    EvmLockTerms,
    Locked,
    Refunded,
    encode_claim,
    encode_claim_batch,
    encode_lock,
    encode_lock_batch,
    encode_refund,
    lane_is_free,
    lane_slot,
    lock_id,
    slot_is_open,
    storage_slot,
)
from tests.unit.ethereum_contract.conftest import HASHLOCK, PREIMAGE, Terms
from tests.unit.ethereum_contract.evm import ETHER, Chain, RevertedError, call


def stored(chain: Chain, slot: bytes) -> bytes:
    return int(chain.evm.storage(chain.htlc, int.from_bytes(slot, "big"))).to_bytes(32, "big")


def test_a_lock_takes_the_money_and_tells_all_its_terms(
    chain: Chain, terms: Terms, token: str, lane: int
) -> None:
    lock = terms(token=token, lane=lane)
    before = chain.balance(chain.alice, token)
    assert chain.send(chain.alice, encode_lock(lock)) == [Locked(lock)]
    assert chain.balance(chain.htlc, token) == ETHER
    assert chain.balance(chain.alice, token) == before - ETHER
    assert chain.is_open(lock)
    slot = stored(chain, storage_slot(chain.chain_id, chain.htlc, lock))
    assert slot_is_open(chain.chain_id, chain.htlc, lock, slot)
    assert not slot_is_open(chain.chain_id, chain.htlc, lock, bytes(32))


def test_anyone_claims_for_the_recipient_and_reveals_the_preimage(
    chain: Chain, terms: Terms, token: str, lane: int
) -> None:
    lock = terms(token=token, lane=lane)
    chain.send(chain.alice, encode_lock(lock))
    before = chain.balance(chain.bob, token)
    logs = chain.send(chain.carol, encode_claim(lock, PREIMAGE))
    assert logs == [Claimed(lock_id(chain.chain_id, chain.htlc, lock), PREIMAGE)]
    assert chain.balance(chain.bob, token) == before + ETHER
    assert chain.balance(chain.htlc, token) == 0
    assert not chain.is_open(lock)


def test_a_claim_wins_long_after_the_deadline_if_no_refund_came_first(
    chain: Chain, terms: Terms, token: str, lane: int
) -> None:
    lock = terms(token=token, lane=lane)
    chain.send(chain.alice, encode_lock(lock))
    chain.warp(10 * 365 * 86400)
    chain.send(chain.carol, encode_claim(lock, PREIMAGE))
    assert chain.balance(chain.htlc, token) == 0


def test_a_refund_works_from_the_very_second_of_the_deadline_and_not_before(
    chain: Chain, terms: Terms, token: str, lane: int
) -> None:
    lock = terms(token=token, lane=lane)
    before = chain.balance(chain.alice, token)
    chain.send(chain.alice, encode_lock(lock))
    chain.warp(3599)
    with pytest.raises(RevertedError, match="DeadlineNotReached"):
        chain.send(chain.carol, encode_refund(lock))
    chain.warp(1)
    logs = chain.send(chain.carol, encode_refund(lock))
    assert logs == [Refunded(lock_id(chain.chain_id, chain.htlc, lock))]
    assert chain.balance(chain.alice, token) == before
    assert not chain.is_open(lock)
    if lane:  # a used lane stays used, which is what makes the next lock in it cheap
        assert stored(chain, lane_slot(chain.alice.address, lane)) == (1).to_bytes(32, "big")


def test_nothing_is_paid_twice(chain: Chain, terms: Terms, token: str, lane: int) -> None:
    """Other people's money lies in the same contract."""
    chain.send(chain.carol, encode_lock(terms(token=token, sender=chain.carol.address, amount=5 * ETHER)))
    for first in ("claim", "refund"):
        lock = terms(token=token, lane=lane)
        chain.send(chain.alice, encode_lock(lock))
        chain.warp(3600)
        chain.send(chain.bob, encode_claim(lock, PREIMAGE) if first == "claim" else encode_refund(lock))
        for again in (
            encode_claim(lock, PREIMAGE),
            encode_refund(lock),
            encode_claim_batch([(lock, PREIMAGE)]),
        ):
            with pytest.raises(RevertedError, match="NotOpen"):
                chain.send(chain.bob, again)
        assert chain.balance(chain.htlc, token) == 5 * ETHER


@pytest.mark.parametrize("change", ["sender", "recipient", "amount", "hashlock", "deadline", "lane", "token"])
def test_every_term_is_part_of_the_identity(
    chain: Chain, terms: Terms, token: str, lane: int, change: str
) -> None:
    lock = terms(token=token, lane=lane)
    other = {
        "sender": chain.carol.address,
        "recipient": chain.carol.address,
        "amount": ETHER - 1,
        "hashlock": hashlib.sha256(b"another secret").digest(),
        "deadline": lock.deadline - 1,
        "lane": 8,
        "token": chain.token() if token == COIN else COIN,
    }
    altered = terms(**({"token": token, "lane": lane} | {change: other[change]}))
    chain.send(chain.alice, encode_lock(lock))
    chain.send(chain.carol, encode_lock(terms(sender=chain.carol.address, amount=5 * ETHER)))
    assert lock_id(1, chain.htlc, lock) != lock_id(1, chain.htlc, altered)
    chain.warp(3600)
    assert not chain.is_open(altered)
    for spend in (
        encode_claim(altered, PREIMAGE if change != "hashlock" else b"another secret"),
        encode_refund(altered),
    ):
        with pytest.raises(RevertedError, match="NotOpen"):
            chain.send(chain.carol, spend)
    assert chain.is_open(lock)


def test_the_wrong_preimage_opens_nothing(chain: Chain, terms: Terms, token: str, lane: int) -> None:
    lock = terms(token=token, lane=lane)
    chain.send(chain.alice, encode_lock(lock))
    for wrong in (HASHLOCK, bytes(32), PREIMAGE[:31], PREIMAGE + b"\0", b""):
        with pytest.raises(RevertedError, match="NotOpen"):
            chain.send(chain.bob, encode_claim(lock, wrong))
    assert chain.is_open(lock)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 63, 64])
def test_preimages_of_every_length_that_other_chains_accept_are_accepted(
    chain: Chain, terms: Terms, token: str, lane: int, length: int
) -> None:
    preimage = bytes(range(length))
    lock = terms(token=token, lane=lane, hashlock=hashlib.sha256(preimage).digest())
    chain.send(chain.alice, encode_lock(lock))
    before = chain.balance(chain.bob, token)
    logs = chain.send(chain.carol, encode_claim(lock, preimage))
    assert logs == [Claimed(lock_id(chain.chain_id, chain.htlc, lock), preimage)]
    assert chain.balance(chain.bob, token) == before + ETHER


def claim_bytes(preimage: bytes, lock: EvmLockTerms) -> Call:
    return call(
        "claimBytes(bytes,(address,address,address,uint256,bytes32,uint64,uint32))", preimage, lock.plain()
    )


def test_a_preimage_of_32_bytes_may_also_come_by_the_general_entry(
    chain: Chain, terms: Terms, token: str, lane: int
) -> None:
    lock = terms(token=token, lane=lane)
    chain.send(chain.alice, encode_lock(lock))
    assert chain.send(chain.carol, claim_bytes(PREIMAGE, lock)) == [
        Claimed(lock_id(chain.chain_id, chain.htlc, lock), PREIMAGE)
    ]


def test_a_preimage_of_65_bytes_is_refused(chain: Chain, terms: Terms, token: str) -> None:
    preimage = bytes(65)
    lock = terms(token=token, hashlock=hashlib.sha256(preimage).digest())
    chain.send(chain.alice, encode_lock(lock))
    with pytest.raises(RevertedError, match="PreimageTooLong"):
        chain.send(chain.carol, claim_bytes(preimage, lock))


def test_an_open_lock_cannot_be_made_again(chain: Chain, terms: Terms, token: str, lane: int) -> None:
    lock = terms(token=token, lane=lane)
    chain.send(chain.alice, encode_lock(lock))
    for again in (encode_lock(lock), encode_lock_batch([lock])):
        with pytest.raises(RevertedError, match="AlreadyOpen"):
            chain.send(chain.alice, again)
    assert chain.balance(chain.htlc, token) == ETHER


def test_a_lane_holds_one_lock_at_a_time_and_is_used_again(chain: Chain, terms: Terms, token: str) -> None:
    first, second = terms(token=token, lane=3), terms(token=token, lane=3, amount=2)
    slot = lane_slot(chain.alice.address, 3)
    assert lane_is_free(stored(chain, slot))
    for make in (encode_lock, encode_lock, lambda lock: encode_lock_batch([lock])):
        chain.send(chain.alice, make(first))
        assert not lane_is_free(stored(chain, slot))
        for taken in (encode_lock(second), encode_lock_batch([second])):
            with pytest.raises(RevertedError, match="AlreadyOpen"):
                chain.send(chain.alice, taken)
        chain.send(chain.alice, encode_lock(terms(token=token, lane=4)))
        assert not chain.is_open(second)
        with pytest.raises(RevertedError, match="NotOpen"):
            chain.send(chain.bob, encode_claim(second, PREIMAGE))
        chain.send(chain.bob, encode_claim(first, PREIMAGE))
        chain.send(chain.bob, encode_claim(terms(token=token, lane=4), PREIMAGE))
        assert lane_is_free(stored(chain, slot))
        assert stored(chain, slot) != bytes(32)


def test_lanes_of_different_senders_do_not_meet(chain: Chain, terms: Terms, token: str) -> None:
    alices = terms(token=token, lane=3)
    carols = terms(token=token, lane=3, sender=chain.carol.address)
    chain.send(chain.alice, encode_lock(alices))
    chain.send(chain.carol, encode_lock(carols))
    chain.send(chain.bob, encode_claim(alices, PREIMAGE))
    assert chain.is_open(carols)


def test_strangers_may_reuse_a_hashlock_without_harm(chain: Chain, terms: Terms, token: str) -> None:
    real = terms(token=token)
    squat = terms(token=token, sender=chain.carol.address, amount=1)
    chain.send(chain.carol, encode_lock(squat))
    chain.send(chain.alice, encode_lock(real))
    before = chain.balance(chain.bob, token)
    chain.send(chain.carol, encode_claim(squat, PREIMAGE))
    assert chain.is_open(real)
    chain.send(chain.bob, encode_claim(real, PREIMAGE))
    assert chain.balance(chain.bob, token) == before + ETHER + 1


def raw_lock(terms: EvmLockTerms, amount: int, payee: int) -> Call:
    if terms.is_coin:
        return call("lockNative(uint256,bytes32)", payee, terms.hashlock, value=amount)
    return call("lockERC20(uint256,bytes32,address,uint256)", payee, terms.hashlock, terms.token, amount)


def raw_batch(terms: EvmLockTerms, amount: int, payee: int) -> Call:
    item = [(payee, terms.hashlock, amount)]
    if terms.is_coin:
        return call("lockNativeBatch((uint256,bytes32,uint256)[])", item, value=amount)
    return call("lockERC20Batch(address,(uint256,bytes32,uint256)[])", terms.token, item)


@pytest.mark.parametrize("make", [raw_lock, raw_batch], ids=["single", "batch"])
@pytest.mark.parametrize("fault", ["no amount", "no recipient", "deadline now", "deadline past"])
def test_locks_that_would_be_mistakes_are_refused(
    chain: Chain, terms: Terms, token: str, lane: int, fault: str, make: object
) -> None:
    good = terms(token=token, lane=lane)
    amount, payee = ETHER, good.payee
    if fault == "no amount":
        amount = 0
    elif fault == "no recipient":
        payee = payee >> 160 << 160
    else:
        late = chain.now if fault == "deadline now" else chain.now - 1
        payee = lane << 224 | late << 160 | int(chain.bob.address, 16)
    with pytest.raises(RevertedError) as refusal:
        chain.send(chain.alice, make(good, amount, payee))  # type: ignore[operator]
    expected = {"BadTerms", "ERC20AmountMismatch"} if fault == "no amount" else {"BadTerms"}
    assert refusal.value.error in expected
    assert chain.balance(chain.htlc, token) == 0


def test_the_largest_amounts_work_and_larger_coins_are_refused(chain: Chain, terms: Terms) -> None:
    chain.evm.set_balance(chain.alice.address, 2**100)
    most = terms(amount=MAX_COIN_AMOUNT)
    chain.send(chain.alice, encode_lock(most))
    chain.send(chain.bob, encode_claim(most, PREIMAGE))
    for make in (raw_lock, raw_batch):
        with pytest.raises(RevertedError, match="BadTerms"):
            chain.send(chain.alice, make(most, MAX_COIN_AMOUNT + 1, most.payee))
    token = chain.deploy_test("TestToken")
    chain.raw(chain.alice, token, call("mint(address,uint256)", chain.alice.address, 2**256 - 1))
    chain.raw(chain.alice, token, call("approve(address,uint256)", chain.htlc, 2**256 - 1))
    most = terms(token=token, amount=2**256 - 1)
    chain.send(chain.alice, encode_lock(most))
    chain.send(chain.bob, encode_claim(most, PREIMAGE))
    assert chain.balance(chain.bob, token) == 2**256 - 1


def test_a_coin_amount_that_does_not_fit_its_field_spends_nobody_elses_lock(
    chain: Chain, terms: Terms
) -> None:
    """2**96 + x in plain terms must not meet the lock of x."""
    chain.send(chain.alice, encode_lock(terms()))
    chain.evm.set_balance(chain.htlc, 2**97)
    plain = list(terms().plain())
    plain[3] = 2**96 + ETHER
    message = call(
        "claimBytes(bytes,(address,address,address,uint256,bytes32,uint64,uint32))", PREIMAGE, tuple(plain)
    )
    with pytest.raises(RevertedError, match="BadTerms"):
        chain.send(chain.bob, message)


def many(terms: Terms, token: str, count: int = 4) -> list[tuple[EvmLockTerms, bytes]]:
    found = []
    for index in range(count):
        preimage = hashlib.sha256(bytes([index])).digest()
        hashlock = hashlib.sha256(preimage).digest()
        lane = index // 2  # fresh and lane locks mixed
        found.append(
            (terms(token=token, amount=ETHER + index, hashlock=hashlock, lane=lane and index), preimage)
        )
    return found


def test_a_batch_locks_and_claims_everything_at_once(chain: Chain, terms: Terms, token: str) -> None:
    locks = many(terms, token)
    logs = chain.send(chain.alice, encode_lock_batch([lock for lock, _ in locks]))
    assert logs == [Locked(lock) for lock, _ in locks]
    total = sum(lock.amount for lock, _ in locks)
    assert chain.balance(chain.htlc, token) == total
    before = chain.balance(chain.bob, token)
    logs = chain.send(chain.carol, encode_claim_batch(locks))
    assert logs == [Claimed(lock_id(chain.chain_id, chain.htlc, lock), preimage) for lock, preimage in locks]
    assert chain.balance(chain.bob, token) == before + total
    assert chain.balance(chain.htlc, token) == 0


def test_nobody_spoils_a_batch_by_claiming_one_of_its_locks_first(
    chain: Chain, terms: Terms, token: str
) -> None:
    locks = many(terms, token)
    chain.send(chain.alice, encode_lock_batch([lock for lock, _ in locks]))
    before = chain.balance(chain.bob, token)
    for lock, preimage in (locks[1], locks[2]):
        chain.send(chain.carol, encode_claim(lock, preimage))
    logs = chain.send(chain.bob, encode_claim_batch(locks))
    assert [log.preimage for log in logs if isinstance(log, Claimed)] == [locks[0][1], locks[3][1]]
    assert chain.balance(chain.bob, token) == before + sum(lock.amount for lock, _ in locks)
    with pytest.raises(RevertedError, match="NotOpen"):
        chain.send(chain.bob, encode_claim_batch(locks))


def test_a_batch_names_a_lock_twice_and_gets_it_once(
    chain: Chain, terms: Terms, token: str, lane: int
) -> None:
    lock = terms(token=token, lane=lane)
    chain.send(chain.carol, encode_lock(terms(token=token, sender=chain.carol.address)))
    chain.send(chain.alice, encode_lock(lock))
    logs = chain.send(chain.bob, encode_claim_batch([(lock, PREIMAGE), (lock, PREIMAGE)]))
    assert len(logs) == 1
    assert chain.balance(chain.htlc, token) == ETHER


def test_a_batch_pays_one_recipient_only(chain: Chain, terms: Terms, token: str) -> None:
    """Or bob's claim would be paid to carol."""
    bobs, carols = terms(token=token), terms(token=token, recipient=chain.carol.address)
    chain.send(chain.alice, encode_lock_batch([bobs, carols]))
    if token == COIN:
        item = "(uint256,bytes32,bytes32)[]"
        values = [(lock.payee, PREIMAGE, lock.payer) for lock in (carols, bobs)]
        message = call(f"claimNativeBatch({item})", values)
    else:
        item = "(uint256,bytes32,uint256,address)[]"
        claims = [(lock.payee, PREIMAGE, lock.amount, lock.sender) for lock in (carols, bobs)]
        message = call(f"claimERC20Batch(address,{item})", token, claims)
    with pytest.raises(RevertedError, match="MixedRecipients"):
        chain.send(chain.carol, message)


def test_an_empty_batch_claims_nothing(chain: Chain, token: str) -> None:
    if token == COIN:
        message = call("claimNativeBatch((uint256,bytes32,bytes32)[])", [])
    else:
        message = call("claimERC20Batch(address,(uint256,bytes32,uint256,address)[])", token, [])
    with pytest.raises(RevertedError, match="NotOpen"):
        chain.send(chain.carol, message)


@pytest.mark.parametrize("sent", [2 * ETHER - 1, 2 * ETHER + 1, 0])
def test_a_coin_batch_must_bring_the_exact_sum(chain: Chain, terms: Terms, sent: int) -> None:
    chain.evm.set_balance(chain.htlc, 5 * ETHER)
    locks = [terms(), terms(amount=ETHER, deadline=chain.now + 7200)]
    message = encode_lock_batch(locks)
    with pytest.raises(RevertedError, match="WrongValue"):
        chain.send(chain.alice, Call(message.data, sent))


def test_coins_sent_along_by_mistake_are_refused(chain: Chain, terms: Terms) -> None:
    token = chain.token()
    lock, coin = terms(token=token), terms()
    chain.send(chain.alice, encode_lock(coin))
    for message in (encode_lock(lock), encode_claim(coin, PREIMAGE), encode_refund(coin), Call(b"")):
        with pytest.raises(RevertedError):
            chain.send(chain.alice, Call(message.data, 1))
