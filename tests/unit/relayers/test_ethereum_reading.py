"""Ethereum, without a network: nodes' words, bloom filters, addresses, logs of strangers, wallet payloads."""

from __future__ import annotations

import msgspec
import pytest
from eth_account import Account
from eth_hash.auto import keccak

from bridge.chains.errors import ActionRefusedError, BadAddressError, PortUnavailableError
from bridge.chains.port import BroadcastOutcome, Claimed, Locked, SetAside, Spent
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
    UnixSeconds,
)
from relayers.evm import erc20, htlc
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.devnet import demo_token
from relayers.evm.known_locks import KnownLocks
from relayers.evm.logs import may_contain
from relayers.evm.rpc import RpcError
from relayers.evm.settings import ETH, EvmSettings
from relayers.evm.terms import UNKNOWN_SYMBOL, Place, read_event
from relayers.evm.transactions import read_broadcast
from tests import instances

CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
BLOCK = BlockRef(BlockHeight(7), "0xb7", "0xb6", UnixSeconds(1_800_000_000))
SECRET = Preimage(b"s" * 32)


def place(chain_id: int) -> Place:
    return Place(instances.ETHEREUM, chain_id, CONTRACT)


@pytest.fixture
def port() -> EvmPort:
    settings = EvmSettings(
        rpc_urls=("http://127.0.0.1:1",), chain_id=31337, contract=CONTRACT, assets=(ETH, demo_token.asset())
    )
    return open_port(settings, devnet_key("reading"))


def terms(port: EvmPort, asset: Asset = ETH, amount: int = 10**18) -> LockTerms:
    recipient = str(Account.from_key(devnet_key("recipient")).address)
    return LockTerms(
        instances.ETHEREUM,
        Address(CONTRACT),
        port.account,
        Address(recipient),
        asset,
        Amount(amount),
        SECRET.hashlock(),
        UnixSeconds(1_900_000_000),
    )


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("already known", BroadcastOutcome.ALREADY_KNOWN),
        ("AlreadyKnown", BroadcastOutcome.ALREADY_KNOWN),
        ("Known transaction", BroadcastOutcome.ALREADY_KNOWN),
        ("transaction already imported", BroadcastOutcome.ALREADY_KNOWN),
        ("nonce too low: next nonce 5, tx nonce 3", BroadcastOutcome.SEQUENCE_USED),
        ("OldNonce", BroadcastOutcome.SEQUENCE_USED),
        ("Nonce too low", BroadcastOutcome.SEQUENCE_USED),
        ("replacement transaction underpriced", BroadcastOutcome.UNDERPRICED),
        ("transaction underpriced: tip needed 1", BroadcastOutcome.UNDERPRICED),
        ("max fee per gas less than block base fee", BroadcastOutcome.UNDERPRICED),
        ("ReplacementNotAllowed", BroadcastOutcome.UNDERPRICED),
        ("FeeTooLow, MaxFeePerGas too low", BroadcastOutcome.UNDERPRICED),
        ("insufficient funds for gas * price + value", BroadcastOutcome.REJECTED),
        ("intrinsic gas too low", BroadcastOutcome.REJECTED),
        ("invalid sender", BroadcastOutcome.REJECTED),
    ],
)
def test_what_nodes_say_to_a_broadcast_is_understood(words: str, outcome: BroadcastOutcome) -> None:
    result = read_broadcast(RpcError(-32000, words), TxId("0x1"))
    assert (result.outcome, result.reason) == (outcome, words)


def test_a_full_pool_is_no_verdict_on_the_transaction() -> None:
    with pytest.raises(PortUnavailableError):
        read_broadcast(RpcError(-32000, "txpool is full"), TxId("0x1"))


@pytest.mark.parametrize(
    "words", ["Internal error", "nonce too far in the future", "upstream is busy", "something new", ""]
)
def test_what_is_no_verdict_on_the_bytes_neither_rejects_nor_outbids(words: str) -> None:
    with pytest.raises(PortUnavailableError):
        read_broadcast(RpcError(-32000, words), TxId("0x1"))


def test_an_rpc_that_names_another_transaction_is_not_believed() -> None:
    with pytest.raises(PortUnavailableError):
        read_broadcast("0x2", TxId("0x1"))


