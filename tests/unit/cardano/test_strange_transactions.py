"""Transactions of strangers, as odd as the ledger allows: none hides a claim, and none stops a scan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import cbor2
import msgspec
import pytest
import pytest_asyncio
from cbor2 import CBORTag
from pycardano import RawPlutusData
from websockets.asyncio.server import ServerConnection, serve

from bridge.chains.actions import LockAction
from bridge.chains.port import Claimed, LockStatus, Refunded, Scan, Spent
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Address, Amount, LockId, LockTerms, Preimage, TxId, UnixSeconds
from relayers.cardano import building
from relayers.cardano.adapter import sign
from relayers.cardano.building import Spend
from relayers.cardano.cbor_items import CborError, read_whole, strings
from relayers.cardano.chain_view import NOWHERE, HtlcTx
from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.fates import fate
from relayers.cardano.htlc import key_hash
from relayers.cardano.json_items import loads
from relayers.cardano.ogmios import Ogmios, Point
from relayers.cardano.payer_outputs import to_utxo
from relayers.cardano.raw_tx import id_of_bytes, read_tx
from relayers.cardano.settings import ADA
from tests.unit.cardano.lying_web import LyingWeb
from tests.unit.cardano.test_odd_locks import Pair

SECRET = Preimage(b"the relayer needs to learn this.")
in_session = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def pair(devnet: CardanoDevnet, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    made = Pair(devnet, request.node.name, own_node=request.param == "own_node")
    for port in (made.bridge, made.user):
        for _ in range(2):
            await devnet.fund(port.account, ADA, 100_000_000)
    yield made
    await made.close()


async def locked(pair: Pair) -> LockTerms:
    """The bridge locks for the user."""
    terms = LockTerms(
        chain=pair.bridge.chain,
        contract=pair.bridge.contract,
        sender=pair.bridge.account,
        recipient=pair.user.account,
        asset=ADA,
        amount=Amount(5_000_000),
        hashlock=SECRET.hashlock(),
        deadline=UnixSeconds((await pair.user.tip()).time + 3_600),
    )
    await pair.done(pair.bridge, LockAction(terms))
    return terms


async def spend(pair: Pair, terms: LockTerms, redeemer: Any, signer_of: str = "recipient") -> str:
    """The user spends the lock with a redeemer of their own making."""
    service = pair.user._pool.clients[0]
    view = await service.drafting.context(pair.user._payer, await service.view.head())
    lock = to_utxo((await service.drafting.index.find([terms]))[terms])
    data = RawPlutusData(redeemer)
    owner = key_hash(getattr(terms, signer_of))
    parts = [Spend(lock, data, owner)]
    keys = [key_hash(terms.recipient)]
    draft = building.spend(view, parts, service.drafting._reference(), view.slot + 200, signers=keys)
    tx_id = await service.view.submit(sign(draft.tx, pair.key).to_cbor())
    await pair.devnet.mine(1)
    return tx_id


@in_session
@pytest.mark.parametrize("pair", ["hosted", "own_node"], indirect=True)
async def test_a_claim_in_the_ledgers_general_form_gives_the_preimage(pair: Pair) -> None:
    ring = (await pair.bridge.scan((), 10)).blocks
    terms = await locked(pair)
    tx_id = await spend(pair, terms, CBORTag(102, [0, [SECRET.reveal()]]))
    _, event = (await pair.bridge.scan(ring, 10)).events
    lock_id = pair.bridge.lock_id(terms)
    assert event == Claimed(event.block, tx_id, lock_id, SECRET)  # type: ignore[arg-type]
    assert await pair.bridge.read_lock(lock_id, terms) is LockStatus.CLAIMED


@in_session
@pytest.mark.parametrize("pair", ["hosted", "own_node"], indirect=True)
async def test_a_cooperative_refund_in_the_ledgers_general_form_is_one(pair: Pair) -> None:
    ring = (await pair.bridge.scan((), 10)).blocks
    terms = await locked(pair)
    tx_id = await spend(pair, terms, CBORTag(102, [2, []]), "sender")
    _, event = (await pair.bridge.scan(ring, 10)).events
    lock_id = pair.bridge.lock_id(terms)
    assert event == Refunded(event.block, tx_id, lock_id)  # type: ignore[arg-type]
    assert await pair.bridge.read_lock(lock_id, terms) is LockStatus.REFUNDED


def test_a_cooperative_refund_is_one_only_where_the_recipient_had_to_sign() -> None:
    """The redeemer is not part of a transaction's id: a service could show this one for any spend."""
    sender, recipient = b"\x0a" * 28, b"\x0b" * 28
    terms = LockTerms(
        chain=ADA.chain,
        contract=Address(""),
        sender=Address(""),
        recipient=Address(""),
        asset=ADA,
        amount=Amount(5_000_000),
        hashlock=SECRET.hashlock(),
        deadline=UnixSeconds(1_000),
    )
    redeemer = cbor2.dumps(CBORTag(102, [2, []]))
    for signers, kind in (({sender}, Spent), ({sender, recipient}, Refunded)):
        tx = HtlcTx(TxId("ab" * 32), NOWHERE, (), (), signers=frozenset(signers))
        assert type(fate(tx, LockId("lock"), terms, [redeemer], recipient, UnixSeconds(0))) is kind


