"""An endpoint's ledgers and transactions are used only when they are proven to be whole."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from stellar_sdk import Asset as StellarAsset
from stellar_sdk import Payment, Transaction, TransactionEnvelope, xdr

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.json_rpc import Call, RpcError
from bridge.chains.endpoints.sizes import AdaptiveSize
from relayers.stellar.ledgers import (
    Applied,
    ChainMovedError,
    History,
    has_its_envelope,
    read_ledgers,
    read_tip,
    read_transactions,
)
from tests.unit.soroban import made


class FakeEndpoint:
    """One endpoint with ledgers made by hand; `most` is the most transactions that it gives at once."""

    name = "the fake RPC"

    def __init__(self, counts: list[int], most: int = 200) -> None:
        self.most = most
        self.asked: list[str] = []
        self.headers: list[xdr.LedgerHeader] = []
        self.applied: list[list[Applied]] = []
        self._sizes: dict[str, AdaptiveSize] = {}
        parent = b"\x11" * 32
        for number, count in enumerate(counts):
            txs = [self._tx(100 + number, order + 1) for order in range(count)]
            header = self._header(100 + number, parent, txs)
            parent = hashlib.sha256(header.to_xdr_bytes()).digest()
            self.headers.append(header)
            self.applied.append(txs)

    @staticmethod
    def _tx(height: int, order: int) -> Applied:
        payment = Payment(made.key(f"{height}/{order}").public_key, StellarAsset.native(), "1")
        return msgspec.structs.replace(made.applied(payment), height=height, order=order)

    @staticmethod
    def _header(height: int, parent: bytes, txs: list[Applied]) -> xdr.LedgerHeader:
        pairs = [
            xdr.TransactionResultPair(
                xdr.Hash(bytes.fromhex(tx.tx_id)), xdr.TransactionResult.from_xdr_bytes(tx.result)
            )
            for tx in txs
        ]
        results = hashlib.sha256(xdr.TransactionResultSet(pairs).to_xdr_bytes()).digest()
        nothing = xdr.Hash(bytes(32))
        value = xdr.StellarValue(
            nothing,
            xdr.TimePoint(xdr.Uint64(1_700_000_000 + 5 * height)),
            [],
            xdr.StellarValueExt(xdr.StellarValueType.STELLAR_VALUE_BASIC),
        )
        return xdr.LedgerHeader(
            xdr.Uint32(27), xdr.Hash(parent), value, xdr.Hash(results), nothing, xdr.Uint32(height),
            xdr.Int64(0), xdr.Int64(0), xdr.Uint32(0), xdr.Uint64(0), xdr.Uint32(100),
            xdr.Uint32(5_000_000), xdr.Uint32(1000), [nothing] * 4, xdr.LedgerHeaderExt(0),
        )  # fmt: skip

    def size(self, what: str, most: int) -> AdaptiveSize:
        return self._sizes.setdefault(what, AdaptiveSize(most))

    async def all(self, *calls: Call) -> list[Any]:
        (call,) = calls
        self.asked.append(call.method)
        assert isinstance(call.params, dict)
        return [getattr(self, call.method)(**call.params)]

    def getLatestLedger(self) -> dict[str, Any]:
        header = self.headers[-1].to_xdr_bytes()
        return {"id": hashlib.sha256(header).hexdigest(), "headerXdr": base64.b64encode(header).decode()}

    def getLedgers(self, startLedger: int, pagination: dict[str, int]) -> dict[str, Any]:
        chosen = [h for h in self.headers if h.ledger_seq.uint32 >= startLedger][: pagination["limit"]]
        found = []
        for header in chosen:
            digest = hashlib.sha256(header.to_xdr_bytes()).digest()
            entry = xdr.LedgerHeaderHistoryEntry(xdr.Hash(digest), header, xdr.LedgerHeaderHistoryEntryExt(0))
            found.append({"hash": digest.hex(), "headerXdr": entry.to_xdr()})
        return {"ledgers": found}

    def getTransactions(
        self,
        pagination: dict[str, Any],
        startLedger: int = 0,
    ) -> dict[str, Any]:
        if pagination["limit"] > self.most:
            raise RpcError(-32602, f"limit must not exceed {self.most}", kind=Answer.TOO_MUCH)
        every = [tx for txs in self.applied for tx in txs]
        first = int(pagination.get("cursor", startLedger * 1000))
        chosen = [tx for tx in every if tx.height * 1000 + tx.order > first][: pagination["limit"]]
        cursor = chosen[-1].height * 1000 + chosen[-1].order if chosen else first
        return {"transactions": [self._record(tx) for tx in chosen], "cursor": str(cursor)}

    @staticmethod
    def _record(tx: Applied) -> dict[str, Any]:
        return {
            "txHash": tx.tx_id,
            "ledger": tx.height,
            "applicationOrder": tx.order,
            "envelopeXdr": base64.b64encode(tx.envelope).decode(),
            "resultXdr": base64.b64encode(tx.result).decode(),
            "resultMetaXdr": base64.b64encode(tx.meta).decode(),
        }


@pytest.mark.parametrize("most", [200, 7, 3, 1])
async def test_whole_ledgers_are_read_in_pages_of_any_size(most: int) -> None:
    one: Any = FakeEndpoint([0, 5, 3, 0, 8], most)
    ledgers = await read_ledgers(one, 100, 104)
    transactions = await read_transactions(one, ledgers, made.PASSPHRASE)
    assert [[tx.tx_id for tx in txs] for txs in transactions] == [
        [tx.tx_id for tx in txs] for txs in one.applied
    ]


async def test_however_many_strangers_there_are_few_requests_are_made() -> None:
    one: Any = FakeEndpoint([100, 100])
    await read_transactions(one, await read_ledgers(one, 100, 101), made.PASSPHRASE)
    assert one.asked == ["getLedgers", "getTransactions", "getTransactions"]


async def test_a_ledger_that_lacks_a_transaction_is_not_read_nor_are_those_after_it() -> None:
    one: Any = FakeEndpoint([2, 2, 2])
    ledgers = await read_ledgers(one, 100, 102)
    del one.applied[1][0]
    assert len(await read_transactions(one, ledgers, made.PASSPHRASE)) == 1
    with pytest.raises(EndpointError):
        await read_transactions(one, ledgers[1:], made.PASSPHRASE)


@pytest.mark.parametrize("change", ["result", "tx_id", "order"])
async def test_a_transaction_that_is_told_otherwise_is_not_believed(change: str) -> None:
    one: Any = FakeEndpoint([2])
    ledgers = await read_ledgers(one, 100, 100)
    first, second = one.applied[0]
    if change == "order":
        one.applied[0] = [msgspec.structs.replace(first, order=2), msgspec.structs.replace(second, order=1)]
    else:
        one.applied[0][0] = msgspec.structs.replace(first, **{change: getattr(second, change)})
        if change == "result":
            failed = made.applied(made.router_call(), code=made.Code.txFAILED)
            one.applied[0][0] = msgspec.structs.replace(first, result=failed.result)
    with pytest.raises(EndpointError):
        await read_transactions(one, ledgers, made.PASSPHRASE)


async def test_a_transaction_comes_with_its_own_envelope_or_not_at_all() -> None:
    one: Any = FakeEndpoint([1, 2])
    ledgers = await read_ledgers(one, 100, 101)
    first, second = one.applied[1]
    one.applied[1][0] = msgspec.structs.replace(first, envelope=second.envelope, meta=b"")
    for wanted in (ledgers, ledgers[1:]):
        with pytest.raises(EndpointError, match="another envelope") as refusal:
            await read_transactions(one, wanted, made.PASSPHRASE)
        assert refusal.value.kind is Answer.WRONG


@pytest.mark.parametrize("secret", [b"", b"a", b"four", b"\0" * 64, bytes(range(64))])
def test_an_envelope_is_known_by_its_hash_whoever_has_signed_it(secret: bytes) -> None:
    call = made.router_call()
    for tx in (
        made.applied(call),
        made.applied(call, hashx=secret),
        made.applied(call, bump=True),
        made.applied(call, hashx=secret, bump=True, outer_hashx=secret),
    ):
        assert has_its_envelope(tx, made.PASSPHRASE)
        assert not has_its_envelope(tx, made.PASSPHRASE + ".")
        for at in (0, 3, 8, 60):
            forged = bytearray(tx.envelope)
            forged[at] ^= 1
            assert not has_its_envelope(msgspec.structs.replace(tx, envelope=bytes(forged)), made.PASSPHRASE)
    for empty in (b"", bytes(4), bytes(8)):
        assert not has_its_envelope(msgspec.structs.replace(tx, envelope=empty), made.PASSPHRASE)


@pytest.mark.parametrize("signers", [0, 1, 20])
def test_an_envelope_of_the_oldest_form_and_one_with_many_signatures_are_known_too(signers: int) -> None:
    payment = Payment(made.key("to").public_key, StellarAsset.native(), "1")
    for v1 in (True, False):
        transaction = Transaction(made.key("from"), 1, 100, [payment], v1=v1)
        envelope = TransactionEnvelope(transaction, made.PASSPHRASE)
        for number in range(signers):
            envelope.sign(made.key(str(number)))
        raw = envelope.to_xdr_object().to_xdr_bytes()
        tx = msgspec.structs.replace(made.applied(payment), tx_id=envelope.hash_hex(), envelope=raw)
        assert has_its_envelope(tx, made.PASSPHRASE)


async def test_ledgers_that_do_not_follow_one_another_are_refused() -> None:
    one: Any = FakeEndpoint([0, 0, 0])
    one.headers[2].previous_ledger_hash = xdr.Hash(b"\x22" * 32)
    with pytest.raises(ChainMovedError):
        await read_ledgers(one, 100, 102)
    one = FakeEndpoint([0, 0, 0])
    del one.headers[1]
    with pytest.raises(ChainMovedError):
        await read_ledgers(one, 100, 102)


async def test_a_header_has_the_hash_that_it_is_given_under() -> None:
    one: Any = FakeEndpoint([0, 0])
    tip, ledger = await read_tip(one)
    assert tip.block == ledger.block
    assert (tip.block.height, tip.time, ledger.base_reserve) == (101, 1_700_000_505, 5_000_000)
    (again,) = await read_ledgers(one, 101, 101)
    assert again == ledger
    latest = one.getLatestLedger()
    one.getLatestLedger = lambda: latest | {"id": "00" * 32}
    with pytest.raises(EndpointError) as refusal:
        await read_tip(one)
    assert refusal.value.kind is Answer.WRONG


def test_history_covers_what_it_reaches_back_to_and_the_genesis_counts_for_nothing() -> None:
    assert History(1, 50).covers(1)
    assert History(2, 50).covers(1)
    assert not History(3, 50).covers(2)
    assert History(40, 50).covers(40)
    assert not History(41, 50).covers(40)
