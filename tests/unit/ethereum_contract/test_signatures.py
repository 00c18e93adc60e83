"""What is done with a signature: claims for a recipient without gas, refunds by agreement, permits."""

from typing import Any

import pytest

from relayers.evm.htlc import (
    COIN,
    DOMAIN_NAME,
    DOMAIN_VERSION,
    PERMIT2,
    Call,
    Claimed,
    EvmLockTerms,
    Locked,
    Refunded,
    claim_for_typed_data,
    cooperative_refund_typed_data,
    encode_cancel_nonces,
    encode_claim_for,
    encode_cooperative_refund,
    encode_lock,
    encode_lock_with_permit,
    encode_lock_with_permit2,
    encode_refund,
    encode_used_nonces,
    lock_id,
    permit2_typed_data,
    typed_data_digest,
)
from tests.unit.ethereum_contract.conftest import HASHLOCK, PREIMAGE, Terms
from tests.unit.ethereum_contract.evm import CHAIN_ID, ETHER, Chain, Party, RevertedError, call, compiled

FEE = ETHER // 100
NEVER = 2**40
SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def claim_for(
    chain: Chain,
    lock: EvmLockTerms,
    *,
    signer: Party | None = None,
    contract: str | None = None,
    chain_id: int | None = None,
    signed: EvmLockTerms | None = None,
    nonce: int = 5,
    expiry: int = NEVER,
    fee: int = FEE,
    max_fee: int = FEE,
) -> Call:
    """bob lets carol claim; what is signed can differ from what is sent."""
    typed = claim_for_typed_data(
        chain_id or chain.chain_id,
        contract or chain.htlc,
        signed or lock,
        relayer=chain.carol.address,
        max_fee=max_fee,
        nonce=nonce,
        expiry=expiry,
    )
    signature = (signer or chain.bob).sign(typed)
    return encode_claim_for(
        lock, PREIMAGE, fee=fee, max_fee=max_fee, nonce=nonce, expiry=expiry, signature=signature
    )


def agree(
    chain: Chain, lock: EvmLockTerms, *, signed: EvmLockTerms | None = None, nonce: int = 5, **where: Any
) -> Call:
    """bob lets the lock go back before its deadline."""
    typed = cooperative_refund_typed_data(
        where.get("chain_id", chain.chain_id),
        where.get("contract", chain.htlc),
        signed or lock,
        nonce=nonce,
        expiry=NEVER,
    )
    signature = where.get("signer", chain.bob).sign(typed)
    return encode_cooperative_refund(lock, nonce=nonce, expiry=NEVER, signature=signature)


def test_a_relayer_claims_for_a_recipient_without_gas_and_keeps_its_fee(
    chain: Chain, terms: Terms, token: str, lane: int
) -> None:
    lock = terms(token=token, lane=lane)
    chain.send(chain.alice, encode_lock(lock))
    bob, carol = chain.balance(chain.bob, token), chain.balance(chain.carol, token)
    logs = chain.send(chain.carol, claim_for(chain, lock))
    assert logs == [Claimed(lock_id(chain.chain_id, chain.htlc, lock), PREIMAGE)]
    assert chain.balance(chain.bob, token) == bob + ETHER - FEE
    assert chain.balance(chain.carol, token) == carol + FEE
    assert chain.balance(chain.htlc, token) == 0


def test_a_relayer_may_ask_less_than_it_was_offered_but_no_more(
    chain: Chain, terms: Terms, token: str
) -> None:
    for fee in (0, 1, FEE - 1):
        lock = terms(token=token, amount=ETHER + fee)
        chain.send(chain.alice, encode_lock(lock))
        before = chain.balance(chain.carol, token)
        chain.send(chain.carol, claim_for(chain, lock, fee=fee, nonce=fee))
        assert chain.balance(chain.carol, token) == before + fee
    lock = terms(token=token)
    chain.send(chain.alice, encode_lock(lock))
    greedy = bytearray(claim_for(chain, lock).data)
    greedy[4 + 32 * 8 : 4 + 32 * 9] = (FEE + 1).to_bytes(32, "big")
    with pytest.raises(RevertedError, match="FeeTooHigh"):
        chain.send(chain.carol, Call(bytes(greedy)))


