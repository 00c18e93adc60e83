"""The sample chain behind `ChainPort`. Everything the bridge does on this chain goes through here."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import httpx
import msgspec

from bridge.chains.actions import (
    Action,
    AnchorAction,
    ApproveAction,
    CancelAction,
    ClaimAction,
    CloseAction,
    CooperativeRefundAction,
    LockAction,
    RefundAction,
)
from bridge.chains.errors import (
    ActionRefusedError,
    BadAddressError,
    InsufficientFundsError,
    PortUnavailableError,
)
from bridge.chains.port import (
    Authorizer,
    BroadcastOutcome,
    BroadcastResult,
    Claimed,
    FeeEstimate,
    FeeLevel,
    HtlcEvent,
    Locked,
    LockStatus,
    Refunded,
    Scan,
    SignedTx,
    Spent,
    Tip,
    TxState,
    TxStatus,
    UnsignedTx,
)
from bridge.chains.preimages import revealed
from bridge.chains.recent_blocks import newest_common
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    ChainId,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
    UnixSeconds,
)
from samplechain.ledger import MIN_FEE, SYMBOL, Block, Tx, address_of, lock_id_of
from samplechain.ledger import public_key as public_key_of
from samplechain.traits import TRAITS

_KINDS = {Purpose.LOCK: "lock", Purpose.CLAIM: "claim", Purpose.REFUND: "refund"}


class _Blocks(msgspec.Struct):
    head: Block
    blocks: list[Block]


class _Account(msgspec.Struct):
    balance: int
    sequence: int


class _Lock(msgspec.Struct):
    status: LockStatus


class _Place(msgspec.Struct):
    waiting: bool
    block: Block | None
    height: int


class _Outcome(msgspec.Struct):
    outcome: BroadcastOutcome
    reason: str


class _Refusal(msgspec.Struct):
    refused: str
    funds: bool


Answer = TypeVar("Answer")


class SamplePort:
    """One sample chain and one account of ours; a `bridge.chains.port.ChainPort`."""

    traits = TRAITS
    max_claims = TRAITS.max_claims
    authorizer: Authorizer | None = None
    contract = Address("")

    def __init__(
        self, chain: ChainId, url: str, key: bytes, *, timeout: float = 10.0, poll: float = 0.2
    ) -> None:
        self.chain = chain
        self.account = Address(address_of(key))
        self.native = TRAITS.native(chain)
        self._key = key
        self._poll = poll
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout)

    def __repr__(self) -> str:
        return f"SamplePort({self.chain}, {self.account})"

    # -- reading -------------------------------------------------------------------------------------

    async def tip(self) -> Tip:
        """Return the head; the next block's deadlines are compared with its time."""
        return _tip((await self._blocks()).head)

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. One answer of the node shows one branch, so it cannot change meanwhile."""
        if not recent_blocks:
            answer = await self._blocks()
            return Scan((), (_ref(answer.head),), self._events([answer.head]), _tip(answer.head))
        newest = recent_blocks[-1]
        answer = await self._blocks(newest.height, max_blocks + 1)
        if not (answer.blocks and answer.blocks[0].id == newest.id):
            first = recent_blocks[0].height
            answer = await self._blocks(first, newest.height - first + 1 + max_blocks)
        head = _ref(answer.head)
        canonical = {BlockHeight(block.height): block.id for block in answer.blocks} | {head.height: head.id}
        ring = list(recent_blocks)
        if not ring[0].id and ring[0].height in canonical:
            ring[0] = msgspec.structs.replace(ring[0], id=canonical[ring[0].height])
        index = newest_common(ring, canonical, head)
        if index is None:  # a node that lags behind what we have seen proves nothing
            return Scan((), (), (), _tip(answer.head))
        above = [block for block in answer.blocks if block.height > ring[index].height][:max_blocks]
        _check_linked(above, ring[index].id)
        orphaned = tuple(reversed(ring[index + 1 :]))
        return Scan(orphaned, tuple(_ref(block) for block in above), self._events(above), _tip(answer.head))

    def _events(self, blocks: Sequence[Block]) -> tuple[HtlcEvent, ...]:
        """Read the events out of the transactions themselves: a block's id commits to them."""
        return tuple(event for block in blocks for tx in block.txs for event in self._of_tx(tx, _ref(block)))

    def _of_tx(self, tx: Tx, block: BlockRef) -> tuple[HtlcEvent, ...]:
        """What a transaction did, and what it shows: a secret is whatever opens a hashlock, wherever it
        stands."""
        event = self._event(tx, block)
        try:
            note = bytes.fromhex(tx.note)
        except ValueError:  # the node takes any text: one odd note must not stop the scan
            note = tx.note.encode()
        shown = revealed(block, TxId(tx.tx_id), [note] if note else [])
        return shown if event is None else (event, *shown)

    def _event(self, tx: Tx, block: BlockRef) -> HtlcEvent | None:
        tx_id, lock_id = TxId(tx.tx_id), LockId(tx.lock_id)
        match tx.kind:
            case "lock":
                terms = LockTerms(
                    chain=self.chain,
                    contract=self.contract,
                    sender=Address(tx.sender),
                    recipient=Address(tx.recipient),
                    asset=self.native,
                    amount=Amount(tx.amount),
                    hashlock=bytes.fromhex(tx.hashlock),
                    deadline=UnixSeconds(tx.deadline),
                )
                return Locked(block, tx_id, self.lock_id(terms), terms)
            case "claim":
                return Claimed(block, tx_id, lock_id, Preimage(bytes.fromhex(tx.preimage)))
            case "refund" | "give_back":
                return Refunded(block, tx_id, lock_id)
        # Of a newer version of the chain: nothing is concluded from what is not understood.
        return Spent(block, tx_id, lock_id, f"a transaction of the kind {tx.kind!r}") if lock_id else None

    async def read_lock(
        self, lock_id: LockId, terms: LockTerms, *, since: BlockHeight | None = None, agreed: bool = False
    ) -> LockStatus:
        """Tell what became of the lock with exactly these terms."""
        if lock_id != self.lock_id(terms):
            return LockStatus.ABSENT
        # A node that has not come as far as `since` cannot know of it. There is one node: it agrees.
        behind = since is not None and (await self._blocks()).head.height <= since
        status = (await self._get(f"/locks/{lock_id}", _Lock)).status
        return LockStatus.UNKNOWN if behind and status is LockStatus.ABSENT else status

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """Return the confirmed balance. Raises `ActionRefusedError` for any other asset."""
        if asset != self.native:
            raise ActionRefusedError(f"{self.chain} has no {asset.key}", f"its one asset is {SYMBOL}")
        return Amount((await self._account(address)).balance)

    async def fees(self, asset: Asset) -> FeeEstimate:
        """Return the fee, which is the same for everything."""
        return FeeEstimate(lock=Amount(MIN_FEE), claim=Amount(MIN_FEE), refund=Amount(MIN_FEE))

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """Return nothing: the native coin needs no approval."""
        return ()

    # -- sending -------------------------------------------------------------------------------------

    async def next_sequence(self) -> int | None:
        """Return the account's next sequence, counting confirmed transactions only."""
        return (await self._account(self.account)).sequence

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """Let the node simulate it on the newest state, then sign. Nothing is sent."""
        if sequence is None:
            raise ActionRefusedError("a transaction needs a sequence", "take it from next_sequence")
        bid = MIN_FEE if fee.previous is None else max(MIN_FEE, math.ceil(fee.previous["fee"] * 1.25))
        unsigned = self._transaction(action, sequence, bid)
        refusal = msgspec.json.decode(
            await self._post("/simulate", msgspec.json.encode(unsigned)), type=_Refusal
        )
        if refusal.refused:
            kind = InsufficientFundsError if refusal.funds else ActionRefusedError
            raise kind(refusal.refused, "send coins to the account" if refusal.funds else "see the lock")
        tx = unsigned.signed(self._key)
        return SignedTx(
            tx_id=TxId(tx.tx_id),
            raw=msgspec.json.encode(tx),
            account=self.account,
            sequence=sequence,
            fee={"fee": bid},
            max_cost=Amount(bid),
        )

    def _transaction(self, action: Action, sequence: int, fee: int) -> Tx:
        head = (self.account, sequence, fee)
        match action:
            case LockAction(terms=terms):
                if terms.sender != self.account:
                    raise ActionRefusedError("only its sender can make a lock", "use the sender's account")
                return Tx(*head, "lock", **self._lock_fields(terms))
            case ClaimAction(terms=terms, preimage=preimage):
                return Tx(*head, "claim", lock_id=self.lock_id(terms), preimage=preimage.reveal().hex())
            case RefundAction(terms=terms):
                return Tx(*head, "refund", lock_id=self.lock_id(terms))
            case CooperativeRefundAction(terms=terms):
                return Tx(*head, "give_back", lock_id=self.lock_id(terms))
            case AnchorAction(root=root, size=size):
                return Tx(*head, "anchor", note=root.hex(), amount=size)
            case CancelAction():
                return Tx(*head, "transfer", recipient=self.account)
            case ApproveAction() | CloseAction():
                raise ActionRefusedError(f"there is no {action.purpose} on this chain", "nothing needs it")

    def _lock_fields(self, terms: LockTerms) -> dict[str, str | int]:
        if (terms.chain, terms.contract, terms.asset, terms.lane) != (self.chain, "", self.native, 0):
            raise ActionRefusedError("this lock belongs on another chain", f"{self.chain} locks {SYMBOL}")
        return {
            "recipient": terms.recipient,
            "amount": terms.amount,
            "hashlock": terms.hashlock.hex(),
            "deadline": terms.deadline,
        }

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send the stored bytes; sending them again is harmless."""
        answer = msgspec.json.decode(await self._post("/transactions", tx.raw), type=_Outcome)
        return BroadcastResult(answer.outcome, answer.reason)

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """Tell where it is. The sequence is read first: what lands meanwhile must not look replaced."""
        height = (await self._blocks()).head.height
        account = await self._account(tx.account)
        place = await self._get(f"/transactions/{tx.tx_id}", _Place)
        if place.block is not None:
            return TxStatus(TxState.INCLUDED, _ref(place.block), place.height - place.block.height + 1)
        if place.waiting:
            return TxStatus(TxState.PENDING)
        if tx.sequence is not None and account.sequence > tx.sequence:
            return TxStatus(TxState.REPLACED, reason=f"sequence {tx.sequence} was used by another")
        behind = tx.signed_height is not None and height < tx.signed_height
        return TxStatus(TxState.UNSURE if behind else TxState.UNKNOWN)

    # -- pure ----------------------------------------------------------------------------------------

    def lock_id(self, terms: LockTerms) -> LockId:
        """Return the id of a lock with these terms."""
        fields = (terms.sender, terms.recipient, terms.amount, terms.hashlock.hex(), terms.deadline)
        return LockId(lock_id_of(*fields))

    def parse_address(self, text: str) -> Address:
        """Return the lower-case form. Raises `BadAddressError`."""
        try:
            public_key_of(text.lower())
        except ValueError as error:
            raise BadAddressError(str(error), "copy the whole address again") from None
        return Address(text.lower())

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """Return the fields that a wallet completes with its address, sequence and fee, and signs."""
        if purpose not in _KINDS or (purpose is Purpose.CLAIM and preimage is None):
            raise ActionRefusedError("a wallet locks, claims (with the preimage) or refunds", "see the swap")
        payload: dict[str, str | int] = {"kind": _KINDS[purpose], "fee": MIN_FEE}
        if purpose is Purpose.LOCK:
            payload |= self._lock_fields(terms)
        else:
            payload["lock_id"] = self.lock_id(terms)
        if purpose is Purpose.CLAIM and preimage is not None:
            payload["preimage"] = preimage.reveal().hex()
        return UnsignedTx("sample-json", f"{purpose.value} {terms.amount} units of {SYMBOL}", payload)

    async def hints(self) -> AsyncIterator[None]:
        """Yield on every new head, polled."""
        seen = (await self._blocks()).head.id
        while True:
            head = (await self._blocks()).head.id
            if head != seen:
                seen = head
                yield
            await asyncio.sleep(self._poll)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # -- the node ------------------------------------------------------------------------------------

    async def _blocks(self, first: int | None = None, count: int = 1) -> _Blocks:
        query = "" if first is None else f"?first={first}&count={count}"
        return await self._get(f"/blocks{query}", _Blocks)

    async def _account(self, address: str) -> _Account:
        return await self._get(f"/accounts/{address}", _Account)

    async def _get(self, path: str, kind: type[Answer]) -> Answer:
        return msgspec.json.decode(await self._request("GET", path), type=kind)

    async def _post(self, path: str, content: bytes) -> bytes:
        return await self._request("POST", path, content)

    async def _request(self, method: str, path: str, content: bytes | None = None) -> bytes:
        try:
            answer = await self._client.request(method, path, content=content)
            return answer.raise_for_status().content
        except httpx.HTTPError as error:
            raise PortUnavailableError(
                f"the node of {self.chain} does not answer: {type(error).__name__}", "is it running?"
            ) from None


def _ref(block: Block) -> BlockRef:
    return BlockRef(BlockHeight(block.height), block.id, block.parent, UnixSeconds(block.time))


def _tip(block: Block) -> Tip:
    return Tip(_ref(block), UnixSeconds(block.time))


def _check_linked(blocks: Sequence[Block], parent: str) -> None:
    for block in blocks:
        if block.parent != parent:
            raise PortUnavailableError(
                "the node sent blocks that do not follow each other", "use another node"
            )
        parent = block.id
