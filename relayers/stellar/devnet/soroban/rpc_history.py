"""What the RPC server tells of the past: transactions, ledgers, events, as far back as it keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from stellar_sdk import StrKey, xdr

from relayers.stellar.devnet.network import Applied, ClosedLedger
from relayers.stellar.devnet.node import StellarNode
from relayers.stellar.devnet.soroban.ledger_header import Headers, ledger_meta
from relayers.stellar.devnet.soroban.meta import contract_events, transaction_events, transaction_meta

Json = dict[str, Any]
INVALID_PARAMS = -32602
_INVALID_REQUEST = -32600
SCAN_LIMIT = 10_000
"""Ledgers that one getEvents request looks at (stellar-rpc, LedgerScanLimit)."""
_EVENTS_LIMIT, _EVENTS_MOST = 100, 10_000
_TRANSACTIONS_LIMIT, _TRANSACTIONS_MOST = 50, 200
_LEDGERS_LIMIT, _LEDGERS_MOST = 50, 200
_LAST_TRANSACTION = 2**20 - 1
MAX_FILTERS = 5


class RpcError(Exception):
    """An answer of the kind `error`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


Place = tuple[int, int, int, int]
"""Ledger, transaction, operation, event."""


def _cursor(place: Place) -> str:
    ledger, transaction, operation, event = place
    return f"{ledger << 32 | transaction << 12 | operation:019d}-{event:010d}"


def _place(cursor: str) -> Place:
    number, _, event = cursor.partition("-")
    if not number.isdigit() or not event.isdigit():
        raise RpcError(_INVALID_REQUEST, "invalid cursor")
    order = int(number)
    return order >> 32, order >> 12 & _LAST_TRANSACTION, order & 4095, int(event)