def test_a_fee_never_exceeds_the_lock(chain: Chain, terms: Terms, token: str) -> None:
    """A recipient who signs any fee still cannot make the contract pay from other locks."""
    chain.send(chain.alice, encode_lock(terms(token=token, amount=5 * ETHER)))
    lock = terms(token=token)
    chain.send(chain.alice, encode_lock(lock))
    whole = claim_for(chain, lock, fee=ETHER, max_fee=2**255)
    greedy = bytearray(whole.data)
    greedy[4 + 32 * 8 : 4 + 32 * 9] = (ETHER + 1).to_bytes(32, "big")
    with pytest.raises(RevertedError, match="FeeTooHigh"):
        chain.send(chain.carol, Call(bytes(greedy)))
    chain.send(chain.carol, whole)
    assert chain.balance(chain.htlc, token) == 5 * ETHER


def test_only_the_relayer_that_was_named_can_use_the_signature(
    chain: Chain, terms: Terms, token: str
) -> None:
    lock = terms(token=token)
    chain.send(chain.alice, encode_lock(lock))
    message = claim_for(chain, lock)
    with pytest.raises(RevertedError, match="SignatureInvalid"):
        chain.send(chain.alice, message)
    chain.send(chain.carol, message)


def test_a_relayer_needs_the_preimage(chain: Chain, terms: Terms) -> None:
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    message = claim_for(chain, lock)
    with pytest.raises(RevertedError, match="NotOpen"):
        chain.send(chain.carol, Call(message.data.replace(PREIMAGE, bytes(32))))


def test_a_recipient_lets_a_lock_go_back_before_its_deadline(
    chain: Chain, terms: Terms, token: str, lane: int
) -> None:
    lock = terms(token=token, lane=lane)
    before = chain.balance(chain.alice, token)
    chain.send(chain.alice, encode_lock(lock))
    logs = chain.send(chain.carol, agree(chain, lock))
    assert logs == [Refunded(lock_id(chain.chain_id, chain.htlc, lock))]
    assert chain.balance(chain.alice, token) == before


@pytest.mark.parametrize("use", [claim_for, agree])
def test_a_signature_is_not_replayed_on_an_identical_lock(
    chain: Chain, terms: Terms, token: str, lane: int, use: Any
) -> None:
    lock = terms(token=token, lane=lane)
    chain.send(chain.alice, encode_lock(lock))
    chain.send(chain.carol, use(chain, lock))
    chain.send(chain.alice, encode_lock(lock))
    with pytest.raises(RevertedError, match="NonceUsed"):
        chain.send(chain.carol, use(chain, lock))
    chain.send(chain.carol, use(chain, lock, nonce=6))


@pytest.mark.parametrize("use", [claim_for, agree])
@pytest.mark.parametrize(
    "change", ["sender", "token", "amount", "hashlock", "deadline", "lane", "chain", "contract", "signer"]
)
def test_a_signature_is_for_one_lock_on_one_chain_and_contract(
    chain: Chain, terms: Terms, use: Any, change: str
) -> None:
    """Another funder, another amount …: nothing but what was signed."""
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    other = {
        "sender": chain.carol.address,
        "token": "0x" + "12" * 20,
        "amount": ETHER - 1,
        "hashlock": bytes(32),
        "deadline": lock.deadline + 1,
        "lane": 1,
    }
    how: dict[str, dict[str, object]] = {
        "chain": {"chain_id": 1},
        "contract": {"contract": "0x" + "34" * 20},
        "signer": {"signer": chain.carol},
    }
    wrong = how.get(change) or {"signed": terms(**{change: other[change]})}
    with pytest.raises(RevertedError, match="SignatureInvalid"):
        chain.send(chain.carol, use(chain, lock, **wrong))
    assert chain.is_open(lock)
    chain.send(chain.carol, use(chain, lock))


@pytest.mark.parametrize("use", [claim_for, agree])
def test_a_signature_for_one_purpose_serves_no_other(chain: Chain, terms: Terms, use: Any) -> None:
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    signature = use(chain, lock).data[-96:-31]
    crossed = (
        encode_cooperative_refund(lock, nonce=5, expiry=NEVER, signature=signature)
        if use is claim_for
        else encode_claim_for(lock, PREIMAGE, fee=0, max_fee=FEE, nonce=5, expiry=NEVER, signature=signature)
    )
    with pytest.raises(RevertedError, match="SignatureInvalid"):
        chain.send(chain.carol, crossed)


