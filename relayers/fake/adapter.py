"""The fake chain behind `ChainPort`, with an RPC that can be down, late or lying."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

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
    DeepReorgError,
    InsufficientFundsError,
    PortUnavailableError,
)
from bridge.chains.port import (
    Authorizer,
    BroadcastResult,
    Claimed,
    FeeEstimate,
    FeeLevel,
    HtlcEvent,
    LockStatus,
    Refunded,
    Revealed,
    Scan,
    SetAside,
    SignedTx,
    Spent,
    Tip,
    TxState,
    TxStatus,
    UnsignedTx,
)
from bridge.chains.traits import Authorization, Traits
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
)
from relayers.fake.authorizing import FakeAuthorizer, signature_of
from relayers.fake.chain import REPLACEMENT_PERCENT, FakeChain
from relayers.fake.ledger import GAS, FakeTx, InvalidTxError, lock_id_of


@dataclass
class RpcFaults:
    """What is wrong with this process's line to the chain."""

    down: bool = False
    flaky: float = 0.0
    """Probability that a call fails."""
    lag: int = 0
    """It shows the chain as it was this many blocks ago."""
    hides_events: bool = False
    """`scan` reports blocks without their events."""
    blind: bool = False
    """It cannot tell claims from refunds: both are reported as spends that prove nothing."""
    lies: bool = False
    """`scan` reports claims as refunds, and keeps the preimage to itself. `read_lock` tells the truth."""
    unreadable: bool = False
    """`scan` sets aside the transactions that spend locks instead of reporting what they did."""
    history_from: int = 0
    """Its history begins at this height."""
    disagrees: bool = False
    """Its endpoints never agree."""


def traits_of(chain: FakeChain) -> Traits:
    """Return what sets a fake chain apart: what its test asked for."""
    authorization = Authorization.NONE
    if chain.signed_claims is not None:
        authorization = Authorization.REQUIRED if chain.signed_claims else Authorization.OPTIONAL
    return Traits(
        native_symbol=chain.native.symbol,
        native_decimals=chain.native.decimals,
        max_amount=Amount(2**256 - 1),
        max_claims=chain.max_claims,
        authorization=authorization,
    )