def iso_time(seconds: int) -> str:
    """Return Unix seconds as the RPC writes times."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


class History:
    """The kept ledgers of a node."""

    def __init__(self, node: StellarNode) -> None:
        self._node = node
        self._headers = Headers(node.network)

    @property
    def latest(self) -> int:
        """The newest ledger."""
        return self._node.network.header.sequence

    @property
    def oldest(self) -> int:
        """The oldest ledger that is kept."""
        return max(2, self.latest - self._node.rpc_retention + 1)

    def _range(self) -> Json:
        ledgers = self._node.network.ledgers
        return {
            "latestLedger": self.latest,
            "latestLedgerCloseTime": str(ledgers[-1].header.close_time),
            "oldestLedger": self.oldest,
            "oldestLedgerCloseTime": str(ledgers[self.oldest - 1].header.close_time),
        }

    def _ledger(self, sequence: int) -> ClosedLedger:
        return self._node.network.ledgers[sequence - 1]

    def _start(self, params: Json) -> int:
        start = params.get("startLedger")
        if not isinstance(start, int) or not self.oldest <= start <= self.latest:
            text = f"startLedger must be within the ledger range: {self.oldest} - {self.latest}"
            raise RpcError(_INVALID_REQUEST, text)
        return start

    @staticmethod
    def _page(params: Json, default: int, most: int) -> tuple[str | None, int]:
        page = params.get("pagination") or {}
        limit = page.get("limit") or default
        if not isinstance(limit, int) or not 0 < limit <= most:
            raise RpcError(INVALID_PARAMS, f"limit must not exceed {most}")
        cursor = page.get("cursor") or None
        if cursor is not None and params.get("startLedger"):
            raise RpcError(INVALID_PARAMS, "startLedger and cursor cannot both be set")
        return cursor, limit

    # Transactions

    def transaction(self, params: Json) -> Json:
        """Answer getTransaction."""
        wanted = params.get("hash")
        if not isinstance(wanted, str) or len(wanted) != 64:
            raise RpcError(INVALID_PARAMS, "unexpected hash length")
        try:
            applied = self._node.network.transaction(bytes.fromhex(wanted))
        except ValueError as error:
            raise RpcError(INVALID_PARAMS, "incorrect hash") from error
        if applied is None or applied.ledger < self.oldest:
            return self._range() | {"status": "NOT_FOUND", "txHash": wanted}
        shown = self._transaction_json(applied)
        return self._range() | shown | {"txHash": wanted, "createdAt": str(shown["createdAt"])}

    def _transaction_json(self, applied: Applied) -> Json:
        frame, network_id = applied.frame, self._node.network.network_id
        operations = contract_events(frame, network_id)
        return {
            "status": "SUCCESS" if applied.result.succeeded else "FAILED",
            "txHash": frame.contents_hash.hex(),
            "applicationOrder": applied.index,
            "feeBump": frame.is_fee_bump,
            "envelopeXdr": frame.envelope.to_xdr(),
            "resultXdr": applied.result.to_xdr().to_xdr(),
            "resultMetaXdr": transaction_meta(frame, network_id).to_xdr(),
            "diagnosticEventsXdr": [],
            "events": {
                "transactionEventsXdr": [each.to_xdr() for each in transaction_events(frame, network_id)],
                "contractEventsXdr": [[each.to_xdr() for each in events] for events in operations],
            },
            "ledger": applied.ledger,
            "createdAt": self._ledger(applied.ledger).header.close_time,
        }

    def transactions(self, params: Json) -> Json:
        """Answer getTransactions."""
        cursor, limit = self._page(params, _TRANSACTIONS_LIMIT, _TRANSACTIONS_MOST)
        after = (0, 0)
        if cursor is None:
            start = self._start(params)
        else:
            if not cursor.isdigit():
                raise RpcError(INVALID_PARAMS, "invalid cursor")
            after = (int(cursor) >> 32, int(cursor) >> 12 & _LAST_TRANSACTION)
            start = max(after[0], self.oldest)
        found: list[Applied] = []
        for sequence in range(start, self.latest + 1):
            for applied in self._ledger(sequence).transactions:
                if (applied.ledger, applied.index) > after and len(found) < limit:
                    found.append(applied)
        last = (found[-1].ledger, found[-1].index) if found else (self.latest, 0)
        shown = self._range()
        return {
            "transactions": [self._transaction_json(each) for each in found],
            "latestLedger": shown["latestLedger"],
            "latestLedgerCloseTimestamp": int(shown["latestLedgerCloseTime"]),
            "oldestLedger": shown["oldestLedger"],
            "oldestLedgerCloseTimestamp": int(shown["oldestLedgerCloseTime"]),
            "cursor": str(last[0] << 32 | last[1] << 12),
        }

    # Ledgers

    def ledger_json(self, ledger: ClosedLedger) -> Json:
        """Return one ledger as getLedgers shows it."""
        header = ledger.header
        entry = self._headers.entry(header.sequence)
        return {
            "hash": entry.hash.hash.hex(),
            "sequence": header.sequence,
            "ledgerCloseTime": str(header.close_time),
            "headerXdr": entry.to_xdr(),
            "metadataXdr": ledger_meta(ledger, self._node.network.network_id, entry).to_xdr(),
        }

    def ledgers(self, params: Json) -> Json:
        """Answer getLedgers."""
        cursor, limit = self._page(params, _LEDGERS_LIMIT, _LEDGERS_MOST)
        if cursor is not None and not cursor.isdigit():
            raise RpcError(INVALID_PARAMS, "invalid cursor")
        start = self._start(params) if cursor is None else max(int(cursor) + 1, self.oldest)
        sequences = range(start, min(start + limit, self.latest + 1))
        found = [self.ledger_json(self._ledger(each)) for each in sequences]
        last = found[-1]["sequence"] if found else self.latest
        return self._range() | {"ledgers": found, "cursor": str(last)}

    # Events

    def events(self, params: Json) -> Json:
        """Answer getEvents."""
        cursor, limit = self._page(params, _EVENTS_LIMIT, _EVENTS_MOST)
        filters = params.get("filters") or []
        if len(filters) > MAX_FILTERS or any(len(each.get("contractIds") or []) > 5 for each in filters):
            raise RpcError(INVALID_PARAMS, "maximum 5 filters per request, 5 contracts per filter")
        after: Place = (0, 0, 0, 0)
        if cursor is None:
            start = self._start(params)
        else:
            after = _place(cursor)
            start = after[0]
            if not self.oldest <= start <= self.latest + 1:
                text = f"startLedger must be within the ledger range: {self.oldest} - {self.latest}"
                raise RpcError(_INVALID_REQUEST, text)
        end = min(start + SCAN_LIMIT, self.latest + 1)
        if params.get("endLedger"):
            end = min(end, params["endLedger"])
        found: list[Json] = []
        for sequence in range(start, end):
            for place, shown in self._events_of(self._ledger(sequence)):
                if place > after and _passes(shown, filters) and len(found) < limit:
                    found.append(shown)
        last = (
            found[-1]["id"] if len(found) == limit else _cursor((end - 1, _LAST_TRANSACTION, 4095, 2**32 - 2))
        )
        return self._range() | {"events": found, "cursor": last}

    def _events_of(self, ledger: ClosedLedger) -> Iterator[tuple[Place, Json]]:
        network_id, sequence = self._node.network.network_id, ledger.header.sequence
        early, late = 0, 0
        before, within, behind = [], [], []
        for applied in ledger.transactions:
            for each in transaction_events(applied.frame, network_id):
                if each.stage is xdr.TransactionEventStage.TRANSACTION_EVENT_STAGE_BEFORE_ALL_TXS:
                    before.append(((sequence, 0, 0, early), each.event, applied))
                    early += 1
                else:
                    behind.append(((sequence, _LAST_TRANSACTION, 0, late), each.event, applied))
                    late += 1
            for operation, events in enumerate(contract_events(applied.frame, network_id)):
                for number, event in enumerate(events):
                    within.append(((sequence, applied.index, operation, number), event, applied))
        for place, event, applied in [*before, *within, *behind]:
            yield place, self._event_json(place, event, applied)

    def _event_json(self, place: Place, event: xdr.ContractEvent, applied: Applied) -> Json:
        body = event.body.v0
        assert body is not None  # noqa: S101 - the only form
        assert event.contract_id is not None  # noqa: S101 - every event here has one
        return {
            "type": "contract",
            "ledger": place[0],
            "ledgerClosedAt": iso_time(self._ledger(place[0]).header.close_time),
            "contractId": StrKey.encode_contract(event.contract_id.contract_id.hash),
            "id": _cursor(place),
            "operationIndex": place[2],
            "transactionIndex": applied.index,
            "txHash": applied.frame.contents_hash.hex(),
            "inSuccessfulContractCall": True,
            "topic": [each.to_xdr() for each in body.topics],
            "value": body.data.to_xdr(),
        }


def _passes(event: Json, filters: list[Json]) -> bool:
    return not filters or any(_matches(event, each) for each in filters)


def _matches(event: Json, wanted: Json) -> bool:
    kinds = (wanted.get("type") or "contract").split(",")
    contracts = wanted.get("contractIds") or []
    topics = wanted.get("topics") or []
    return (
        event["type"] in kinds
        and (not contracts or event["contractId"] in contracts)
        and (not topics or any(_topics_match(event["topic"], each) for each in topics))
    )


def _topics_match(topics: list[str], pattern: list[str]) -> bool:
    if pattern and pattern[-1] == "**":
        pattern = pattern[:-1]
        topics = topics[: len(pattern)]
    return len(topics) == len(pattern) and all(
        wanted in ("*", topic) for topic, wanted in zip(topics, pattern, strict=True)
    )