@pytest.mark.parametrize("use", [claim_for, agree])
def test_what_was_signed_cannot_be_changed(chain: Chain, terms: Terms, use: Any) -> None:
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    message = use(chain, lock)
    for old, new in ((5, 6), (NEVER, NEVER + 1)):
        word = old.to_bytes(32, "big")
        assert word in message.data
        with pytest.raises(RevertedError, match="SignatureInvalid"):
            chain.send(chain.carol, Call(message.data.replace(word, new.to_bytes(32, "big"))))
    if use is claim_for:
        head, _, tail = message.data.partition(FEE.to_bytes(32, "big"))
        more = tail.replace(FEE.to_bytes(32, "big"), (2 * FEE).to_bytes(32, "big"))
        with pytest.raises(RevertedError, match="SignatureInvalid"):
            chain.send(chain.carol, Call(head + FEE.to_bytes(32, "big") + more))


def test_signatures_expire_after_their_last_second(chain: Chain, terms: Terms) -> None:
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    expiry = chain.now + 10
    message = claim_for(chain, lock, expiry=expiry)
    chain.warp(11)
    with pytest.raises(RevertedError, match="SignatureExpired"):
        chain.send(chain.carol, message)
    chain.warp(-1)
    chain.send(chain.carol, message)


def test_a_signer_can_withdraw_signatures(chain: Chain, terms: Terms) -> None:
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    nonce = 3 * 256 + 7
    chain.send(chain.carol, encode_cancel_nonces(3, 1 << 7))  # somebody else's nonces are not bob's
    chain.send(chain.bob, encode_cancel_nonces(3, 1 << 7))
    for use in (claim_for, agree):
        with pytest.raises(RevertedError, match="NonceUsed"):
            chain.send(chain.carol, use(chain, lock, nonce=nonce))
    chain.send(chain.bob, encode_cancel_nonces(3, 1 << 9))
    word = chain.raw(chain.alice, chain.htlc, encode_used_nonces(chain.bob.address, 3))
    assert int.from_bytes(word, "big") == 1 << 7 | 1 << 9
    chain.send(chain.carol, agree(chain, lock, nonce=nonce + 1))


@pytest.mark.parametrize("use", [claim_for, agree])
def test_malformed_signatures_are_refused(chain: Chain, terms: Terms, use: Any) -> None:
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    good = use(chain, lock).data
    signature = good[-96:-31]
    assert good.endswith(signature + bytes(31))
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    flipped = r + (SECP256K1_N - s).to_bytes(32, "big") + bytes([55 - v])
    for bad in (
        b"",
        bytes(65),
        signature[:64],
        flipped,
        signature[:64] + b"\x00",
        b"\xff" * 65,
        signature + b"\0",
    ):
        message = (
            encode_cooperative_refund(lock, nonce=5, expiry=NEVER, signature=bad)
            if use is agree
            else encode_claim_for(lock, PREIMAGE, fee=FEE, max_fee=FEE, nonce=5, expiry=NEVER, signature=bad)
        )
        with pytest.raises(RevertedError, match="SignatureInvalid"):
            chain.send(chain.carol, message)
    chain.send(chain.carol, Call(good))


@pytest.mark.parametrize("use", ["claim", "refund"])
def test_a_smart_wallet_signs_by_eip_1271(chain: Chain, terms: Terms, token: str, use: str) -> None:
    wallet = chain.deploy_test("Actor")
    lock = terms(token=token, recipient=wallet)
    chain.send(chain.alice, encode_lock(lock))
    if use == "claim":
        typed = claim_for_typed_data(
            chain.chain_id,
            chain.htlc,
            lock,
            relayer=chain.carol.address,
            max_fee=FEE,
            nonce=1,
            expiry=NEVER,
        )
        message = encode_claim_for(
            lock, PREIMAGE, fee=FEE, max_fee=FEE, nonce=1, expiry=NEVER, signature=b"any form"
        )
    else:
        typed = cooperative_refund_typed_data(chain.chain_id, chain.htlc, lock, nonce=1, expiry=NEVER)
        message = encode_cooperative_refund(lock, nonce=1, expiry=NEVER, signature=b"any form")
    with pytest.raises(RevertedError, match="SignatureInvalid"):
        chain.send(chain.carol, message)
    chain.raw(chain.alice, wallet, call("approveDigest(bytes32)", typed_data_digest(typed)))
    chain.send(chain.carol, message)
    assert chain.balance(wallet, token) == (ETHER - FEE if use == "claim" else 0)


def test_a_short_answer_of_a_smart_wallet_is_a_no(chain: Chain, terms: Terms) -> None:
    wallet = chain.deploy_test("Actor")
    lock = terms(recipient=wallet)
    chain.send(chain.alice, encode_lock(lock))
    typed = cooperative_refund_typed_data(chain.chain_id, chain.htlc, lock, nonce=1, expiry=NEVER)
    chain.raw(chain.alice, wallet, call("approveDigest(bytes32)", typed_data_digest(typed)))
    chain.raw(chain.alice, wallet, call("answerShort(bool)", True))
    message = encode_cooperative_refund(lock, nonce=1, expiry=NEVER, signature=b"")
    with pytest.raises(RevertedError, match="SignatureInvalid"):
        chain.send(chain.carol, message)


