"""Kupo v2 over the devnet's chain, as much of it as `relayers.cardano.kupo` and pycardano's context ask for;
it follows every output (`--match *`). Written from CardanoSolutions/kupo: docs/api/v2.12.0.yaml."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web
from pycardano import Address, TransactionOutput

from kernels.errors import RainbowError
from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.raw_body import NativeScript, OutRef
from relayers.cardano.devnet.records import DevBlock, TxRecord, datum_hash_of, datum_of, script_hash_of

LONGEST_ROLLBACK = 129_600
"""Slots: 2,160 blocks, one in twenty slots, threefold. As on the public networks."""

Json = dict[str, Any]
Wanted = Callable[[OutRef, TransactionOutput], bool]


class BadRequestError(RainbowError):
    """A pattern or filter that Kupo would refuse; the message is its hint."""


class KupoServer:
    """The routes."""

    def __init__(self, chain: DevChain) -> None:
        self._chain = chain

    def add_to(self, app: web.Application, prefix: str) -> None:
        """Serve under a prefix."""
        for path, answer in {
            "/matches/{pattern:.+}": self._matches,
            "/patterns/{pattern:.+}": lambda _: ["*"],
            "/checkpoints": self._checkpoints,
            "/checkpoints/{slot}": self._checkpoint,
            "/datums/{digest}": self._datum,
            "/scripts/{digest}": self._script,
            "/health": self._health,
        }.items():
            app.router.add_get(prefix + path, self._handler(answer))

    def _handler(self, answer: Callable[[web.Request], Any]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            head = self._chain.head
            headers = {"X-Most-Recent-Checkpoint": str(head.slot), "ETag": head.id}
            try:
                return web.json_response(answer(request), headers=headers)
            except (BadRequestError, ValueError) as error:
                return web.json_response({"hint": str(error)}, status=400, headers=headers)

        return handle

    # ------------------------------------------------------------------ matches

    def _matches(self, request: web.Request) -> list[Json]:
        wanted, query = _pattern(request.match_info["pattern"]), request.query
        flags = request.rel_url.raw_query_string.split("&")
        for flag in ("spent", "unspent", "resolve_hashes"):
            if flag in query and flag not in flags:
                raise BadRequestError(f"{flag} is a flag and takes no value, not even an empty one")
        if "spent" in query and "unspent" in query:
            raise BadRequestError("spent and unspent exclude each other")
        spending = self._spending()
        found = []
        for block, index, ref, output in self._outputs():
            if not wanted(ref, output):
                continue
            spent = spending.get(ref)
            if ("spent" in query and spent is None) or ("unspent" in query and spent is not None):
                continue
            if not _within(query, "created", block.slot):
                continue
            if not _within(query, "spent", None if spent is None else spent["slot_no"]):
                continue
            found.append(self._match(block, index, ref, output, spent, resolve="resolve_hashes" in query))
        if query.get("order", "most_recent_first") == "most_recent_first":
            found.reverse()
        return found

    def _outputs(self) -> Iterator[tuple[DevBlock, int, OutRef, TransactionOutput]]:
        for block in self._chain.blocks[1:]:
            for index, tx in enumerate(block.txs):
                for ref, output in tx.makes.items():
                    yield block, index, ref, output

    def _spending(self) -> dict[OutRef, Json]:
        found: dict[OutRef, Json] = {}
        for block in self._chain.blocks[1:]:
            for tx in block.txs:
                for index, ref in enumerate(tx.spends):
                    found[ref] = {
                        "slot_no": block.slot,
                        "header_hash": block.id,
                        "transaction_id": tx.id,
                        "input_index": index,
                        "redeemer": _redeemer(tx, index),
                    }
        return found

    def _match(
        self,
        block: DevBlock,
        index: int,
        ref: OutRef,
        output: TransactionOutput,
        spent: Json | None,
        *,
        resolve: bool,
    ) -> Json:
        datum, hashed = datum_of(output), datum_hash_of(output)
        found: Json = {
            "transaction_index": index,
            "transaction_id": ref[0],
            "output_index": ref[1],
            "address": str(output.address.encode()),
            "value": {"coins": output.amount.coin, "assets": _assets(output)},
            "datum_hash": hashed,
            "script_hash": None if output.script is None else script_hash_of(output.script),
            "created_at": {"slot_no": block.slot, "header_hash": block.id},
            "spent_at": spent,
        }
        if hashed is not None:
            found["datum_type"] = "hash" if datum is None else "inline"
        if resolve:
            found["datum"] = None if datum is None else datum.hex()
            found["script"] = None if output.script is None else _plutus(output)
        return found

    # ------------------------------------------------------------------ the rest

    def _checkpoints(self, _: web.Request) -> list[Json]:
        """List the oldest block of the last so many slots each, down to the longest roll-back
        (Kupo/App/Database/SQLite.hs, `listCheckpointsDesc`)."""
        blocks, newest = self._chain.blocks[1:], self._chain.head.slot
        halvings = math.ceil(math.log(LONGEST_ROLLBACK))
        backs = [*range(0, LONGEST_ROLLBACK // 2**halvings + 1, 10)]
        backs += [LONGEST_ROLLBACK // 2**halving for halving in range(halvings - 1, -1, -1)]
        listed = [next(block for block in blocks if block.slot >= newest - back) for back in backs if blocks]
        return [_checkpoint(block) for block in {block.id: block for block in listed}.values()]

    def _checkpoint(self, request: web.Request) -> Json | None:
        slot, strict = int(request.match_info["slot"]), "strict" in request.query
        for block in reversed(self._chain.blocks[1:]):
            if block.slot == slot or (block.slot < slot and not strict):
                return _checkpoint(block)
            if block.slot < slot:
                return None
        return None

    def _datum(self, request: web.Request) -> Json | None:
        for _, _, _, output in self._outputs():
            if output.datum is not None and datum_hash_of(output) == request.match_info["digest"]:
                return {"datum": (datum_of(output) or b"").hex()}
        return None

    def _script(self, request: web.Request) -> Json | None:
        digest = request.match_info["digest"]
        for output in self._chain.outputs.values():
            if output.script is not None and script_hash_of(output.script) == digest:
                return _plutus(output)
        return None

    def _health(self, _: web.Request) -> Json:
        slot = self._chain.head.slot
        return {
            "connection_status": "connected",
            "most_recent_checkpoint": slot,
            "most_recent_node_tip": slot,
            "seconds_since_last_block": 0,
            "network_synchronization": 1.0,
            "configuration": {"indexes": "installed"},
            "version": "v2.12.0",
        }


def _checkpoint(block: DevBlock) -> Json:
    return {"slot_no": block.slot, "header_hash": block.id}


def _redeemer(tx: TxRecord, index: int) -> str | None:
    if not tx.valid:
        return None
    return next(
        (
            redeemer.data.hex()
            for redeemer in tx.redeemers
            if (redeemer.tag, redeemer.index) == ("spend", index)
        ),
        None,
    )


def _assets(output: TransactionOutput) -> dict[str, int]:
    found = {}
    for policy, assets in (output.amount.multi_asset or {}).items():
        for name, amount in assets.items():
            dotted = f".{name.payload.hex()}" if name.payload else ""
            found[policy.payload.hex() + dotted] = amount
    return found


def _plutus(output: TransactionOutput) -> Json:
    if isinstance(output.script, NativeScript):
        return {"language": "native", "script": output.script.hex()}
    return {"language": "plutus:v3", "script": bytes(output.script).hex()}


def _within(query: Any, what: str, slot: int | None) -> bool:
    """Both bounds are included; a point's slot stands before its dot."""
    first, last = query.get(f"{what}_after"), query.get(f"{what}_before")
    if first is None and last is None:
        return True
    if slot is None:
        return False
    low = 0 if first is None else int(first.partition(".")[0])
    high = slot if last is None else int(last.partition(".")[0])
    if (first is not None and low < 1) or (last is not None and high < 1):
        raise BadRequestError("slots begin at 1")
    return low <= slot <= high


def _pattern(text: str) -> Wanted:
    if text == "*":
        return lambda _ref, _output: True
    if "@" in text:
        index, _, tx_id = text.partition("@")
        if len(tx_id) != 64:
            raise BadRequestError("a transaction id has 64 digits")
        return lambda ref, _output: ref[0] == tx_id and index in {"*", str(ref[1])}
    if "/" in text:
        payment, _, delegation = text.partition("/")
        if delegation != "*" or len(payment) != 56:
            raise BadRequestError("this server knows <payment credential>/* alone")
        return lambda _ref, output: (
            output.address.payment_part is not None and output.address.payment_part.payload.hex() == payment
        )
    try:
        address = bytes(Address.from_primitive(text).to_primitive())
    except Exception as error:
        raise BadRequestError("this is not a pattern") from error
    return lambda _ref, output: bytes(output.address.to_primitive()) == address
