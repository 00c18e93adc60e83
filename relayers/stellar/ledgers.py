"""Ledgers and their transactions from one endpoint, proven to be whole before they are used.

A header's hash covers the hash of all results (stellar-core, LedgerManagerImpl: `txSetResultHash =
xdrSha256(txResultSet)`), and names its parent's. So a list of transactions that lacks one, or shows another
outcome, does not fit its header; a header that is not the next one does not fit the chain. The results name
transactions by their hashes, and an envelope must have its own. That an endpoint invents a whole chain is not
proven here: two endpoints are asked where it matters.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from stellar_sdk import xdr
from stellar_sdk.exceptions import SdkError
from xdrlib3 import Error as PackingError

from bridge.chains.endpoints.ancestry import DISTANCES, Ancestry
from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.port import Tip
from bridge.protocol.types import BlockHeight, BlockRef, TxId, UnixSeconds
from kernels.errors import RainbowError
from relayers.stellar.rpc import ask

MAX_LEDGERS = 20
"""Ledgers asked for at once; each comes with all its metadata, one or two megabytes on the public network."""
FIRST_LEDGER = 2
"""The first that may hold transactions: ledger 1 is the genesis."""
MAX_TRANSACTIONS = 200
"""The most that stellar-rpc gives at once (config/options.go, `max-transactions-limit`)."""
_MAX_SIGNATURES, _SIGNATURE_BYTES, _DECORATION_BYTES = 20, 64, 8
"""Of one envelope; bytes of one signature at most, and of its hint and length (Stellar-transaction.x)."""

_TX_V0 = xdr.EnvelopeType.ENVELOPE_TYPE_TX_V0.value.to_bytes(4)
_TX = xdr.EnvelopeType.ENVELOPE_TYPE_TX.value.to_bytes(4)

UNREADABLE = (ValueError, TypeError, LookupError, EOFError, RecursionError, SdkError, PackingError)
"""What the library raises for XDR that it cannot decode."""


class ChainMovedError(RainbowError):
    """The ledgers changed while they were read: read again."""

    def __init__(self, message: str = "the ledgers changed while they were read") -> None:
        super().__init__(message)


class Ledger(msgspec.Struct, frozen=True):
    """A ledger's header, checked against its hash. `results` is the hash of all its results, `base_fee` and
    `base_reserve` are in stroops."""

    block: BlockRef
    results: bytes
    base_fee: int
    base_reserve: int


class Applied(msgspec.Struct, frozen=True):
    """One transaction of a ledger as the endpoint gave it: XDR bytes, not decoded."""

    tx_id: TxId
    height: BlockHeight
    order: int
    envelope: bytes
    result: bytes
    meta: bytes

    def __repr__(self) -> str:
        return f"Applied({self.tx_id})"


class History(msgspec.Struct, frozen=True):
    """The oldest and the newest ledger that an endpoint has all about."""

    oldest: int
    latest: int

    def covers(self, first: int) -> bool:
        """Tell whether nothing from ledger `first` on is missing."""
        return self.oldest <= max(first, FIRST_LEDGER)


def history_of(answer: dict[str, Any]) -> History:
    """Return what an answer (getEvents, getTransaction, getTransactions, getLedgers) says of its range."""
    return History(int(answer["oldestLedger"]), int(answer["latestLedger"]))


async def read_tip(one: OneEndpoint) -> tuple[Tip, Ledger]:
    """Return the newest ledger; its close time is the clock of the contract."""
    answer = await ask(one, "getLatestLedger")
    header = _read(xdr.LedgerHeader, str(answer["headerXdr"]), one.name)
    ledger = _ledger(header, str(answer["id"]), one.name)
    return Tip(ledger.block, ledger.block.time), ledger


async def read_ledgers(one: OneEndpoint, first: int, last: int) -> list[Ledger]:
    """Return the headers `first`…`last`, each the next of the one before. Raises `EndpointError`,
    `ChainMovedError`."""
    if last < first:
        return []

    async def piece(start: int, end: int) -> list[Ledger]:
        wish = {"limit": end - start + 1}
        answer = await ask(one, "getLedgers", startLedger=start, pagination=wish)
        found = [_of_history(each, one.name) for each in answer["ledgers"]]
        if [each.block.height for each in found] != list(range(start, end + 1)):
            raise ChainMovedError
        return found

    ledgers: list[Ledger] = []
    size = one.size("ledgers", MAX_LEDGERS)
    while len(ledgers) < last - first + 1:
        start = first + len(ledgers)
        count = min(size.size, last - start + 1)
        try:
            ledgers += await piece(start, start + count - 1)
        except EndpointError as error:
            if error.kind is not Answer.TOO_MUCH or count == 1:
                raise
            size.too_much(count)
            continue
        size.served(count)
    for before, after in itertools.pairwise(ledgers):
        if after.block.parent != before.block.id:
            raise ChainMovedError
    return ledgers


async def _recent(one: OneEndpoint) -> list[BlockRef]:
    """Return some of an endpoint's newest ledgers, the head first."""
    tip, _ = await read_tip(one)
    heights = [tip.block.height - back for back in DISTANCES if back < tip.block.height]
    return [(await read_ledgers(one, height, height))[0].block for height in heights]


