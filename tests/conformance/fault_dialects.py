"""How nodes of each network answer when they lag, are pruned, are of another network, or limit ranges."""

from __future__ import annotations

from typing import Any

from stellar_sdk import xdr

from tests.conformance.fault_proxy import Upstream

_OTHER = "f"
"""Replaces the last digit of hashes on another network."""


def error(call: dict[str, Any], code: int, message: str, **data: str) -> dict[str, Any]:
    told = {"code": code, "message": message, **({"data": data} if data else {})}
    return {"jsonrpc": "2.0", "id": call["id"], "error": told}


def result(call: dict[str, Any], value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call["id"], "result": value}


class EvmDialect:
    """go-ethereum's answers: null for unknown blocks, errors for what was pruned."""

    async def height(self, upstream: Upstream) -> int:
        return int(await upstream.result("eth_blockNumber", []), 16)

    async def as_of(self, upstream: Upstream, call: dict[str, Any], height: int) -> dict[str, Any]:
        method, params = call["method"], list(call["params"])
        top = hex(height)
        if method == "eth_blockNumber":
            return result(call, top)
        if method == "eth_getBlockByNumber":
            if params[0] in {"latest", "pending"}:
                return await upstream.ask(call, params=[top, *params[1:]])
            if params[0].startswith("0x") and int(params[0], 16) > height:
                return result(call, None)
        if method == "eth_getLogs":
            wanted = dict(params[0])
            if "toBlock" in wanted and (wanted["toBlock"] == "latest" or int(wanted["toBlock"], 16) > height):
                wanted["toBlock"] = top
            if "fromBlock" in wanted and int(wanted["fromBlock"], 16) > height:
                return result(call, [])
            return await upstream.ask(call, params=[wanted])
        if params and params[-1] == "latest":
            return await upstream.ask(call, params=[*params[:-1], top])
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        number = found.get("blockNumber") or found.get("number") if isinstance(found, dict) else None
        if isinstance(number, str) and int(number, 16) > height:
            return result(call, None)
        return answer

    async def pruned(self, upstream: Upstream, call: dict[str, Any], oldest: int) -> dict[str, Any]:
        method, params = call["method"], call["params"]
        if method == "eth_getBlockByNumber" and params[0].startswith("0x") and int(params[0], 16) < oldest:
            return error(call, 4444, "pruned history unavailable")
        if method == "eth_getLogs" and int(params[0].get("fromBlock", "0x0"), 16) < oldest:
            return error(call, 4444, "pruned history unavailable")
        return await upstream.ask(call)

    async def foreign(self, upstream: Upstream, call: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_chainId":
            return result(call, "0x1")
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if isinstance(found, dict) and "hash" in found:
            return {**answer, "result": {**found, "hash": found["hash"][:-1] + _OTHER}}
        return result(call, []) if isinstance(found, list) else answer

    def too_wide(self, call: dict[str, Any], most: int) -> dict[str, Any] | None:
        if call["method"] != "eth_getLogs" or "blockHash" in call["params"][0]:
            return None
        wanted = call["params"][0]
        if int(wanted["toBlock"], 16) - int(wanted["fromBlock"], 16) < most:
            return None
        words = f"you can make eth_getLogs requests with up to a {most} block range"
        return error(call, -32600, words)


class SolanaDialect:
    """Agave's answers (rpc-client-api/src/custom_error.rs)."""

    async def height(self, upstream: Upstream) -> int:
        return int(await upstream.result("getSlot", [{"commitment": "confirmed"}]))

    async def as_of(self, upstream: Upstream, call: dict[str, Any], height: int) -> dict[str, Any]:
        method, params = call["method"], list(call["params"])
        floor = max((p.get("minContextSlot", 0) for p in params if isinstance(p, dict)), default=0)
        if floor > height:
            return error(call, -32016, "Minimum context slot has not been reached")
        if method == "getBlock" and params[0] > height:
            return error(call, -32004, f"Block not available for slot {params[0]}")
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if method == "getSlot":
            return result(call, min(found, height))
        if method in {"getBlocks", "getBlocksWithLimit"} and isinstance(found, list):
            return result(call, [slot for slot in found if slot <= height])
        if method == "getSignaturesForAddress" and isinstance(found, list):
            return result(call, [entry for entry in found if entry["slot"] <= height])
        if isinstance(found, dict) and isinstance(found.get("context"), dict):
            return result(call, {**found, "context": {**found["context"], "slot": height}})
        return answer

    async def pruned(self, upstream: Upstream, call: dict[str, Any], oldest: int) -> dict[str, Any]:
        method, params = call["method"], call["params"]
        if method == "getBlock" and params[0] < oldest:
            return error(call, -32001, f"Block {params[0]} cleaned up, does not exist on node")
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if method == "getFirstAvailableBlock":
            return result(call, oldest)
        if method in {"getBlocks", "getBlocksWithLimit"} and isinstance(found, list):
            return result(call, [slot for slot in found if slot >= oldest])
        if method == "getSignaturesForAddress" and isinstance(found, list):
            return result(call, [entry for entry in found if entry["slot"] >= oldest])
        return answer

    async def foreign(self, upstream: Upstream, call: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "getGenesisHash":
            return result(call, "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d")
        answer = await upstream.ask(call)
        return result(call, []) if call["method"] == "getSignaturesForAddress" else answer

    def too_wide(self, call: dict[str, Any], most: int) -> dict[str, Any] | None:
        return None


class ZionDialect:
    """The ZION node's answers (chain/service)."""

    async def height(self, upstream: Upstream) -> int:
        return int((await upstream.result("getInfo", {}))["height"])

    async def as_of(self, upstream: Upstream, call: dict[str, Any], height: int) -> dict[str, Any]:
        method = call["method"]
        if method == "getInfo":
            info = await upstream.result("getInfo", {})
            first = max(0, height - 10)
            views = await upstream.result("getHeaders", {"start": first, "count": height - first + 1})
            median = sorted(view["time"] for view in views)[len(views) // 2]
            head = {"height": height, "best_id": views[-1]["id"], "median_time": median}
            return result(call, {**info, **head})
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if method == "getHeaders":
            return result(call, [view for view in found if view["height"] <= height])
        if method in {"getHeader", "getBlock"} and found is not None:
            header = found.get("header", found)
            if header["height"] > height:
                return error(call, -32000, "no such block", reason="not_found")
        return answer

    async def pruned(self, upstream: Upstream, call: dict[str, Any], oldest: int) -> dict[str, Any]:
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if call["method"] == "getHeaders" and call["params"]["start"] < oldest:
            return result(call, [])
        if call["method"] in {"getHeader", "getBlock"} and found is not None:
            header = found.get("header", found)
            if header["height"] < oldest:
                return error(call, -32000, "no such block", reason="not_found")
        return answer

    async def foreign(self, upstream: Upstream, call: dict[str, Any]) -> dict[str, Any]:
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if call["method"] == "getInfo":
            return result(call, {**found, "network": "main", "chain_id": 1, "best_id": "ab" * 32})
        return result(call, []) if isinstance(found, list) else answer

    def too_wide(self, call: dict[str, Any], most: int) -> dict[str, Any] | None:
        return None


class StellarDialect:
    """stellar-rpc's answers (cmd/stellar-rpc/internal/methods): ranges in each answer, errors beyond them."""

    async def height(self, upstream: Upstream) -> int:
        return int((await upstream.result("getHealth", {}))["latestLedger"])

    async def as_of(self, upstream: Upstream, call: dict[str, Any], height: int) -> dict[str, Any]:
        method, params = call["method"], call["params"]
        if method == "getLatestLedger":
            wish = {"startLedger": height, "pagination": {"limit": 1}}
            (ledger,) = (await upstream.result("getLedgers", wish))["ledgers"]
            entry = xdr.LedgerHeaderHistoryEntry.from_xdr(ledger["headerXdr"])
            head = {"id": ledger["hash"], "sequence": height, "headerXdr": entry.header.to_xdr()}
            return result(call, {**(await upstream.result(method, params)), **head})
        if params.get("startLedger", 0) > height:
            return error(
                call, -32600, f"start ledger ({params['startLedger']}) must be between 2 and {height}"
            )
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if not isinstance(found, dict):
            return answer
        if method == "getTransaction" and found.get("ledger", 0) > height:
            found = {"status": "NOT_FOUND", "oldestLedger": found["oldestLedger"]}
        if "ledgers" in found:
            found = {**found, "ledgers": [each for each in found["ledgers"] if each["sequence"] <= height]}
        for name in ("transactions", "events"):
            if name in found:
                found = {**found, name: [each for each in found[name] if each["ledger"] <= height]}
        return result(call, {**found, "latestLedger": height} if "latestLedger" in found else found)

    async def pruned(self, upstream: Upstream, call: dict[str, Any], oldest: int) -> dict[str, Any]:
        start = call["params"].get("startLedger")
        if start is not None and start < oldest:
            return error(call, -32600, f"startLedger must be within the ledger range: {oldest} - 99999")
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if isinstance(found, dict) and "oldestLedger" in found:
            return result(call, {**found, "oldestLedger": oldest})
        return answer

    async def foreign(self, upstream: Upstream, call: dict[str, Any]) -> dict[str, Any]:
        answer = await upstream.ask(call)
        found: Any = answer.get("result")
        if call["method"] == "getNetwork":
            return result(call, {**found, "passphrase": "Test SDF Network ; September 2015"})
        if isinstance(found, dict) and "transactions" in found:
            return result(call, {**found, "transactions": []})
        return answer

    def too_wide(self, call: dict[str, Any], most: int) -> dict[str, Any] | None:
        return None