# ---------------------------------------------------------------------- what cannot be read is set aside


@in_session
async def test_witnesses_that_cannot_be_read_set_their_transaction_aside_and_the_scan_goes_on(
    devnet: CardanoDevnet,
) -> None:
    async with LyingWeb(devnet) as liar:
        pair = Pair(devnet, "witnesses that cannot be read", own_node=False)
        pair.bridge = type(pair.bridge)(liar.hosted(devnet), devnet_key("set aside"))
        for port in (pair.bridge, pair.user):
            await devnet.fund(port.account, ADA, 100_000_000)
            await devnet.fund(port.account, ADA, 100_000_000)
        ring = (await pair.bridge.scan((), 10)).blocks
        terms = await locked(pair)
        lock_id = pair.bridge.lock_id(terms)
        tx_id = await spend(pair, terms, CBORTag(121, [SECRET.reveal()]))

        def newer_form(path: str, honest: Any) -> Any:
            if path.endswith(f"{tx_id}/cbor"):
                raw = bytes.fromhex(honest["cbor"])
                body = read_whole(raw).items[0]
                return {"cbor": (raw[: body.end] + cbor2.dumps("a new era") + b"\xf5\xf6").hex()}
            return honest

        liar.mangle = newer_form
        scan: Scan = await pair.bridge.scan(ring, 10)
        assert len(scan.blocks) == 2
        (spent,) = [event for event in scan.events if isinstance(event, Spent)]
        assert (spent.tx_id, spent.lock_id) == (tx_id, lock_id)
        (item,) = scan.set_aside
        assert (item.item, item.lock_ids, item.block) == (tx_id, (lock_id,), scan.blocks[-1])
        assert await pair.bridge.read_lock(lock_id, terms) is LockStatus.SPENT
        liar.honest()
        again = await pair.bridge.scan(ring, 10)
        assert again.set_aside == ()
        assert isinstance(again.events[-1], Claimed)
        assert await pair.bridge.read_lock(lock_id, terms) is LockStatus.CLAIMED
        await pair.close()


# ---------------------------------------------------------------------- bytes


def body(**more: object) -> dict[int, object]:
    return {0: [[b"\x11" * 32, 1], [b"\x10" * 32, 700]], 1: [], 2: 0, **more}  # type: ignore[dict-item]


def test_a_transactions_redeemers_are_read_whatever_else_stands_in_it() -> None:
    deep = b"\x81" * 100_000 + b"\x80"
    odd = {
        4: [[99, b"a certificate of an era to come"], CBORTag(9_999, {})],
        20: CBORTag(258, [{1: [1.5, None, "text", -(2**80)]}]),
        77: {"an": ["unknown", "field"]},
    }
    parts = cbor2.dumps({**body(), **odd, 8: 1_000, 14: CBORTag(258, [b"\x0a" * 28])})
    data = cbor2.dumps(CBORTag(102, [0, [b"secret"]]))
    budget = cbor2.dumps([1, 2])
    both = {
        "list": b"\x82\x84\x00\x01" + data + budget + b"\x84\x01\x00" + deep + budget,
        "map": b"\xa2\x82\x00\x01\x82" + data + budget + b"\x82\x01\x00\x82" + deep + budget,
        "open map": b"\xbf\x9f\x00\x18\x01\xff\x9f" + data + budget + b"\xff\xff",
    }
    for form in both.values():
        witnesses = b"\xa3\x05" + form + b"\x01\x81" + deep + b"\x18\x63" + deep
        raw = b"\x84" + parts + witnesses + b"\xf5\xa1\x07\x82\x66secret\x41s"
        tx = read_tx(raw)
        assert tx.redeemers == {1: (data,)}
        assert tx.inputs == (("10" * 32, 700), ("11" * 32, 1))
        assert (tx.start, tx.signers) == (1_000, frozenset({b"\x0a" * 28}))
        assert tx.shown == (b"secret", b"s")
        assert id_of_bytes(raw) == hashlib.blake2b(parts, digest_size=32).hexdigest()


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "ff",
        "81",
        "9f",
        "5f00ff",
        "5f5f40ffff",
        "bf00ff",
        "1c",
        "3f",
        "dfff",
        "5b7fffffffffffffff00",
        "9fff00",
    ],
)
def test_what_is_no_cbor_is_refused(raw: str) -> None:
    with pytest.raises(CborError):
        read_whole(bytes.fromhex(raw.strip("-")))