@pytest.mark.parametrize("use", [claim_for, agree])
def test_each_chain_has_signatures_of_its_own(use: Any) -> None:
    elsewhere = Chain(chain_id=1)
    lock = EvmLockTerms(
        sender=elsewhere.alice.address,
        recipient=elsewhere.bob.address,
        token=COIN,
        amount=ETHER,
        hashlock=HASHLOCK,
        deadline=elsewhere.now + 3600,
    )
    elsewhere.send(elsewhere.alice, encode_lock(lock))
    with pytest.raises(RevertedError, match="SignatureInvalid"):
        elsewhere.send(elsewhere.carol, use(elsewhere, lock, chain_id=CHAIN_ID))
    elsewhere.send(elsewhere.carol, use(elsewhere, lock))


def test_a_contract_that_knows_nothing_of_eip_1271_signs_nothing(chain: Chain, terms: Terms) -> None:
    lock = terms(recipient=chain.token())
    chain.send(chain.alice, encode_lock(lock))
    with pytest.raises(RevertedError, match="SignatureInvalid"):
        chain.send(chain.carol, agree(chain, lock))


def test_an_account_with_delegated_code_still_signs_with_its_key(chain: Chain, terms: Terms) -> None:
    """EIP-7702: the account has code, and its key is as good as before."""
    chain.put_code(chain.bob.address, compiled()["TestToken"][1])
    lock = terms()
    chain.send(chain.alice, encode_lock(lock))
    chain.send(chain.carol, agree(chain, lock))


def test_a_cooperative_refund_of_a_lock_that_is_not_open_is_refused(chain: Chain, terms: Terms) -> None:
    chain.send(chain.alice, encode_lock(terms(amount=5 * ETHER)))
    with pytest.raises(RevertedError, match="NotOpen"):
        chain.send(chain.carol, agree(chain, terms()))


def permit(chain: Chain, token: str, owner: Party, value: int, nonce: int = 0) -> bytes:
    fields = ("owner address", "spender address", "value uint256", "nonce uint256", "deadline uint256")
    return owner.sign(
        {
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                "Permit": [dict(zip(("name", "type"), field.split(), strict=True)) for field in fields],
            },
            "primaryType": "Permit",
            "domain": {
                "name": "Test Token",
                "version": "1",
                "chainId": chain.chain_id,
                "verifyingContract": token,
            },
            "message": {
                "owner": owner.address,
                "spender": chain.htlc,
                "value": value,
                "nonce": nonce,
                "deadline": NEVER,
            },
        }
    )


def test_a_permit_approves_and_locks_at_once(chain: Chain, terms: Terms, lane: int) -> None:
    token = chain.token()
    chain.raw(chain.alice, token, call("approve(address,uint256)", chain.htlc, 0))
    lock = terms(token=token, lane=lane)
    signature = permit(chain, token, chain.alice, lock.amount)
    assert chain.send(chain.alice, encode_lock_with_permit(lock, NEVER, signature)) == [Locked(lock)]
    assert chain.balance(chain.htlc, token) == ETHER


def test_a_permit_that_somebody_submitted_first_still_locks(chain: Chain, terms: Terms) -> None:
    token = chain.token()
    chain.raw(chain.alice, token, call("approve(address,uint256)", chain.htlc, 0))
    lock = terms(token=token)
    signature = permit(chain, token, chain.alice, lock.amount)
    r, s, v = signature[:32], signature[32:64], signature[64]
    front_run = call(
        "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
        *(chain.alice.address, chain.htlc, lock.amount, NEVER, v, r, s),
    )
    chain.raw(chain.carol, token, front_run)
    chain.send(chain.alice, encode_lock_with_permit(lock, NEVER, signature))
    assert chain.is_open(lock)


def test_a_permit_is_no_use_to_anybody_else(chain: Chain, terms: Terms) -> None:
    token = chain.token()
    chain.raw(chain.carol, token, call("approve(address,uint256)", chain.htlc, 0))
    lock = terms(token=token, recipient=chain.carol.address)
    message = encode_lock_with_permit(lock, NEVER, permit(chain, token, chain.alice, lock.amount))
    with pytest.raises(RevertedError, match="ERC20AmountMismatch"):
        chain.send(chain.carol, message)


