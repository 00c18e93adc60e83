"""ZION, without a node: terms, transactions, wallet payloads and what the rules refuse."""

from __future__ import annotations

import json

import msgspec
import pytest

from bridge.chains.actions import ClaimAction, LockAction, RefundAction, action_of
from bridge.chains.errors import ActionRefusedError, BadAddressError, InsufficientFundsError
from bridge.chains.port import Claimed, Locked, Refunded
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    ChainId,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
    UnixSeconds,
)
from chain.rules.address import encode_address
from chain.rules.params import COIN, Network
from chain.rules.records import Kind, decode_transaction
from chain.wallet.keys import Key
from chain.wallet.transactions import build_claim, build_lock, build_refund, sign
from relayers.zion.adapter import open_port
from relayers.zion.htlc import for_wallet, from_payload, id_of, read_event, transaction
from relayers.zion.rules import check_funds, check_lock
from relayers.zion.settings import ZION, ZionSettings
from relayers.zion.timing import timing
from tests import instances

US, THEM = Key.from_secret(devnet_key("us")), Key.from_secret(devnet_key("them"))
SECRET = Preimage(b"zion preimage")
DEV = ZionSettings(rpc_urls=(), network=Network.DEV)
CHAIN_ID = DEV.chain_id
BLOCK = BlockRef(BlockHeight(9), "b9", "b8", UnixSeconds(1_800_000_000))
TERMS = LockTerms(
    instances.ZION,
    Address(""),
    Address(US.address),
    Address(THEM.address),
    ZION,
    Amount(5 * COIN),
    SECRET.hashlock(),
    UnixSeconds(1_900_000_000),
)


class Params:
    chain_id = CHAIN_ID


def test_our_transactions_are_those_of_the_chains_own_wallet() -> None:
    lock = transaction(LockAction(TERMS), DEV, sender=US.key_hash, nonce=4, fee=1_000)
    params: object = Params()
    assert (
        sign(US, lock).raw
        == build_lock(
            US,
            params,  # type: ignore[arg-type]
            nonce=4,
            recipient=THEM.key_hash,
            amount=TERMS.amount,
            hashlock=TERMS.hashlock,
            deadline=TERMS.deadline,
            fee=1_000,
        ).raw
    )
    assert lock.lock_id == id_of(TERMS, DEV)
    claim = transaction(ClaimAction(TERMS, SECRET), DEV, sender=THEM.key_hash, nonce=0, fee=2_000)
    assert (
        sign(THEM, claim, claim.witness.aux).raw
        == build_claim(
            THEM,
            params,  # type: ignore[arg-type]
            nonce=0,
            lock_id=lock.lock_id,
            recipient=THEM.key_hash,
            amount=TERMS.amount,
            preimage=SECRET.reveal(),
            fee=2_000,
        ).raw
    )
    refund = transaction(RefundAction(TERMS), DEV, sender=THEM.key_hash, nonce=1, fee=2_000)
    assert (
        sign(THEM, refund).raw
        == build_refund(
            THEM,
            params,  # type: ignore[arg-type]
            nonce=1,
            lock_id=lock.lock_id,
            sender=US.key_hash,
            amount=TERMS.amount,
            fee=2_000,
        ).raw
    )


@pytest.mark.parametrize(
    ("purpose", "preimage", "kind"),
    [
        (Purpose.LOCK, None, Kind.HTLC_LOCK),
        (Purpose.CLAIM, SECRET, Kind.HTLC_CLAIM),
        (Purpose.REFUND, None, Kind.HTLC_REFUND),
    ],
)
def test_a_wallet_payload_survives_json_and_becomes_the_same_transaction(
    purpose: Purpose, preimage: Preimage | None, kind: Kind
) -> None:
    payload = json.loads(json.dumps(for_wallet(purpose, TERMS, preimage, DEV, 1_000).payload))
    made = from_payload(payload, sender=US.key_hash, nonce=7)
    action = action_of(purpose, TERMS, preimage)
    wanted = transaction(action, DEV, sender=US.key_hash, nonce=7, fee=1_000)
    assert made.kind == kind
    assert made.raw == wanted.raw
    assert decode_transaction(made.raw) == wanted


def test_transactions_are_read_as_the_events_they_make() -> None:
    lock_id = id_of(TERMS, DEV).hex()
    for purpose, preimage in ((Purpose.LOCK, None), (Purpose.CLAIM, SECRET), (Purpose.REFUND, None)):
        action = action_of(purpose, TERMS, preimage)
        tx = transaction(action, DEV, sender=US.key_hash, nonce=7, fee=1_000)
        wanted = {
            Purpose.LOCK: Locked(BLOCK, TxId(tx.txid.hex()), LockId(lock_id), TERMS),
            Purpose.CLAIM: Claimed(BLOCK, TxId(tx.txid.hex()), LockId(lock_id), SECRET),
            Purpose.REFUND: Refunded(BLOCK, TxId(tx.txid.hex()), LockId(lock_id)),
        }[purpose]
        assert read_event(tx, BLOCK, DEV.native) == wanted


@pytest.mark.parametrize(
    "change",
    [
        {"chain": instances.ETHEREUM},
        {"asset": Asset(ChainId("zion2"), "ZION", 8)},
        {"contract": "0x1"},
        {"asset": Asset(instances.ZION, "FAKE", 8, "fake")},
        {"amount": 0},
        {"amount": 2**60 + 1},
        {"hashlock": b"short"},
        {"deadline": 0},
        {"sender": "zion1nonsense"},
        {"recipient": ""},
    ],
)
def test_terms_that_no_lock_can_have_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ActionRefusedError) as refusal:
        id_of(msgspec.structs.replace(TERMS, **change), DEV)
    assert refusal.value.hint


def test_funds_must_cover_amount_and_fee_but_a_claim_may_pay_its_own_fee() -> None:
    check_funds(balance=100, spent=90, earned=0, fee=10)
    check_funds(balance=0, spent=0, earned=50, fee=10)
    for balance, spent, earned, fee in ((99, 90, 0, 10), (0, 0, 5, 10), (5, 10, 100, 1)):
        with pytest.raises(InsufficientFundsError):
            check_funds(balance, spent, earned, fee)


def test_a_lock_that_ends_in_the_past_is_refused() -> None:
    check_lock(Purpose.LOCK, TERMS, None, TERMS.deadline - 1)
    with pytest.raises(ActionRefusedError):
        check_lock(Purpose.LOCK, TERMS, None, TERMS.deadline)


def test_nothing_is_sent_for_a_lock_that_is_not_there() -> None:
    for purpose in (Purpose.CLAIM, Purpose.REFUND, Purpose.COOPERATIVE_REFUND):
        with pytest.raises(ActionRefusedError):
            check_lock(purpose, TERMS, None, TERMS.deadline)


def test_the_zero_address_belongs_to_nobody() -> None:
    port = open_port(ZionSettings(("http://127.0.0.1:1",), Network.DEV), devnet_key("us"))
    assert port.parse_address(US.address.upper()) == US.address
    with pytest.raises(BadAddressError):
        port.parse_address(encode_address(bytes(20)))


def test_finality_grows_with_the_amount() -> None:
    depths = [timing(Network.MAIN, amount * COIN).finality_depth for amount in (1, 1_000, 100_000)]
    assert depths == sorted(set(depths))
