"""The JSON-RPC methods: parameters in, values of `chain.service.messages` out. No transport here.

Every method's parameters are a struct: unknown fields, wrong types and wrong lengths are refused with a
sentence. Errors carry `data.reason`, one of `Reason` or of the names below, and `data.hint`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import msgspec
import structlog

from chain.rules.address import decode_address
from chain.rules.block import MAX_BLOCK_BYTES, Block
from chain.rules.errors import AddressError, DevError, NotFoundError, RuleBrokenError, ZionError
from chain.rules.header import compact_to_target
from chain.rules.params import MAX_AMOUNT
from chain.rules.records import RAW_BYTES, decode_transaction
from chain.rules.types import LockId, TxId
from chain.service.messages import (
    BlockSubmitted,
    BlockTemplate,
    ClockView,
    DevReorg,
    FinalityView,
    Mined,
    NodeInfo,
    Submitted,
    to_wire,
)
from chain.service.ports import DevControls, ServedNode

log = structlog.get_logger("zion.rpc")

PARSE_ERROR = -32_700
INVALID_REQUEST = -32_600
METHOD_NOT_FOUND = -32_601
INVALID_PARAMS = -32_602
INTERNAL_ERROR = -32_603
REFUSED = -32_000
"""A transaction or block breaks a rule; `data.reason` names it."""
NOT_FOUND = -32_001
DEV_ERROR = -32_002
TOO_MUCH = -32_005
"""More than one request, or one address, may ask for; `data.reason` is "over_budget" or "busy"."""

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Height = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Amount = Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)]
AmountText = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,19}$")]
RawTransaction = Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * RAW_BYTES}}}$")]
RawBlock = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})+$", max_length=2 * MAX_BLOCK_BYTES)]


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _NoParams(_Params):
    pass


class _BlockParams(_Params):
    block: Hash | Height


class _HeadersParams(_Params):
    start: Height
    count: Limit = 100


class _TxidParams(_Params):
    txid: Hash


class _AddressParams(_Params):
    address: str


class _LockIdParams(_Params):
    lock_id: Hash


class _HashlockParams(_Params):
    hashlock: Hash
    limit: Limit = 100


class _RootParams(_Params):
    root: Hash
    limit: Limit = 100


class _TransactionParams(_Params):
    raw: RawTransaction


class _RawBlockParams(_Params):
    block: RawBlock


class _TemplateParams(_Params):
    address: str | None = None


class _PageParams(_Params):
    limit: Limit = 100


class _AdvanceTimeParams(_Params):
    seconds: Annotated[int, msgspec.Meta(ge=0)]
    settle: bool = False


class _MiningParams(_Params):
    on: bool


class _CountParams(_Params):
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class _FundParams(_Params):
    address: str
    amount: Amount | AmountText


class _ReorgParams(_Params):
    depth: Annotated[int, msgspec.Meta(ge=1)]
    drop: list[Hash] = []
    readmit_dropped: bool = False


class CallError(ZionError):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.body = {"code": code, "message": message, "data": {"reason": reason, "hint": hint}}


class _Method(NamedTuple):
    params: type[_Params]
    call: Callable[[Any], Any]
    cost: Callable[[Any], int] = lambda _: 2
    """Units (see `chain.service.budgets`) for these parameters, at the worst."""
    reads_store: bool = False
    """It reads one snapshot of the store and nothing else, so that it may run on a thread."""


class Methods:
    """The methods over a node."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node
        queries = node.queries
        self._methods: dict[str, _Method] = {
            "getInfo": _Method(_NoParams, lambda _: self.info()),
            "getPeers": _Method(_NoParams, lambda _: node.peers()),
            "getBlock": _Method(
                _BlockParams, lambda p: queries.block(p.block), lambda p: queries.size_of(p.block), True
            ),
            "getHeader": _Method(_BlockParams, lambda p: queries.header(p.block)),
            "getHeaders": _Method(
                _HeadersParams, lambda p: queries.headers(p.start, p.count), lambda p: p.count // 2, True
            ),
            "getTransaction": _Method(
                _TxidParams, lambda p: queries.transaction(_txid(p.txid)), lambda _: 20
            ),
            "getAccount": _Method(_AddressParams, lambda p: queries.account(decode_address(p.address))),
            "getBalance": _Method(
                _AddressParams, lambda p: str(queries.account(decode_address(p.address)).balance)
            ),
            "getLock": _Method(_LockIdParams, lambda p: queries.lock(LockId(bytes.fromhex(p.lock_id)))),
            "findLocks": _Method(
                _HashlockParams,
                lambda p: queries.locks_of(bytes.fromhex(p.hashlock), p.limit),
                lambda p: p.limit,
            ),
            "submitTransaction": _Method(_TransactionParams, self._submit, lambda _: 5),
            "estimateFee": _Method(_NoParams, lambda _: queries.fees(), lambda _: 50),
            "getMempool": _Method(_PageParams, lambda p: queries.mempool(p.limit), lambda p: p.limit),
            "getAnchorProof": _Method(
                _TxidParams, lambda p: queries.anchor_proof(_txid(p.txid)), lambda _: 100
            ),
            "findAnchors": _Method(_RootParams, lambda p: queries.anchors_of(bytes.fromhex(p.root), p.limit)),
            "getBlockTemplate": _Method(_TemplateParams, self._template, lambda _: 1_000),
            "submitBlock": _Method(
                _RawBlockParams, self._submit_block, lambda p: 10 + len(p.block) // (2 * RAW_BYTES)
            ),
        }
        if node.dev is not None:
            dev = node.dev
            self._methods |= {
                "dev_advanceTime": _Method(_AdvanceTimeParams, lambda p: self._advance(dev, p)),
                "dev_setMining": _Method(_MiningParams, self._set_mining),
                "dev_mine": _Method(_CountParams, lambda p: self._mine(dev, p)),
                "dev_fund": _Method(_FundParams, lambda p: self._fund(dev, p)),
                "dev_reorg": _Method(_ReorgParams, lambda p: self._reorg(dev, p)),
            }

    def cost(self, method: str, params: Any) -> tuple[int, bool]:
        """Return the units that a call costs, and whether it may be answered on a thread."""
        entry = self._methods.get(method)
        if entry is None:
            return 1, False
        try:
            return entry.cost(_read(entry.params, params)), entry.reads_store
        except ZionError:
            return 1, False  # the call itself will say what is wrong

    def call(self, method: str, params: Any) -> Any:
        """Call a method; returns JSON values. Raises `CallError` and nothing else."""
        entry = self._methods.get(method)
        if entry is None:
            hint = "dev_ methods exist only on the dev network" if method.startswith("dev_") else ""
            raise CallError(
                METHOD_NOT_FOUND, f"no method {method[:64]!r}", reason="method_not_found", hint=hint
            )
        try:
            return to_wire(entry.call(_read(entry.params, params)))
        except RuleBrokenError as error:
            raise CallError(REFUSED, error.message, reason=error.reason.value, hint=error.hint) from None
        except NotFoundError as error:
            raise CallError(NOT_FOUND, error.message, reason="not_found", hint=error.hint) from None
        except AddressError as error:
            raise CallError(INVALID_PARAMS, error.message, reason="bad_address", hint=error.hint) from None
        except DevError as error:
            raise CallError(DEV_ERROR, error.message, reason="dev_error", hint=error.hint) from None
        except CallError:
            raise
        except Exception as error:
            log.exception("internal error", method=method)
            hint = error.hint if isinstance(error, ZionError) else "see the node's log"
            raise CallError(INTERNAL_ERROR, "internal error", reason="internal_error", hint=hint) from None

    def info(self) -> NodeInfo:
        """Return the node and its head."""
        node, tip = self._node, self._node.chain.tip
        return NodeInfo(
            network=node.params.network.value,
            chain_id=node.params.chain_id,
            genesis_id=node.chain.genesis_id.hex(),
            height=tip.height,
            best_id=tip.id.hex(),
            median_time=node.chain.median_time,
            chain_time=node.clock.now(),
            work=str(tip.work),
            target=f"{node.chain.target_after(tip.id):08x}",
            issued=tip.issued,
            locked=tip.locked,
            mempool_size=len(node.mempool),
            mining=node.mining,
            hash_rate=node.hash_rate,
            finality=tuple(FinalityView(hint.amount, hint.depth) for hint in node.params.finality),
            problems=node.problems,
        )

    def _submit(self, params: _TransactionParams) -> Submitted:
        added = self._node.submit(decode_transaction(bytes.fromhex(params.raw)))
        replaced = tuple(txid.hex() for txid in added.replaced)
        return Submitted(added.txid.hex(), added.known, replaced, added.queued)

    def _template(self, params: _TemplateParams) -> BlockTemplate:
        miner = decode_address(params.address) if params.address is not None else None
        if miner is None and self._node.miner == bytes(20):
            raise CallError(
                INVALID_PARAMS,
                "the block has no address to pay",
                reason="no_miner",
                hint="give an address, or start the node with --miner-address",
            )
        block = self._node.template(miner)
        target = compact_to_target(block.header.target)
        return BlockTemplate(
            block=block.encode().hex(),
            header=block.header.raw.hex(),
            target=f"{target:064x}",
            height=block.header.height,
            previous=block.header.previous.hex(),
            transactions=len(block),
        )

    def _submit_block(self, params: _RawBlockParams) -> BlockSubmitted:
        block = Block.decode(bytes.fromhex(params.block))
        change = self._node.accept(block)
        return BlockSubmitted(block.id.hex(), change.known, self._node.chain.tip.id == block.id)

    def _advance(self, dev: DevControls, params: _AdvanceTimeParams) -> ClockView:
        mined = dev.advance_time(params.seconds, settle=params.settle)
        node = self._node
        return ClockView(
            node.clock.now(), node.chain.median_time, tuple(block_id.hex() for block_id in mined)
        )

    def _set_mining(self, params: _MiningParams) -> bool:
        self._node.mining = params.on
        return params.on

    def _mine(self, dev: DevControls, params: _CountParams) -> Mined:
        ids = dev.mine(params.count)
        return Mined(tuple(block_id.hex() for block_id in ids), self._node.chain.tip.height)

    def _fund(self, dev: DevControls, params: _FundParams) -> Submitted:
        return Submitted(dev.fund(decode_address(params.address), int(params.amount)).hex(), known=False)

    def _reorg(self, dev: DevControls, params: _ReorgParams) -> DevReorg:
        drop = [_txid(text) for text in params.drop]
        done = dev.reorg(params.depth, drop, readmit_dropped=params.readmit_dropped)
        return DevReorg(
            done.fork_height,
            *(
                tuple(item.hex() for item in ids)
                for ids in (done.orphaned, done.connected, done.dropped, done.left_out)
            ),
        )


def _txid(text: str) -> TxId:
    return TxId(bytes.fromhex(text))


def _read(kind: type[_Params], params: Any) -> _Params:
    """Read named or positional parameters."""
    fields = kind.__struct_fields__
    if params is None:
        params = {}
    if isinstance(params, list):
        if len(params) > len(fields):
            raise CallError(
                INVALID_PARAMS, f"at most {len(fields)} parameters", reason="invalid_params",
                hint=_signature(kind),
            )  # fmt: skip
        params = dict(zip(fields, params, strict=False))
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise CallError(INVALID_PARAMS, str(error), reason="invalid_params", hint=_signature(kind)) from None


def _signature(kind: type[_Params]) -> str:
    names = ", ".join(kind.__struct_fields__)
    return f"parameters: {names}" if names else "this method takes no parameters"
