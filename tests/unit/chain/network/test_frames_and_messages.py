"""Bytes from strangers: every decoder returns a message or refuses, whatever comes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.network.codec import wtxid_of
from chain.network.core.compact import compact_key, compact_of, short_ids, solve_compact
from chain.network.errors import FrameError, MalformedMessageError, PeerAddressError
from chain.network.frames import FRAME_HEADER, FrameReader, encode_frame, network_magic
from chain.network.message_codec import decode_message, encode_message
from chain.network.messages import (
    CAPS,
    AddressEntry,
    Addresses,
    BlockMessage,
    BlockTransactions,
    Bye,
    FeeFilter,
    GetAddresses,
    GetBlocks,
    GetBlockTransactions,
    GetHeaders,
    GetTransactions,
    Headers,
    Hello,
    Inventory,
    Message,
    NotFound,
    Ping,
    Pong,
    Ready,
    SendCompact,
    Transactions,
    Type,
)
from chain.network.peer_address import Net, PeerAddress, address_of, split_host_port
from chain.rules.block import Block
from chain.rules.genesis import genesis_block
from chain.rules.params import DEV, MAIN
from chain.rules.types import BlockId, WtxId

GENESIS = genesis_block(DEV)
MAGIC = network_magic(GENESIS.id)
RAW = bytes(range(256)) + bytes(72)
IDS = tuple(BlockId(bytes([n]) * 32) for n in range(1, 4))
MESSAGES: tuple[Message, ...] = (
    Hello(1, GENESIS.id, 1, 2**64 - 1, 7, (99).to_bytes(32, "big"), 1_700_000_000, "zion", 38_080, True),
    Ready(),
    Ping(5),
    Pong(5),
    GetAddresses(),
    Addresses(tuple(AddressEntry(9, 1, address_of(host, 80)) for host in ("192.0.2.1", "2001:db8::1"))),
    GetHeaders(IDS),
    Headers((GENESIS.header, GENESIS.header)),
    GetBlocks(IDS),
    BlockMessage(GENESIS),
    NotFound(9, IDS),
    SendCompact(enabled=True),
    compact_of(GENESIS, bytes(16)),
    GetBlockTransactions(IDS[0], (0, 5, 4_095)),
    BlockTransactions(IDS[0], (RAW, RAW)),
    Inventory(tuple(map(WtxId, IDS))),
    GetTransactions(tuple(map(WtxId, IDS))),
    Transactions((RAW,)),
    FeeFilter(1_000),
    Bye(3, "good-bye"),
)  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_its_bytes(message: Message) -> None:
    kind, payload = encode_message(message)
    assert len(payload) <= CAPS[kind]
    again = decode_message(kind, payload)
    assert type(again) is type(message)
    assert encode_message(again) == (kind, payload)


def test_every_type_is_covered() -> None:
    assert {encode_message(message)[0] for message in MESSAGES} == set(Type)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_byte_too_many_or_too_few_is_refused(message: Message) -> None:
    kind, payload = encode_message(message)
    if kind is not Type.BYE:
        with pytest.raises(MalformedMessageError):
            decode_message(kind, payload + b"\x00")
    if payload and kind is not Type.BYE:
        with pytest.raises(MalformedMessageError):
            decode_message(kind, payload[:-1])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(sorted(Type)), payload=st.binary(max_size=400))
def test_no_bytes_break_a_decoder(kind: int, payload: bytes) -> None:
    try:
        message = decode_message(kind, payload)
    except MalformedMessageError:
        return
    assert message is not None
    assert encode_message(message)[0] == kind


@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, len(MESSAGES) - 1),
    at=st.integers(0, 2**16),
    value=st.integers(0, 255),
    cut=st.integers(0, 40),
)
def test_damaged_messages_are_read_or_refused(which: int, at: int, value: int, cut: int) -> None:
    kind, payload = encode_message(MESSAGES[which])
    damaged = bytearray(payload)
    if damaged:
        damaged[at % len(damaged)] = value
    with suppress(MalformedMessageError):
        decode_message(kind, bytes(damaged[: len(damaged) - cut if cut < 20 else None]))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Type.HEADERS, (2_001).to_bytes(2, "little") + bytes(2_001 * 88)),
        (Type.GET_BLOCKS, b"\x02" + IDS[0] + IDS[0]),
        (Type.GET_BLOCKS, b"\x00"),
        (Type.GET_BLOCK_TRANSACTIONS, IDS[0] + b"\x02\x00" + b"\x05\x00\x04\x00"),
        (Type.GET_BLOCK_TRANSACTIONS, IDS[0] + b"\x01\x00" + b"\x00\x10"),
        (Type.SEND_COMPACT, b"\x02"),
        (Type.FEE_FILTER, b"\xff" * 8),
        (Type.ADDRESSES, b"\x01\x00" + bytes(12) + b"\x01" + b"\x01" * 32 + bytes(2)),
    ],
)
def test_lists_out_of_bounds_or_order_are_refused(kind: int, payload: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        decode_message(kind, payload)


def test_a_type_of_a_later_version_is_no_message() -> None:
    assert decode_message(99, b"anything") is None


# frames ---------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(pieces=st.lists(st.integers(1, 60), min_size=1, max_size=80))
def test_frames_come_out_however_the_stream_is_cut(pieces: list[int]) -> None:
    stream = b"".join(encode_frame(MAGIC, *encode_message(message)) for message in MESSAGES)
    reader, frames, at, turn = FrameReader(MAGIC, CAPS), [], 0, 0
    while at < len(stream):
        step = pieces[turn % len(pieces)]
        frames += reader.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert [(frame.type, frame.payload) for frame in frames] == [encode_message(one) for one in MESSAGES]
    assert len(reader) == 0


@pytest.mark.parametrize(
    "header",
    [
        FRAME_HEADER.pack(network_magic(genesis_block(MAIN).id), Type.PING, 0, 0, 8),
        FRAME_HEADER.pack(MAGIC, Type.PING, 1, 0, 8),
        FRAME_HEADER.pack(MAGIC, Type.PING, 0, 1, 8),
        FRAME_HEADER.pack(MAGIC, Type.PING, 0, 0, 9),
        FRAME_HEADER.pack(MAGIC, Type.BLOCK, 0, 0, CAPS[Type.BLOCK] + 1),
        FRAME_HEADER.pack(MAGIC, 99, 0, 0, 2**32 - 1),
    ],
)
def test_a_frame_is_refused_on_its_header(header: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader(MAGIC, CAPS).feed(header)


# addresses ------------------------------------------------------------------------------------------


def test_addresses_are_read_and_grouped() -> None:
    onion = PeerAddress(Net.ONION, bytes(range(32)), 9)
    assert address_of(onion.host, 9) == onion
    assert address_of("::ffff:192.0.2.7", 1) == address_of("192.0.2.7", 1)
    assert address_of("192.0.2.7", 1).group == address_of("192.0.99.1", 2).group
    assert address_of("192.0.2.7", 1).subnet != address_of("192.0.99.1", 2).subnet
    assert not address_of("10.1.2.3", 1).routable
    assert split_host_port("[::1]:5", 1) == ("::1", 5)
    assert split_host_port("example.org", 7) == ("example.org", 7)
    for text in ("", "[::1", "host:port", "host:70000", "[::1]x"):
        with pytest.raises(PeerAddressError):
            split_host_port(text, 1)
    with pytest.raises(PeerAddressError):
        address_of("a" * 56 + ".onion", 1)


# compact blocks -------------------------------------------------------------------------------------


def test_short_ids_name_transactions_and_collisions_are_noticed() -> None:
    raws = {wtxid_of(bytes([n]) * 328): bytes([n]) * 328 for n in range(1, 6)}
    known = list(raws)
    message = compact_of(GENESIS, bytes(16))
    key = compact_key(GENESIS.id, bytes(16))
    ids = tuple(short_ids(key, known[:3]))
    assert len(set(ids)) == 3
    full = type(message)(message.header, bytes(16), ids, message.prefilled)
    filled = solve_compact(full, known, raws.get)
    assert filled == [message.prefilled[0][1], *(raws[one] for one in known[:3])]
    partly = solve_compact(full, known[1:], raws.get)
    assert partly is not None
    assert [n for n, raw in enumerate(partly) if raw is None] == [1]
    twice = type(message)(message.header, bytes(16), (ids[0], ids[0]), message.prefilled)
    assert solve_compact(twice, known, raws.get) is None


def test_the_wtxid_covers_the_witness() -> None:
    block: Block = GENESIS
    raw = block.bodies[0].tobytes() + block.witness(0)
    assert wtxid_of(raw) != wtxid_of(raw[:-1] + b"\x01")
    assert block.transaction(0).wtxid == wtxid_of(raw)
