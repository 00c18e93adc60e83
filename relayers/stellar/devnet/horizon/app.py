"""The routes of the Horizon-compatible server, and the devnet's own controls under /devnet."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stellar_sdk import Asset, Keypair, StrKey

from relayers.stellar.devnet import entries
from relayers.stellar.devnet.entries import (
    Account,
    AssetId,
    ClaimableBalance,
    Data,
    TrustLine,
    UnsupportedFeatureError,
)
from relayers.stellar.devnet.horizon import pages, resources, submission
from relayers.stellar.devnet.horizon.fees import fee_stats
from relayers.stellar.devnet.horizon.problems import (
    HorizonProblemError,
    bad_request,
    not_found,
    on_problem,
    on_unsupported,
)
from relayers.stellar.devnet.horizon.resources import Json
from relayers.stellar.devnet.network import Applied
from relayers.stellar.devnet.node import StellarNode

FRIENDBOT_STROOPS = 10_000 * resources.STROOPS


class HorizonServer:
    """Answers requests about one node."""

    def __init__(self, node: StellarNode) -> None:
        self.node = node

    def app(self) -> Starlette:
        """Return the ASGI application."""
        get: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/": self.root,
            "/fee_stats": self.fee_stats,
            "/accounts": self.accounts,
            "/accounts/{account}": self.account,
            "/accounts/{account}/transactions": self.transactions,
            "/claimable_balances": self.balances,
            "/claimable_balances/{balance}": self.balance,
            "/claimable_balances/{balance}/transactions": self.transactions,
            "/ledgers": self.ledgers,
            "/ledgers/{ledger}": self.ledger,
            "/ledgers/{ledger}/transactions": self.transactions,
            "/transactions": self.transactions,
            "/transactions/{hash}": self.transaction,
            "/friendbot": self.friendbot,
        }
        post: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/transactions": self.submit,
            "/transactions_async": self.submit_async,
            "/devnet/{command}": self.control,
        }
        routes = [Route(path, handler) for path, handler in get.items()]
        routes += [Route(path, handler, methods=["POST"]) for path, handler in post.items()]
        handlers: dict[Any, Any] = {HorizonProblemError: on_problem, UnsupportedFeatureError: on_unsupported}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def root(self, _request: Request) -> Response:
        """Say who we are."""
        head = self.node.network.header
        body = {
            "horizon_version": "devnet",
            "core_version": "emulator of stellar-core 19",
            "history_latest_ledger": head.sequence,
            "history_latest_ledger_closed_at": resources.timestamp(head.close_time),
            "history_elder_ledger": self.node.elder_ledger,
            "core_latest_ledger": head.sequence,
            "network_passphrase": self.node.network.passphrase,
            "current_protocol_version": head.protocol,
            "core_supported_protocol_version": head.protocol,
        }
        return JSONResponse(body)

    async def fee_stats(self, _request: Request) -> Response:
        """Say what was paid of late."""
        return JSONResponse(fee_stats(self.node.network))

    async def accounts(self, request: Request) -> Response:
        """List accounts by signer, trusted asset or sponsor."""
        query = request.query_params
        found = list(self._entries(Account))
        if "signer" in query:
            _key(query["signer"], "signer")  # like Horizon, which finds no signers of other kinds
            found = [each for each in found if _has_signer(each, query["signer"])]
        elif "asset" in query:
            asset = _asset(query["asset"])
            found = [each for each in found if self._peek(entries.trustline(each.id, asset)) is not None]
        elif "sponsor" in query:
            sponsor = _key(query["sponsor"], "sponsor")
            found = [each for each in found if each.sponsor == sponsor]
        else:
            raise bad_request("signer", "one of signer, asset, sponsor is needed")
        records = pages.cut_text(pages.window_of(request), [self._account_json(each) for each in found])
        return pages.page(request, records)

    async def account(self, request: Request) -> Response:
        """Show one account."""
        found = self._peek(entries.account(_key(request.path_params["account"], "account_id")))
        if found is None:
            raise not_found()
        return JSONResponse(self._account_json(found))

    async def balances(self, request: Request) -> Response:
        """List claimable balances by claimant, sponsor or asset."""
        query = request.query_params
        found = list(self._entries(ClaimableBalance))
        if "claimant" in query:
            claimant = _key(query["claimant"], "claimant")
            found = [each for each in found if claimant in dict(each.claimants)]
        if "sponsor" in query:
            sponsor = _key(query["sponsor"], "sponsor")
            found = [each for each in found if each.sponsor == sponsor]
        if "asset" in query:
            native = query["asset"] == "native"
            asset = entries.asset_id(Asset.native().to_xdr_object()) if native else _asset(query["asset"])
            found = [each for each in found if each.asset == asset]
        records = [resources.claimable_balance(each, self.node.network) for each in found]
        return pages.page(request, pages.cut_text(pages.window_of(request), records))

    async def balance(self, request: Request) -> Response:
        """Show one claimable balance."""
        found = self._peek(entries.claimable_balance(_balance_id(request)))
        if found is None:
            raise not_found()
        return JSONResponse(resources.claimable_balance(found, self.node.network))

    async def ledgers(self, request: Request) -> Response:
        """List or stream ledgers."""
        closed = self.node.network.ledgers

        def newer(token: int) -> list[Json]:
            start = max(1, token >> 32)
            return [resources.ledger(each) for each in closed[start:] if each.header.sequence << 32 > token]

        if pages.wants_stream(request):
            return pages.stream(request, self.node, newer)
        tokens = [each.header.sequence << 32 for each in closed[1:]]
        chosen = pages.cut_numeric(pages.window_of(request), tokens)
        return pages.page(request, [resources.ledger(closed[(each >> 32) - 1]) for each in chosen])

    async def ledger(self, request: Request) -> Response:
        """Show one ledger."""
        return JSONResponse(resources.ledger(self.node.network.ledgers[self._ledger_number(request) - 1]))

    def _ledger_number(self, request: Request) -> int:
        text = request.path_params["ledger"]
        if not text.isdecimal():
            raise bad_request("ledger_id", "a ledger is named by its number")
        if not self.node.elder_ledger <= int(text) <= len(self.node.network.ledgers):
            raise not_found()
        return int(text)

    async def transactions(self, request: Request) -> Response:
        """List or stream transactions: all, or those of a ledger, an account or a claimable balance."""
        include_failed = request.query_params.get("include_failed", "false").lower() == "true"
        belongs = self._filter(request)

        def newer(token: int) -> list[Json]:
            shown = []
            ledgers = self.node.network.ledgers
            newest = len(ledgers) - self.node.transactions_lag
            for closed in ledgers[max(self.node.elder_ledger, token >> 32) - 1 : newest]:
                for each in closed.transactions:
                    wanted = include_failed or each.result.succeeded
                    if wanted and resources.paging_token(each) > token and belongs(each):
                        shown.append(resources.transaction(each, self.node.network))
            return shown

        if pages.wants_stream(request):
            return pages.stream(request, self.node, newer)
        window = pages.window_of(request)
        start = 0 if window.descending or not window.cursor.isdecimal() else int(window.cursor)
        known = {int(each["paging_token"]): each for each in newer(start)}
        return pages.page(request, [known[token] for token in pages.cut_numeric(window, known)])

    def _filter(self, request: Request) -> Callable[[Applied], bool]:
        if "account" in request.path_params:
            account = _key(request.path_params["account"], "account_id")
            known = any(account in each.accounts for each in self._history())
            if not known and self._peek(entries.account(account)) is None:
                raise not_found()
            return lambda applied: account in applied.accounts
        if "ledger" in request.path_params:
            number = self._ledger_number(request)
            return lambda applied: applied.ledger == number
        if "balance" in request.path_params:
            balance = _balance_id(request)
            return lambda applied: balance in applied.balances
        return lambda _applied: True

    def _history(self) -> list[Applied]:
        return [each for closed in self.node.network.ledgers for each in closed.transactions]

    async def transaction(self, request: Request) -> Response:
        """Show one transaction."""
        try:
            wanted = bytes.fromhex(request.path_params["hash"])
        except ValueError:
            raise bad_request("tx_id", "a transaction is named by its hash in hex") from None
        applied = self.node.network.transaction(wanted)
        if applied is None or applied.ledger < self.node.elder_ledger:
            raise not_found()
        return JSONResponse(resources.transaction(applied, self.node.network, wanted))

    async def submit(self, request: Request) -> Response:
        """Submit a transaction and wait for its ledger."""
        return await submission.submit(request, self.node)

    async def submit_async(self, request: Request) -> Response:
        """Submit a transaction."""
        return await submission.submit_async(request, self.node)

    async def friendbot(self, request: Request) -> Response:
        """Give an address 10,000 XLM in a ledger of its own."""
        destination = request.query_params.get("addr", "")
        _key(destination, "addr")
        _status, frame = self.node.fund(destination, FRIENDBOT_STROOPS)
        await self.node.close()
        applied = self.node.network.transaction(frame.contents_hash)
        if applied is None:
            raise HorizonProblemError(503, "try_again_later", "The treasury is busy, try again.")
        return JSONResponse(resources.transaction(applied, self.node.network))

    async def control(self, request: Request) -> Response:
        """Make ledgers, move the clock, go back, hand out lumens."""
        command = request.path_params["command"]
        wish = json.loads(await request.body() or b"{}")
        if command == "close":
            for _ in range(int(wish.get("count", 1))):
                await self.node.close()
        elif command == "advance":
            await self.node.advance(int(wish["seconds"]))
        elif command == "reorg":
            await self.node.reorg(int(wish["depth"]), wish.get("drop", ()))
        elif command == "fund":
            status, frame = self.node.fund(wish["address"], int(wish["stroops"]))
            await self.node.close()
            if self.node.network.transaction(frame.contents_hash) is None:
                raise HorizonProblemError(
                    503, "try_again_later", f"The treasury's payment was refused: {status.value}."
                )
        else:
            raise not_found()
        return JSONResponse({"ledger": self.node.network.header.sequence})

    # State

    def _entries(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.node.network.state.entries() if isinstance(each, kind)]

    def _peek(self, key: entries.Key) -> Any:
        return self.node.network.state.peek(key)

    def _account_json(self, account: Account) -> Json:
        lines = [each for each in self._entries(TrustLine) if each.account == account.id]
        data = [each for each in self._entries(Data) if each.account == account.id]
        return resources.account(account, lines, data, self.node.network)


def _has_signer(account: Account, wanted: str) -> bool:
    if account.master_weight and resources.address(account.id) == wanted:
        return True
    return any(resources.signer_fields(each.id)["key"] == wanted for each in account.signers)


def _key(text: str, field: str) -> bytes:
    if not StrKey.is_valid_ed25519_public_key(text):
        raise bad_request(field, "Account ID must start with `G` and contain 56 alphanum characters")
    return Keypair.from_public_key(text).raw_public_key()


def _asset(text: str) -> AssetId:
    try:
        code, issuer = text.split(":")
        return entries.asset_id(Asset(code, issuer).to_xdr_object())
    except ValueError:
        raise bad_request("asset", "an asset is written CODE:ISSUER") from None


def _balance_id(request: Request) -> bytes:
    text = request.path_params["balance"]
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 36 or raw[:4] != bytes(4):
        raise bad_request("id", "a claimable balance is named by 72 hex digits")
    return raw[4:]
