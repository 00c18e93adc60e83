"""What we ask of Horizon, through stellar_sdk's ServerAsync, with its failures turned into ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec
from stellar_sdk import Asset, xdr
from stellar_sdk.client.aiohttp_client import AiohttpClient
from stellar_sdk.exceptions import (
    BaseHorizonError,
    NotFoundError,
    SdkError,
)
from stellar_sdk.exceptions import ConnectionError as SdkConnectionError
from stellar_sdk.server_async import ServerAsync

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import Tip
from bridge.protocol.types import BlockRef, TxId, UnixSeconds

PAGE = 200
"""Records a page: Horizon's maximum."""
Record = dict[str, Any]


class NodeStatus(Enum):
    """What a node says to a submission."""

    PENDING = "PENDING"
    DUPLICATE = "DUPLICATE"
    TRY_AGAIN_LATER = "TRY_AGAIN_LATER"
    ERROR = "ERROR"


class Submission(msgspec.Struct, frozen=True):
    """The node's answer; `codes` are the result codes of an ERROR: the transaction's, its inner one's, and
    those of its operations."""

    status: NodeStatus
    codes: tuple[str, ...] = ()


class Horizon:
    """A Horizon server. Every method raises `PortUnavailableError` for what may pass by itself."""

    def __init__(self, url: str, timeout: float) -> None:
        self._client = AiohttpClient(request_timeout=timeout, post_timeout=timeout)
        self._url = url.rstrip("/")
        self._server = ServerAsync(self._url, self._client)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def passphrase(self) -> str:
        """Return the passphrase of the network it serves."""
        root = await _required(self._server.root().call())
        return str(root["network_passphrase"])

    async def elder_ledger(self) -> int:
        """Return the oldest ledger whose history it keeps: older transactions it does not tell of."""
        root = await _required(self._server.root().call())
        try:
            return int(root["history_elder_ledger"])
        except (KeyError, TypeError, ValueError) as error:
            raise _unavailable(error) from error

    # Ledgers

    async def newest_ledger(self) -> Record:
        """Return the newest ledger."""
        page = await _required(self._server.ledgers().order(desc=True).limit(1).call())
        records = _records(page)
        if not records:
            raise PortUnavailableError("Horizon has no ledgers yet", "wait until it has caught up")
        return records[0]

    async def tip(self) -> Tip:
        """Return the newest ledger; its close time is the clock that predicates and time bounds go by."""
        block = block_ref(await self.newest_ledger())
        return Tip(block, block.time)

    async def ledger(self, sequence: int) -> BlockRef | None:
        """Return a ledger, None if Horizon does not have it."""
        record = await _or_none(self._server.ledgers().ledger(sequence).call())
        return None if record is None else block_ref(record)

    async def ledgers(self, first: int, last: int) -> list[Record]:
        """Return the ledgers from `first` to `last`, as far as Horizon has them."""
        found: list[Record] = []
        while first <= last:
            cursor = first - 1 << 32
            limit = min(PAGE, last - first + 1)
            page = await _required(
                self._server.ledgers().cursor(cursor).limit(limit).order(desc=False).call()
            )
            records = _records(page)
            if not records:
                break
            found += records
            first += len(records)
        return found

    async def new_ledgers(self) -> AsyncIterator[None]:
        """Yield for each ledger that closes from now on (server-sent events)."""
        try:
            async for _ in self._server.ledgers().cursor("now").stream():
                yield None
        except (SdkError, OSError, TimeoutError) as error:
            raise PortUnavailableError("the stream of ledgers ended", "poll, and open it again") from error

    # Transactions

    async def transactions(self, first: int, last: int) -> list[Record]:
        """Return all transactions, failed ones too, of the ledgers from `first` to `last`, in order."""
        found: list[Record] = []
        cursor = str(first << 32)
        while True:
            call = self._server.transactions().include_failed(True).cursor(cursor)
            records = _records(await _required(call.limit(PAGE).order(desc=False).call()))
            wanted = [each for each in records if each["ledger"] <= last]
            found += wanted
            if len(records) < PAGE or len(wanted) < len(records):
                return found
            cursor = records[-1]["paging_token"]

    async def transaction(self, tx_id: TxId) -> Record | None:
        """Return a transaction, None if it is in no ledger."""
        return await _or_none(self._server.transactions().transaction(tx_id).call())

    async def account_transactions(
        self, account: str, pages: int, newest_first: bool = False
    ) -> list[Record]:
        """Return an account's transactions, failed ones too; also of an account that is gone."""
        call = self._server.transactions().for_account(account).include_failed(True)
        return await self._pages(call.order(desc=newest_first), pages)

    async def balance_transactions(self, balance_id: str) -> list[Record]:
        """Return the transactions that made and ended a claimable balance, oldest first."""
        return await self._pages(self._server.transactions().for_claimable_balance(balance_id), 1)

    # State

    async def account(self, address: str) -> Record | None:
        """Return an account, None if there is none."""
        return await _or_none(self._server.accounts().account_id(address).call())

    async def accounts_with_signer(self, signer: str) -> list[Record]:
        """Return the accounts that have this account as a signer. Horizon takes no signers of other kinds
        (`AccountsQuery` in its source: "Account ID must start with `G`")."""
        return await self._pages(self._server.accounts().for_signer(signer), 50)

    async def balances_for(self, claimant: str) -> list[Record]:
        """Return the claimable balances that an account may claim, now or at some time."""
        return await self._pages(self._server.claimable_balances().for_claimant(claimant), 50)

    async def claimable_balances(self, claimant: str, sponsor: str, asset: Asset) -> list[Record]:
        """Return the claimable balances of an asset that an account may claim, and of which another (or the
        same) account pays the reserve."""
        call = self._server.claimable_balances().for_claimant(claimant).for_sponsor(sponsor)
        return await self._pages(call.for_asset(asset), 50)

    async def claimable_balance(self, balance_id: str) -> Record | None:
        """Return a claimable balance, None if there is none any more."""
        return await _or_none(self._server.claimable_balances().claimable_balance(balance_id).call())

    async def balances_of(self, asset: Asset) -> list[Record]:
        """Return all claimable balances of an asset."""
        return await self._pages(self._server.claimable_balances().for_asset(asset), 50)

    async def fee_stats(self) -> Record:
        """Return what was paid and bid in the last ledgers."""
        return await _required(self._server.fee_stats().call())

    # Sending

    async def submit(self, envelope_xdr: str) -> Submission:
        """Hand a transaction to the node; it answers at once."""
        # Not through ServerAsync: it takes the answers other than PENDING, which come with HTTP statuses of
        # errors, for failures of the request.
        try:
            response = await self._client.post(self._url + "/transactions_async", data={"tx": envelope_xdr})
            answer = response.json()
            status = NodeStatus(answer["tx_status"])
        except (SdkError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise PortUnavailableError(
                f"Horizon could not hand a transaction to its node ({response.status_code})",
                "it needs /transactions_async (Horizon 2.31 or newer)",
            ) from error
        result = answer.get("error_result_xdr") or answer.get("errorResultXdr") or ""
        return Submission(status, codes(result) if status is NodeStatus.ERROR else ())

    async def _pages(self, call: Any, pages: int) -> list[Record]:
        found: list[Record] = []
        call = call.limit(PAGE)
        page = await _or_none(call.call())
        for _ in range(pages):
            records = _records(page) if page is not None else []
            found += records
            if len(records) < PAGE:
                break
            page = await _required(call.next())
        return found


def block_ref(record: Record) -> BlockRef:
    """Read a ledger's record."""
    return BlockRef(record["sequence"], record["hash"], record["prev_hash"], close_time(record))


def transactions_of(ledger: Record) -> int:
    """Return how many transactions a ledger holds, failed ones too."""
    return int(ledger["successful_transaction_count"]) + int(ledger["failed_transaction_count"] or 0)


def close_time(ledger: Record) -> UnixSeconds:
    """Return when a ledger closed, Unix seconds."""
    return unix_time(ledger["closed_at"])


def unix_time(text: str) -> UnixSeconds:
    """Read a time as Horizon writes it, whole seconds."""
    return UnixSeconds(int(datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()))


def codes(result_xdr: str) -> tuple[str, ...]:
    """Return a result's codes in words: the transaction's, of a fee bump the inner one's, the operations'."""
    body: Any = xdr.TransactionResult.from_xdr(result_xdr).result
    found = [body.code.name]
    if body.inner_result_pair is not None:
        body = body.inner_result_pair.result.result
        found.append(body.code.name)
    for operation in body.results or ():
        if operation.tr is None:
            found.append(operation.code.name)
            continue
        arm = next(
            value for name, value in vars(operation.tr).items() if name != "type" and value is not None
        )
        found.append(arm.code.name)
    return tuple(found)


def _records(page: Record) -> list[Record]:
    records: list[Record] = page["_embedded"]["records"]
    return records


async def _required(call: Awaitable[Any]) -> Record:
    try:
        answer: Record = await call
    except (SdkError, OSError, TimeoutError, ValueError) as error:
        raise _unavailable(error) from error
    return answer


async def _or_none(call: Awaitable[Any]) -> Record | None:
    try:
        answer: Record = await call
    except NotFoundError:
        return None
    except (SdkError, OSError, TimeoutError, ValueError) as error:
        raise _unavailable(error) from error
    return answer


def _unavailable(error: BaseException) -> PortUnavailableError:
    if isinstance(error, BaseHorizonError):
        return PortUnavailableError(
            f"Horizon answered {error.status}: {error.title}", "try again, or use another Horizon"
        )
    if isinstance(error, SdkConnectionError | OSError | TimeoutError):
        return PortUnavailableError("Horizon cannot be reached", "check its URL and whether it runs")
    return PortUnavailableError(
        f"Horizon answered something unreadable ({type(error).__name__})", "use another Horizon"
    )