class FakePort:
    """The bridge's view of a `FakeChain`, with `account` as its own address."""

    def __init__(self, chain: FakeChain, account: str, contract: str = "htlc") -> None:
        self.fake = chain
        self.chain: ChainId = chain.chain
        self.contract = Address(contract)
        self.account = Address(account)
        self.traits = traits_of(chain)
        self.max_claims = self.traits.max_claims
        self.authorizer: Authorizer | None = None
        if chain.signed_claims is not None:
            self.authorizer = FakeAuthorizer(account, chain.ledger.locks, required=chain.signed_claims)
        self.faults = RpcFaults()
        self._random = random.Random(f"{chain.seed}/{chain.chain}/{account}")
        self._salts = itertools.count()
        self._closed = False

    async def tip(self) -> Tip:
        """See `ChainPort`."""
        await self._call()
        head = self._head()
        return Tip(head, head.time)

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort`."""
        await self._call()
        visible = self.fake.blocks[: self._head().height + 1]
        head = visible[-1].ref
        tip = Tip(head, head.time)
        if not recent_blocks:
            events, unread = self._as_read(visible[-1].events)
            return Scan((), (head,), events, tip, unread)
        orphaned: list[BlockRef] = []
        ancestor: BlockRef | None = None
        for block in reversed(recent_blocks):
            there = self.fake.blocks[block.height].ref if block.height < len(self.fake.blocks) else None
            if there is not None and block.id in ("", there.id):
                ancestor = block
                break
            orphaned.append(block)
        if ancestor is None:
            raise DeepReorgError("no known block is on the chain", "look at the node, then clear the ring")
        found = visible[ancestor.height + 1 : ancestor.height + 1 + max_blocks]
        events, unread = self._as_read(tuple(event for block in found for event in block.events))
        return Scan(tuple(orphaned), tuple(block.ref for block in found), events, tip, unread)

    def _as_read(self, events: tuple[HtlcEvent, ...]) -> tuple[tuple[HtlcEvent, ...], tuple[SetAside, ...]]:
        """Return events as this line shows them, and what it cannot read."""
        faults = self.faults
        if faults.hides_events:
            return (), ()
        read: list[HtlcEvent] = []
        unread: dict[TxId, SetAside] = {}
        for event in events:
            if not isinstance(event, Claimed | Refunded):
                read.append(event)
            elif faults.unreadable:
                # Every second one does not even say which lock it is about.
                named = (event.lock_id,) if event.block.height % 2 else ()
                unread[event.tx_id] = SetAside(event.block, event.tx_id, "of a newer version", named)
            elif faults.blind or event.tx_id in self.fake.odd:
                read.append(Spent(event.block, event.tx_id, event.lock_id, "not understood"))
            elif faults.lies:
                read.append(Refunded(event.block, event.tx_id, event.lock_id))
            else:
                read.append(event)
        hidden = (
            {event.tx_id for event in events if isinstance(event, Claimed)} if faults.lies else set(unread)
        ) | self.fake.odd
        kept = tuple(e for e in read if not (isinstance(e, Revealed) and e.tx_id in hidden))
        return kept, tuple(unread.values())

    async def read_lock(
        self, lock_id: LockId, terms: LockTerms, *, since: BlockHeight | None = None, agreed: bool = False
    ) -> LockStatus:
        """See `ChainPort`."""
        await self._call()
        found = self.fake.ledger.locks.get(lock_id)
        if agreed and self.faults.disagrees:
            return LockStatus.UNKNOWN
        if found is None or found[0] != terms:
            reaches_back = self.faults.history_from <= (since or 0)
            return LockStatus.ABSENT if reaches_back else LockStatus.UNKNOWN
        status = self.fake.ledger.lock_status(lock_id)
        return LockStatus.SPENT if self.faults.blind and status is not LockStatus.OPEN else status

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """See `ChainPort`."""
        await self._call()
        return self.fake.ledger.balance(address, asset)

    async def fees(self, asset: Asset) -> FeeEstimate:
        """See `ChainPort`."""
        await self._call()
        price = self.fake.price
        return FeeEstimate(
            Amount(GAS[Purpose.LOCK] * price),
            Amount(GAS[Purpose.CLAIM] * price),
            Amount(GAS[Purpose.REFUND] * price),
        )

    async def next_sequence(self) -> int | None:
        """See `ChainPort`."""
        await self._call()
        return self.fake.ledger.sequences.get(self.account, 0) if self.fake.sequences else None

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """See `ChainPort`."""
        await self._call()
        if isinstance(action, ClaimAction):
            self._require_authorization(action)
        price = self.fake.price
        if fee.previous is not None:
            price = max(price, -(-fee.previous["price"] * REPLACEMENT_PERCENT // 100))
        expiry = self.fake.expiry_blocks
        tx = FakeTx(
            account=self.account,
            sequence=sequence,
            purpose=action.purpose,
            price=price,
            valid_until=None if expiry is None else BlockHeight(self.fake.head.height + expiry),
            salt=next(self._salts) if sequence is None else 0,
        )
        tx = msgspec.structs.replace(tx, **self._particulars(action))
        self._simulate(tx)
        return SignedTx(
            tx_id=tx.tx_id,
            raw=tx.encode(),
            account=self.account,
            sequence=sequence,
            fee={"price": price},
            max_cost=tx.cost,
            valid_until_height=tx.valid_until,
        )

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """See `ChainPort`."""
        await self._call()
        return self.fake.submit(msgspec.json.decode(tx.raw, type=FakeTx))

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """See `ChainPort`."""
        await self._call()
        found = self.fake.included(tx.tx_id)
        head = self._head()
        if found is not None and found[0].ref.height <= head.height:
            block, outcome = found
            confirmations = head.height - block.ref.height + 1
            state = TxState.INCLUDED if outcome.reason is None else TxState.FAILED
            return TxStatus(state, block.ref, confirmations, outcome.reason or "")
        if tx.sequence is not None and tx.sequence < self.fake.ledger.sequences.get(self.account, 0):
            return TxStatus(TxState.REPLACED, reason=self.fake.sequence_user(self.account, tx.sequence) or "")
        if tx.tx_id in self.fake.mempool:
            return TxStatus(TxState.PENDING)
        reaches_back = self.faults.history_from <= (tx.signed_height or 0)
        unsure = not reaches_back or (agreed and self.faults.disagrees)
        return TxStatus(TxState.UNSURE if unsure else TxState.UNKNOWN)

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """See `ChainPort`."""
        await self._call()
        return tuple(
            ApproveAction(asset.key.encode())
            for asset in assets
            if asset.key != self.fake.native.key
            and (self.account, asset.key) not in self.fake.ledger.approvals
        )

    def lock_id(self, terms: LockTerms) -> LockId:
        """See `ChainPort`."""
        return lock_id_of(terms)

    def parse_address(self, text: str) -> Address:
        """See `ChainPort`: here an address is any short word."""
        if not text.isidentifier() or len(text) > 64:
            raise BadAddressError("not an address of the fake chain", "use letters and digits")
        return Address(text)

    def unsigned(self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> UnsignedTx:
        """See `ChainPort`."""
        payload = {"purpose": purpose.value, "lock_id": lock_id_of(terms), "amount": str(terms.amount)}
        if preimage is not None:
            payload["preimage"] = preimage.reveal().hex()
        return UnsignedTx("fake", f"{purpose.value} {terms.amount} {terms.asset.symbol}", payload)

    async def hints(self) -> AsyncIterator[None]:
        """See `ChainPort`."""
        event = self.fake.subscribe()
        try:
            while not self._closed:
                await event.wait()
                event.clear()
                yield
        finally:
            self.fake.unsubscribe(event)

    async def close(self) -> None:
        """See `ChainPort`."""
        self._closed = True

    def _head(self) -> BlockRef:
        return self.fake.blocks[max(0, len(self.fake.blocks) - 1 - self.faults.lag)].ref

    async def _call(self) -> None:
        await asyncio.sleep(0)
        if self.faults.down or (self.faults.flaky and self._random.random() < self.faults.flaky):
            raise PortUnavailableError("the fake RPC does not answer", "wait")

    def _particulars(self, action: Action) -> dict[str, Any]:
        """Return the fields of a transaction that depend on what it does."""
        match action:
            case LockAction(terms=terms):
                return {"terms": terms}
            case ClaimAction(terms=terms, preimage=preimage):
                return {
                    "lock_id": lock_id_of(terms),
                    "preimage": preimage.reveal().hex(),
                    "others": self._open_others(action),
                }
            case RefundAction(terms=terms) | CooperativeRefundAction(terms=terms):
                return {"lock_id": lock_id_of(terms)}
            case ApproveAction(payload=payload, amount=amount):
                return {"payload": payload.decode("latin-1"), "amount": amount}
            case AnchorAction(root=root, size=size):
                return {"payload": root.decode("latin-1"), "amount": size}
            case CancelAction():
                return {}
            case CloseAction():
                raise ActionRefusedError("a spent lock leaves nothing on the fake chain", "plan no closing")

    def _require_authorization(self, action: ClaimAction) -> None:
        terms = action.terms
        if terms.recipient == self.account:
            return
        if self.authorizer is None or not (self.authorizer.required or action.authorization):
            return
        max_fee, _, signature = action.authorization.decode().partition(" ")
        if not max_fee or signature != signature_of(terms.recipient, lock_id_of(terms), Amount(int(max_fee))):
            raise ActionRefusedError("the recipient did not authorise this claim", "ask for the signature")

    def _open_others(self, action: ClaimAction) -> tuple[tuple[LockId, str], ...]:
        """The further claims of a batch that can still be made."""
        ledger = self.fake.ledger
        return tuple(
            (lock_id_of(other.terms), other.preimage.reveal().hex())
            for other in action.others
            if ledger.lock_status(lock_id_of(other.terms)) is LockStatus.OPEN
        )

    def _simulate(self, tx: FakeTx) -> None:
        trial = self.fake.ledger.snapshot()
        next_block = BlockRef(BlockHeight(self.fake.head.height + 1), "", "", self.fake.head.time)
        needed = tx.cost + (tx.terms.amount if tx.terms and tx.terms.asset.key == self.fake.native.key else 0)
        if trial.balance(self.account, self.fake.native) < needed:
            raise InsufficientFundsError(
                f"{self.account} needs {needed}", "send coins to the bridge's account"
            )
        if tx.terms and trial.balance(self.account, tx.terms.asset) < tx.terms.amount:
            raise InsufficientFundsError(
                f"{self.account} lacks {tx.terms.asset.key}", "send it to the bridge"
            )
        try:
            trial.pay_fee(tx)
            trial.execute(tx, next_block)
        except InvalidTxError as error:
            raise ActionRefusedError(str(error)) from error