async def _shows(one: OneEndpoint, block: BlockRef) -> bool:
    try:
        return (await read_ledgers(one, block.height, block.height))[0].block.id == block.id
    except ChainMovedError:
        return False


ANCESTRY = Ancestry(_recent, _shows)
"""How an endpoint shows that it has the ledgers of another one."""


async def read_transactions(
    one: OneEndpoint, ledgers: Sequence[Ledger], passphrase: str
) -> list[list[Applied]]:
    """Return all transactions of these consecutive ledgers, in order of application, proven complete and with
    their own envelopes. What their metadata says is not proven here.

    The lists of ledgers and of transactions may come from databases that lag one behind the other: it stops
    before the first ledger whose transactions are not all there, if that is not the first one. Raises
    `EndpointError` if it is.
    """
    if not ledgers:
        return []
    first, last = (int(each.block.height) for each in (ledgers[0], ledgers[-1]))
    by_height: dict[int, list[Applied]] = {height: [] for height in range(first, last + 1)}
    for applied in await _pages(one, first, last):
        if first <= applied.height <= last:
            by_height[applied.height].append(applied)
    whole: list[list[Applied]] = []
    for ledger in ledgers:
        found = sorted(by_height[ledger.block.height], key=lambda each: each.order)
        if _result_hash(found) != ledger.results:
            if whole:
                break
            raise EndpointError(
                f"{one.name} does not show all transactions of ledger {ledger.block.height} as they went",
                "it may be catching up; if this stays, use another endpoint",
            )
        for each in found:
            if not has_its_envelope(each, passphrase):
                raise EndpointError(
                    f"{one.name} shows another envelope for the transaction {each.tx_id}",
                    "use another endpoint",
                    kind=Answer.WRONG,
                )
        whole.append(found)
    return whole


async def _pages(one: OneEndpoint, first: int, last: int) -> list[Applied]:
    size = one.size("transactions", MAX_TRANSACTIONS)
    found: list[Applied] = []
    wish: dict[str, Any] = {"startLedger": first}
    seen: set[str] = set()
    while True:
        count = size.size
        paging = {"limit": count} | ({} if "startLedger" in wish else {"cursor": wish["cursor"]})
        named = {"startLedger": first} if "startLedger" in wish else {}
        try:
            answer = await ask(one, "getTransactions", **named, pagination=paging)
        except EndpointError as error:
            if error.kind is not Answer.TOO_MUCH or count == 1:
                raise
            size.too_much(count)
            continue
        size.served(count)
        page = [_applied(each) for each in answer["transactions"]]
        found += page
        cursor = str(answer.get("cursor") or "")
        if len(page) < count or page[-1].height > last or not cursor or cursor in seen:
            return found
        seen.add(cursor)
        wish = {"cursor": cursor}