@pytest.fixture
def permit2_token(chain: Chain) -> str:
    """A token that alice approved for Permit2 alone."""
    chain.put_code(PERMIT2, compiled()["TestPermit2"][1])
    token = chain.token()
    chain.raw(chain.alice, token, call("approve(address,uint256)", chain.htlc, 0))
    chain.raw(chain.alice, token, call("approve(address,uint256)", PERMIT2, 2**256 - 1))
    return token


def with_permit2(chain: Chain, lock: EvmLockTerms, signed: EvmLockTerms | None = None) -> Call:
    typed = permit2_typed_data(chain.chain_id, chain.htlc, signed or lock, nonce=9, permit_deadline=NEVER)
    return encode_lock_with_permit2(lock, 9, NEVER, chain.alice.sign(typed))


def test_anyone_submits_a_lock_that_its_sender_signed_for_permit2(
    chain: Chain, terms: Terms, permit2_token: str
) -> None:
    lock = terms(token=permit2_token)
    assert chain.send(chain.carol, with_permit2(chain, lock)) == [Locked(lock)]
    assert chain.balance(chain.alice, permit2_token) == 999 * ETHER
    chain.warp(3600)
    chain.send(chain.carol, encode_refund(lock))
    assert chain.balance(chain.alice, permit2_token) == 1000 * ETHER
    lock = terms(token=permit2_token, deadline=chain.now + 1)
    with pytest.raises(RevertedError):
        chain.send(chain.carol, with_permit2(chain, lock))  # its nonce is used


@pytest.mark.parametrize("change", ["recipient", "hashlock", "deadline", "amount", "sender"])
def test_a_permit2_signature_makes_that_lock_and_no_other(
    chain: Chain, terms: Terms, permit2_token: str, change: str
) -> None:
    other = {
        "recipient": chain.carol.address,
        "hashlock": bytes(32),
        "deadline": chain.now + 7200,
        "amount": 2 * ETHER,
        "sender": chain.carol.address,
    }
    lock = terms(token=permit2_token)
    forged = terms(**{"token": permit2_token, change: other[change]})
    with pytest.raises(RevertedError):
        chain.send(chain.carol, with_permit2(chain, forged, signed=lock))
    assert chain.balance(chain.htlc, permit2_token) == 0


def test_a_permit2_lock_never_takes_a_lane(chain: Chain, terms: Terms, permit2_token: str) -> None:
    """The lane is not signed, so it must not be the submitter's to choose."""
    lock = terms(token=permit2_token)
    message = with_permit2(chain, lock)
    in_lane = lock.payee | 5 << 224
    sent = message.data[:4] + in_lane.to_bytes(32, "big") + message.data[36:]
    assert chain.send(chain.carol, Call(sent)) == [Locked(lock)]


def test_a_permit2_lock_counts_what_arrives(chain: Chain, terms: Terms) -> None:
    chain.put_code(PERMIT2, compiled()["TestPermit2"][1])
    token = chain.token("FeeToken")
    chain.raw(chain.alice, token, call("approve(address,uint256)", PERMIT2, 2**256 - 1))
    with pytest.raises(RevertedError, match="ERC20AmountMismatch"):
        chain.send(chain.carol, with_permit2(chain, terms(token=token)))


def test_the_contract_tells_its_signing_domain(chain: Chain) -> None:
    from eth_abi.abi import decode

    types = ["bytes1", "string", "string", "uint256", "address", "bytes32", "uint256[]"]
    answer = decode(types, chain.raw(chain.carol, chain.htlc, call("eip712Domain()")))
    assert answer[0] == b"\x0f"
    assert answer[1:3] == (DOMAIN_NAME, DOMAIN_VERSION)
    assert answer[3] == chain.chain_id
    assert answer[4] == chain.htlc.lower()


def test_ids_differ_on_another_chain_and_contract(chain: Chain, terms: Terms, token: str) -> None:
    lock = terms(token=token)
    elsewhere = Chain(chain_id=1)
    id_of = f"idOf({'(address,address,address,uint256,bytes32,uint64,uint32)'})"
    for where in (chain, elsewhere):
        answer = where.raw(where.carol, where.htlc, call(id_of, lock.plain()))
        assert answer == lock_id(where.chain_id, where.htlc, lock)
    assert lock_id(1, chain.htlc, lock) != lock_id(2, chain.htlc, lock)
    assert lock_id(1, chain.htlc, lock) != lock_id(1, COIN, lock)