@pytest.mark.parametrize(
    "raw",
    ["80", "8483", "84a000f5f6", "84a0a100f5f6", "84a0a10500f5f6", "84a0a1058100f5f6", "84a1000080f5f6"],
)
def test_what_is_no_transaction_is_refused(raw: str) -> None:
    with pytest.raises(CborError):
        read_tx(bytes.fromhex(raw))


def test_strings_are_found_whole_and_in_their_chunks_and_within_strings() -> None:
    inner = cbor2.dumps([b"deep inside", {"key": b""}])
    raw = (
        b"\x84\x5f\x42ab\x41c\xff"
        + cbor2.dumps(CBORTag(24, inner))
        + cbor2.dumps(CBORTag(24, b"\xff"))
        + b"\x01"
    )
    assert list(strings([read_whole(raw)])) == [b"abc", b"ab", b"c", b"deep inside", b"key", b"", b"\xff"]


# ---------------------------------------------------------------------- Ogmios


def nested(levels: int) -> str:
    inner = '{"clause":"signature","from":"' + "ab" * 28 + '"}'
    return '{"clause":"all","from":[' * levels + inner + "]}" * levels


def block_of(levels: int, tip: dict[str, object]) -> str:
    """Return a nextBlock answer's result with a transaction that nests things so deep."""
    tx = {
        "id": "c" * 64,
        "spends": "collaterals",
        "inputs": [],
        "outputs": [],
        "certificates": [{"type": "one of an era to come"}],
        "scripts": {"d" * 56: {"language": "native", "json": "<script>"}},
        "metadata": {"labels": {"1": {"json": "<metadata>"}}},
    }
    block = {
        "type": "praos",
        "slot": tip["slot"],
        "id": tip["id"],
        "height": tip["height"],
        "ancestor": "a" * 64,
        "protocol": {"version": {"major": 11, "minor": 0}},
        "transactions": [tx],
    }
    text = json.dumps({"direction": "forward", "tip": tip, "block": block})
    text = text.replace('"<script>"', nested(levels))
    return text.replace('"<metadata>"', "[" * levels + '"secret"' + "]" * levels)


@pytest.mark.parametrize("levels", [1, 100, 500, 5_000])
async def test_a_block_with_a_script_of_any_depth_is_read(levels: int) -> None:
    tip: dict[str, object] = {"slot": 11, "id": "b" * 64, "height": 2}
    before = {"slot": 10, "id": "a" * 64}

    async def handler(socket: ServerConnection) -> None:
        steps = iter(
            (
                json.dumps({"intersection": before, "tip": tip}),
                json.dumps({"direction": "backward", "point": before, "tip": tip}),
                block_of(levels, tip),
            )
        )
        async for text in socket:
            head = json.dumps({"jsonrpc": "2.0", "method": "", "id": json.loads(text)["id"]})
            await socket.send(f'{head[:-1]},"result":{next(steps)}}}')

    async with serve(handler, "127.0.0.1", 0, max_size=None) as server:
        ogmios = Ogmios(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", 5)
        (block,) = await ogmios.blocks_after(Point(10, "a" * 64), 5) or []
        await ogmios.close()
    shown = block.failed["c" * 64]
    assert shown is not None
    assert b"secret" in shown.shown


@pytest.mark.parametrize("text", ["[1", "[1}", '{"a"}', "]", '{"a":1', "[\x01]", '["\\x"]', "tru"])
def test_what_is_no_json_is_refused_at_any_depth(text: str) -> None:
    levels = 3_000
    for whole in (text, "[" * levels + text + "]" * levels):
        with pytest.raises((msgspec.DecodeError, ValueError)):
            loads(whole.encode())


def test_json_of_any_depth_is_the_same_as_with_an_ordinary_decoder() -> None:
    inner = {"a": [1, -2.5, True, None, '\u00e4"\\\n'], "b": {"": {}}, "c": []}
    levels = 3_000
    found = loads(b"[" * levels + json.dumps(inner, indent=1).encode() + b"]" * levels)
    for _ in range(levels):
        (found,) = found
    assert found == inner