def _applied(record: dict[str, Any]) -> Applied:
    return Applied(
        tx_id=TxId(str(record["txHash"])),
        height=BlockHeight(int(record["ledger"])),
        order=int(record["applicationOrder"]),
        envelope=base64.b64decode(record["envelopeXdr"], validate=True),
        result=base64.b64decode(record["resultXdr"], validate=True),
        meta=base64.b64decode(record.get("resultMetaXdr") or "", validate=True),
    )


def _result_hash(transactions: Sequence[Applied]) -> bytes:
    """Return the hash of a TransactionResultSet: a count, then each transaction's hash and result."""
    parts = [len(transactions).to_bytes(4)]
    for each in transactions:
        parts += [bytes.fromhex(each.tx_id), each.result]
    return hashlib.sha256(b"".join(parts)).digest()


def has_its_envelope(applied: Applied, passphrase: str) -> bool:
    """Tell whether a transaction's envelope has the transaction's hash. It is not decoded: what stands before
    the signatures is hashed (stellar-core, TransactionFrame: `getContentsHash`), wherever they may begin. The
    signatures themselves are in no hash."""
    kind, body = applied.envelope[:4], applied.envelope[4:]
    if kind == _TX_V0:
        kind = _TX + bytes(4)  # the network hashes the form of today, whose source begins with its type
    begun = hashlib.sha256(hashlib.sha256(passphrase.encode()).digest() + kind)
    for end in _before_signatures(body):
        digest = begun.copy()
        digest.update(body[:end])
        if digest.hexdigest() == applied.tx_id:
            return True
    return False


def _before_signatures(body: bytes) -> Iterator[int]:
    """Yield where the list of signatures may begin with which an envelope ends."""
    longest = 4 + _MAX_SIGNATURES * (_DECORATION_BYTES + _SIGNATURE_BYTES)
    for start in range(len(body) - 4, max(-1, len(body) - longest - 1), -4):
        count = int.from_bytes(body[start : start + 4])
        if count > _MAX_SIGNATURES:
            continue
        at = start + 4
        for _ in range(count):
            length = int.from_bytes(body[at + 4 : at + 8])
            at += _DECORATION_BYTES + (length + 3) // 4 * 4
            if length > _SIGNATURE_BYTES or at > len(body):
                break
        else:
            if at == len(body):
                yield start


def _of_history(record: dict[str, Any], name: str) -> Ledger:
    # getLedgers gives the header together with its hash, getLatestLedger the header alone.
    entry = _read(xdr.LedgerHeaderHistoryEntry, str(record["headerXdr"]), name)
    return _ledger(entry.header, str(record["hash"]), name)


def _read(kind: Any, text: str, name: str) -> Any:
    try:
        return kind.from_xdr_bytes(base64.b64decode(text, validate=True))
    except UNREADABLE as error:
        raise EndpointError(
            f"{name} gave a ledger that cannot be read ({type(error).__name__})",
            "use another endpoint; if all do it, this software may be too old",
            kind=Answer.WRONG,
        ) from error


def _ledger(header: xdr.LedgerHeader, named: str, name: str) -> Ledger:
    digest = hashlib.sha256(header.to_xdr_bytes()).hexdigest()
    if digest != named:
        raise EndpointError(
            f"{name} gave a ledger whose hash is not its header's", "use another endpoint", kind=Answer.WRONG
        )
    block = BlockRef(
        BlockHeight(header.ledger_seq.uint32),
        digest,
        header.previous_ledger_hash.hash.hex(),
        UnixSeconds(header.scp_value.close_time.time_point.uint64),
    )
    return Ledger(block, header.tx_set_result_hash.hash, header.base_fee.uint32, header.base_reserve.uint32)
