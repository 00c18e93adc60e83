"""The fake chain behind `ChainPort`, with an RPC that can be down, late or lying."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec

from bridge.chains.port import (
    Action,
    ActionRefused,
    Authorizer,
    BadAddress,
    BroadcastOutcome,
    BroadcastResult,
    DeepReorg,
    FeeEstimate,
    FeeLevel,
    InsufficientFunds,
    LockStatus,
    PortUnavailable,
    Scan,
    SignedTx,
    Tip,
    TxState,
    TxStatus,
    UnsignedTx,
)
from bridge.chains.traits import Authorization, Traits
from bridge.protocol.types import Asset, BlockRef, ChainId, LockTerms, Preimage, Purpose
from relayers.fake.authorizing import FakeAuthorizer, signature_of
from relayers.fake.chain import REPLACEMENT_PERCENT, FakeChain
from relayers.fake.ledger import GAS, FakeTx, Invalid, lock_id_of


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


def traits_of(chain: FakeChain) -> Traits:
    """Return what sets a fake chain apart: what its test asked for."""
    authorization = Authorization.NONE
    if chain.signed_claims is not None:
        authorization = Authorization.REQUIRED if chain.signed_claims else Authorization.OPTIONAL
    return Traits(
        native_symbol=chain.native.symbol,
        native_decimals=chain.native.decimals,
        max_amount=2**256 - 1,
        max_claims=chain.max_claims,
        authorization=authorization,
    )


class FakePort:
    """The bridge's view of a `FakeChain`, with `account` as its own address."""

    def __init__(self, chain: FakeChain, account: str, contract: str = "htlc") -> None:
        self.fake = chain
        self.chain: ChainId = chain.chain
        self.contract = contract
        self.account = account
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

    async def scan(self, known: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort`."""
        await self._call()
        visible = self.fake.blocks[: self._head().height + 1]
        head = visible[-1].ref
        tip = Tip(head, head.time)
        if not known:
            events = () if self.faults.hides_events else visible[-1].events
            return Scan((), (head,), events, tip)
        orphaned: list[BlockRef] = []
        ancestor: BlockRef | None = None
        for block in reversed(known):
            there = self.fake.blocks[block.height].ref if block.height < len(self.fake.blocks) else None
            if there is not None and block.id in ("", there.id):
                ancestor = block
                break
            orphaned.append(block)
        if ancestor is None:
            raise DeepReorg("no known block is on the chain", "look at the node, then clear the ring")
        found = visible[ancestor.height + 1 : ancestor.height + 1 + max_blocks]
        events = tuple(event for block in found for event in block.events)
        if self.faults.hides_events:
            events = ()
        return Scan(tuple(orphaned), tuple(block.ref for block in found), events, tip)

    async def read_lock(self, lock_id: str, terms: LockTerms) -> LockStatus:
        """See `ChainPort`."""
        await self._call()
        found = self.fake.ledger.locks.get(lock_id)
        if found is None or found[0] != terms:
            return LockStatus.ABSENT
        return self.fake.ledger.lock_status(lock_id)

    async def balance(self, address: str, asset: Asset) -> int:
        """See `ChainPort`."""
        await self._call()
        return self.fake.ledger.balance(address, asset)

    async def fees(self, asset: Asset) -> FeeEstimate:  # noqa: ARG002 -- all assets cost the same here
        """See `ChainPort`."""
        await self._call()
        price = self.fake.price
        return FeeEstimate(GAS[Purpose.LOCK] * price, GAS[Purpose.CLAIM] * price, GAS[Purpose.REFUND] * price)

    async def next_sequence(self) -> int | None:
        """See `ChainPort`."""
        await self._call()
        return self.fake.ledger.sequences.get(self.account, 0) if self.fake.sequences else None

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """See `ChainPort`."""
        await self._call()
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
            terms=action.terms if action.purpose is Purpose.LOCK else None,
            lock_id=action.lock_id,
            preimage=action.preimage.reveal().hex() if action.preimage else "",
            payload=action.payload.decode("latin-1"),
            amount=action.amount,
            valid_until=None if expiry is None else self.fake.head.height + expiry,
            salt=next(self._salts) if sequence is None else 0,
            others=self._open_others(action),
        )
        self._simulate(tx)
        return SignedTx(
            tx_id=tx.tx_id,
            raw=tx.encode(),
            account=self.account,
            sequence=sequence,
            fee={"price": price},
            max_cost=tx.cost,
            valid_until=tx.valid_until,
        )

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """See `ChainPort`."""
        await self._call()
        return self.fake.submit(msgspec.json.decode(tx.raw, type=FakeTx))

    async def tx_status(self, tx: SignedTx) -> TxStatus:
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
        return TxStatus(TxState.PENDING if tx.tx_id in self.fake.mempool else TxState.UNKNOWN)

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[Action, ...]:
        """See `ChainPort`."""
        await self._call()
        return tuple(
            Action(Purpose.APPROVE, payload=asset.key.encode())
            for asset in assets
            if asset.key != self.fake.native.key
            and (self.account, asset.key) not in self.fake.ledger.approvals
        )

    def lock_id(self, terms: LockTerms) -> str:
        """See `ChainPort`."""
        return lock_id_of(terms)

    def parse_address(self, text: str) -> str:
        """See `ChainPort`: here an address is any short word."""
        if not text.isidentifier() or len(text) > 64:
            raise BadAddress("not an address of the fake chain", "use letters and digits")
        return text

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
            raise PortUnavailable("the fake RPC does not answer", "wait")

    def _require_authorization(self, action: Action) -> None:
        terms = action.terms
        if action.purpose is not Purpose.CLAIM or terms is None or terms.recipient == self.account:
            return
        if self.authorizer is None or not (self.authorizer.required or action.authorization):
            return
        max_fee, _, signature = action.authorization.decode().partition(" ")
        if not max_fee or signature != signature_of(terms.recipient, lock_id_of(terms), int(max_fee)):
            raise ActionRefused("the recipient did not authorise this claim", "ask for the signature")

    def _open_others(self, action: Action) -> tuple[tuple[str, str], ...]:
        """The further claims of a batch that can still be made."""
        ledger = self.fake.ledger
        return tuple(
            (other.lock_id, other.preimage.reveal().hex())
            for other in action.others
            if other.preimage is not None and ledger.lock_status(other.lock_id) is LockStatus.OPEN
        )

    def _simulate(self, tx: FakeTx) -> None:
        trial = self.fake.ledger.snapshot()
        next_block = BlockRef(self.fake.head.height + 1, "", "", self.fake.head.time)
        needed = tx.cost + (tx.terms.amount if tx.terms and tx.terms.asset.key == self.fake.native.key else 0)
        if trial.balance(self.account, self.fake.native) < needed:
            raise InsufficientFunds(f"{self.account} needs {needed}", "send coins to the bridge's account")
        if tx.terms and trial.balance(self.account, tx.terms.asset) < tx.terms.amount:
            raise InsufficientFunds(f"{self.account} lacks {tx.terms.asset.key}", "send it to the bridge")
        try:
            trial.pay_fee(tx)
            trial.execute(tx, next_block)
        except Invalid as error:
            raise ActionRefused(str(error)) from error


class FakeWallet:
    """A user's own account: it locks, claims and refunds without the bridge."""

    def __init__(self, chain: FakeChain, address: str) -> None:
        self.fake = chain
        self.address = address
        self._salts = itertools.count(1_000_000)

    def lock(self, terms: LockTerms) -> str:
        """Send a lock and return its transaction id."""
        return self._send(Purpose.LOCK, terms=terms)

    def claim(self, lock_id: str, preimage: Preimage) -> str:
        """Send a claim, revealing the preimage."""
        return self._send(Purpose.CLAIM, lock_id=lock_id, preimage=preimage.reveal().hex())

    def refund(self, lock_id: str) -> str:
        """Send a refund."""
        return self._send(Purpose.REFUND, lock_id=lock_id)

    def approve(self, asset: Asset) -> str:
        """Allow the HTLC to take a token."""
        return self._send(Purpose.APPROVE, payload=asset.key)

    def balance(self, asset: Asset) -> int:
        """Return the balance, smallest units."""
        return self.fake.ledger.balance(self.address, asset)

    def _send(
        self,
        purpose: Purpose,
        terms: LockTerms | None = None,
        lock_id: str = "",
        preimage: str = "",
        payload: str = "",
    ) -> str:
        sequence = self._next_sequence() if self.fake.sequences else None
        tx = FakeTx(
            account=self.address,
            sequence=sequence,
            purpose=purpose,
            price=self.fake.price * 2,
            terms=terms,
            lock_id=lock_id,
            preimage=preimage,
            payload=payload,
            salt=0 if self.fake.sequences else next(self._salts),
        )
        result = self.fake.submit(tx)
        if result.outcome not in (BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN):
            raise ActionRefused(f"{result.outcome.value}: {result.reason}")
        return tx.tx_id

    def _next_sequence(self) -> int:
        used = self.fake.ledger.sequences.get(self.address, 0)
        waiting = {
            pending.tx.sequence
            for pending in self.fake.mempool.values()
            if pending.tx.account == self.address
        }
        while used in waiting:
            used += 1
        return used