def bloom(*items: bytes) -> bytes:
    """Build a filter the way the Yellow Paper describes it, bit by bit."""
    bits = bytearray(256)
    for item in items:
        digest = keccak(item)
        for pair in (0, 2, 4):
            bit = int.from_bytes(digest[pair : pair + 2], "big") % 2048
            bits[255 - bit // 8] |= 1 << bit % 8
    return bytes(bits)


def test_the_bloom_filter_needs_both_the_contract_and_one_topic() -> None:
    contract, topics = bytes.fromhex(CONTRACT[2:]), [b"\1" * 32, b"\2" * 32]
    names = ["0x" + topic.hex() for topic in topics]
    assert may_contain(bloom(contract, topics[1]), CONTRACT, names)
    assert not may_contain(bloom(contract), CONTRACT, names)
    assert not may_contain(bloom(topics[0]), CONTRACT, names)
    assert not may_contain(bytes(256), CONTRACT, names)


@pytest.mark.parametrize(
    "text",
    [
        "0x5fbdb2315678afecb367f032d93f642f64180aa3",
        "0x5FBDB2315678AFECB367F032D93F642F64180AA3",
        " 0x5FbDB2315678afecb367f032d93F642f64180aa3\n",
    ],
)
def test_an_address_gets_its_checksum(port: EvmPort, text: str) -> None:
    assert port.parse_address(text) == CONTRACT


@pytest.mark.parametrize(
    "text",
    [
        "5FbDB2315678afecb367f032d93F642f64180aa3",
        "0x5FbDB2315678afecb367f032d93F642f64180aA3",
        "0x5FbDB2315678afecb367f032d93F642f64180aa",
        "0x" + "0" * 40,
        "zion1qqqqqq",
        "",
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(port: EvmPort, text: str) -> None:
    with pytest.raises(BadAddressError) as refusal:
        port.parse_address(text)
    assert refusal.value.hint


@pytest.mark.parametrize("topic", htlc.SPEND_TOPICS)
def test_a_spend_that_does_not_decode_is_still_a_spend(topic: bytes) -> None:
    event = read_event(log(topic, b"\6" * 32, data=b"\xff" * 31), BLOCK, place(1), {})
    assert isinstance(event, Spent)
    assert (event.lock_id, event.tx_id) == ("0x" + "06" * 32, "0xaa")


def test_a_log_that_does_not_decode_is_set_aside() -> None:
    event = read_event(log(htlc.TOPIC_LOCKED_COIN, b"\6" * 32, data=b"\0" * 63), BLOCK, place(1), {})
    assert isinstance(event, SetAside)
    assert (event.block, event.item) == (BLOCK, "0xaa")


def test_a_claim_of_a_lock_that_is_known_must_open_it() -> None:
    locks = KnownLocks()
    locks.add(LockId("0x" + "06" * 32), Preimage(b"p" * 32).hashlock())
    entry = log(htlc.TOPIC_CLAIMED, b"\6" * 32, data=b"p" * 32)
    assert isinstance(read_event(entry, BLOCK, place(1), {}, locks), Claimed)
    entry = log(htlc.TOPIC_CLAIMED, b"\6" * 32, data=b"q" * 32)
    assert isinstance(read_event(entry, BLOCK, place(1), {}, locks), Spent)


def test_the_memory_of_locks_forgets_the_oldest() -> None:
    locks = KnownLocks(most=2)
    for number in range(3):
        locks.add(LockId("0x" + bytes([number] * 32).hex()), b"h" * 32)
    assert [locks.has(bytes([number] * 32)) for number in range(3)] == [False, True, True]


def log(*topics: bytes, data: bytes) -> dict[str, object]:
    return {
        "transactionHash": "0xaa",
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + data.hex(),
    }


def test_a_lock_of_an_unknown_token_is_an_event_with_an_asset_that_matches_none() -> None:
    token = "0x" + "77" * 20
    word = (1_900_000_000 << 160 | int("11" * 20, 16)).to_bytes(32, "big")
    data = word + bytes(12) + b"\x22" * 20 + bytes(12) + bytes.fromhex(token[2:]) + (5).to_bytes(32, "big")
    event = read_event(log(htlc.TOPIC_LOCKED_TOKEN, b"\3" * 32, data=data), BLOCK, place(1), {"": ETH})
    assert isinstance(event, Locked)
    assert event.terms.asset == Asset(instances.ETHEREUM, UNKNOWN_SYMBOL, 0, "0x" + "77" * 20)


@pytest.mark.parametrize("size", [0, 31, 64, 65])
def test_what_a_stranger_writes_never_stops_the_scan(size: int) -> None:
    for topic in htlc.TOPICS:
        event = read_event(log(topic, b"\4" * 32, data=b"\xff" * size), BLOCK, place(1), {"": ETH})
        if isinstance(event, Locked):  # 64 bytes of ones are a lock that the contract could have logged
            assert (topic, size) == (htlc.TOPIC_LOCKED_COIN, 64)
            assert event.terms.lane == htlc.MAX_LANE


def test_a_lock_in_a_lane_is_seen_with_its_lane_and_the_id_of_all_its_terms(port: EvmPort) -> None:
    payee = (7 << 224 | 1_900_000_000 << 160 | int("11" * 20, 16)).to_bytes(32, "big")
    payer = (10**18 << 160 | int("22" * 20, 16)).to_bytes(32, "big")
    event = read_event(
        log(htlc.TOPIC_LOCKED_COIN, b"\5" * 32, data=payee + payer), BLOCK, place(31337), {"": ETH}
    )
    assert isinstance(event, Locked)
    assert event.terms.lane == 7
    assert event.lock_id == port.lock_id(event.terms)
    assert event.lock_id != port.lock_id(msgspec.structs.replace(event.terms, lane=0))


def test_a_claim_from_a_lane_names_the_lane_and_hints_at_more_gas(port: EvmPort) -> None:
    lane = msgspec.structs.replace(terms(port), lane=7)
    (fresh,) = port.unsigned(Purpose.CLAIM, terms(port), SECRET).payload["transactions"]
    (claim,) = port.unsigned(Purpose.CLAIM, lane, SECRET).payload["transactions"]
    assert claim["data"][10:18] == "00000007"
    assert fresh["data"][10:18] == "00000000"
    assert int(claim["gas"], 16) > int(fresh["gas"], 16)


@pytest.mark.parametrize("lane", [-1, 2**32])
def test_a_lane_that_no_contract_has_is_refused(port: EvmPort, lane: int) -> None:
    with pytest.raises(ActionRefusedError):
        port.lock_id(msgspec.structs.replace(terms(port), lane=lane))


def test_a_claim_shows_its_preimage_and_hides_it_from_print() -> None:
    event = read_event(log(htlc.TOPIC_CLAIMED, b"\6" * 32, data=b"p" * 32), BLOCK, place(1), {})
    assert event == Claimed(BLOCK, TxId("0xaa"), LockId("0x" + "06" * 32), Preimage(b"p" * 32))
    assert "p" * 32 not in repr(event)
    assert (b"p" * 32).hex() not in repr(event)


def test_a_wallet_gets_the_approval_before_the_lock_of_a_token(port: EvmPort) -> None:
    token = demo_token.asset()
    wanted = terms(port, token, 5_000_000)
    approve, lock = port.unsigned(Purpose.LOCK, wanted).payload["transactions"]
    assert (approve["to"], approve["data"]) == (token.contract, erc20.approve(CONTRACT, 5_000_000))
    assert (lock["to"], lock["value"], lock["from"]) == (CONTRACT, "0x0", port.account)
    assert lock["chainId"] == hex(31337)


def test_a_wallet_sends_the_ether_it_locks(port: EvmPort) -> None:
    (lock,) = port.unsigned(Purpose.LOCK, terms(port)).payload["transactions"]
    assert lock["value"] == hex(10**18)


def test_terms_that_no_lock_can_have_are_refused(port: EvmPort) -> None:
    for change in ({"amount": 0}, {"amount": 2**96}, {"deadline": 0}, {"hashlock": b"short"}):
        with pytest.raises(ActionRefusedError) as refusal:
            port.lock_id(msgspec.structs.replace(terms(port), **change))
        assert refusal.value.hint


def test_a_wallet_gets_no_claim_with_a_wrong_preimage(port: EvmPort) -> None:
    with pytest.raises(ActionRefusedError):
        port.unsigned(Purpose.CLAIM, terms(port), Preimage(b"wrong"))
