"""Solana behind `ChainPort`: locks are vaults of the HTLC program, events are its calls that succeeded."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from solders.hash import Hash
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from bridge.chains.port import (
    Action,
    ActionRefused,
    Authorizer,
    BadAddress,
    BroadcastOutcome,
    BroadcastResult,
    CannotReceive,
    FeeEstimate,
    FeeLevel,
    HtlcEvent,
    InsufficientFunds,
    LockStatus,
    PortError,
    PortUnavailable,
    Scan,
    SignedTx,
    Tip,
    TxState,
    TxStatus,
    UnsignedTx,
)
from bridge.protocol import instances
from bridge.protocol.types import Asset, BlockRef, LockTerms, Preimage, Purpose
from relayers.solana import blocks, building, fees, hints, program, terms, wallet
from relayers.solana.building import Plan, Rents
from relayers.solana.cluster import Cluster, written
from relayers.solana.explain import explain
from relayers.solana.locks import Locks
from relayers.solana.rpc import Rpc, RpcError, record
from relayers.solana.settings import SolanaSettings
from relayers.solana.traits import TRAITS

T = TypeVar("T")

_RETRIES_WHILE_MOVING = 3
_PREFLIGHT_FAILED = -32002
_CONFIRMED = {"commitment": blocks.CONFIRMED}


def open_port(settings: SolanaSettings, key: bytes) -> SolanaPort:
    """Return the port of the account of `key` (32-byte seed). Nothing is contacted before the first use."""
    return SolanaPort(settings, key)


class SolanaPort:
    """One Solana cluster, one HTLC program and one account of ours; a `bridge.chains.port.ChainPort`.

    There are no sequences: a transaction names a recent block and dies 150 blocks after it. What keeps a lock
    from being made twice is its vault, which can stand only once.
    """

    chain = instances.SOLANA
    traits = TRAITS
    max_claims = TRAITS.max_claims
    authorizer: Authorizer | None = None

    def __init__(self, settings: SolanaSettings, key: bytes) -> None:
        try:
            self._key = Keypair.from_seed(key)
        except ValueError:
            raise PortError("this is no Solana key", "give the 32-byte seed of an ed25519 key") from None
        self._settings = settings
        self._program = terms.address(settings.program)
        self._assets = {asset.contract: asset for asset in settings.assets}
        self._rpc = Rpc(settings.rpc_urls, settings.timeout)
        self._cluster = Cluster(self._rpc, settings)
        self._locks = Locks(self._rpc, self._cluster, self._program)
        self._index = blocks.AddressIndex(self._rpc, str(self._program))
        self.contract = str(self._program)
        self.account = str(self._key.pubkey())

    def __repr__(self) -> str:
        return f"SolanaPort({self.account}, {self._settings!r})"

    # ------------------------------------------------------------------ reading

    async def tip(self) -> Tip:
        """Return the newest confirmed block and its time, which is the clock that programs see."""
        return await self._settled(self._tip)

    async def _tip(self) -> Tip:
        head = await blocks.read_head(self._rpc, self._settings.index_lag)
        self._cluster.floor = max(self._cluster.floor, blocks.slot_of(head))
        return Tip(head, head.time)

    async def scan(self, known: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. A node behind the ring on the same chain yields nothing, and no orphans."""
        return await self._settled(lambda: self._scan(known, max_blocks))

    async def _scan(self, known: Sequence[BlockRef], max_blocks: int) -> Scan:
        tip = await self._tip()
        head = tip.block
        if known and known[-1].id == head.id:
            return Scan((), (), (), tip)
        if not known:
            events = await self._events([head])
            return Scan((), (head,), events, tip)
        known = await blocks.anchored(self._rpc, known, head)
        index = await blocks.common_ancestor(self._rpc, known, head)
        if index is None:
            return Scan((), (), (), tip)
        ancestor, orphaned = known[index], tuple(reversed(known[index + 1 :]))
        headers = await blocks.read_headers(self._rpc, ancestor, max_blocks, head)
        return Scan(orphaned, tuple(headers), await self._events(headers), tip)

    async def _events(self, headers: Sequence[BlockRef]) -> tuple[HtlcEvent, ...]:
        """Return the program's events in these blocks, and make sure that they still stand afterwards."""
        if not headers:
            return ()
        by_slot = {blocks.slot_of(header): header for header in headers}
        first, last = min(by_slot), max(by_slot)
        entries = await self._index.between(last, first, last)
        tx_ids = [entry["signature"] for entry in entries]
        executed = await blocks.read_calls(self._rpc, self._program, tx_ids)
        if not executed:
            return ()
        if any(one.slot not in by_slot for one in executed):
            raise blocks.ChainMoved
        again = await self._header(last)
        if again != by_slot[last]:
            raise blocks.ChainMoved
        return tuple(
            event
            for one in executed
            for call in one.calls
            if (event := self._event(one, call, by_slot[one.slot])) is not None
        )

    def _event(self, executed: blocks.Executed, call: program.Call, block: BlockRef) -> HtlcEvent | None:
        if executed.succeeded:
            return terms.to_event(call, block, executed.tx_id, self.contract, self._assets)
        return terms.shown_by(call, block, executed.tx_id)

    async def read_lock(self, lock_id: str, lock_terms: LockTerms) -> LockStatus:
        """Tell from the vault whether it stands, and from its transactions what became of it."""
        if lock_id != self.lock_id(lock_terms):
            await self._cluster.ask("getSlot", _CONFIRMED)
            return LockStatus.ABSENT
        return await self._locks.status(terms.to_program(lock_terms))

    async def balance(self, address: str, asset: Asset) -> int:
        """Return lamports, or the tokens in the address's associated account. Raises `CannotReceive` where
        that is frozen or given away; in our own case nothing can be spent."""
        owner = terms.address(address)
        if not asset.contract:
            return await self._cluster.lamports(str(owner))
        try:
            return await self._cluster.tokens(owner, terms.address(asset.contract))
        except CannotReceive:
            if owner != self._key.pubkey():
                raise
            return 0

    async def fees(self, asset: Asset) -> FeeEstimate:
        """Return expected costs at present, in lamports; rents included (see `building.estimate`)."""
        rents = await self._cluster.rents()
        await self._cluster.check_asset(asset)
        samples = await self._cluster.prices([self._key.pubkey()])
        ordinary, urgent = (
            fees.price(fees.market(samples, 0, purpose), FeeLevel(), purpose, self._settings.fees)
            for purpose in (Purpose.LOCK, Purpose.CLAIM)
        )
        return building.estimate(bool(asset.contract), ordinary, urgent, rents)

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[Action, ...]:
        """Return the making of our own token accounts that are missing. Raises `PortError` for a token that
        our program cannot lock (see `mints.check`)."""
        for asset in assets:
            await self._cluster.check_asset(asset)
        mints = [terms.address(asset.contract) for asset in assets if asset.contract]
        owned = [program.token_account(self._key.pubkey(), mint) for mint in mints]
        found = [await self._cluster.account(account) for account in owned]
        return tuple(
            Action(Purpose.APPROVE, payload=bytes(mint))
            for mint, account in zip(mints, found, strict=True)
            if account is None
        )

    # ------------------------------------------------------------------ sending

    async def next_sequence(self) -> int | None:
        """Return None: Solana has none (but say so only when the cluster answers)."""
        await self._cluster.ask("getSlot", _CONFIRMED)
        return None

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:  # noqa: ARG002
        """Plan, price, sign and simulate. See `ChainPort.prepare`; `sequence` is not looked at.

        `fee.attempt` counts the transactions that have expired, `fee.previous` is what the last of them bid:
        each attempt bids more and (but for the last) lives shortly, see `fees`.
        """
        rents = await self._cluster.rents()
        made = building.plan(self._program, action, self._key.pubkey(), rents)
        if action.terms is not None:
            await self._cluster.check_asset(action.terms.asset)
        if action.purpose is Purpose.LOCK and action.terms is not None:
            # The program would make a spent vault again; its preimage may be known to all by then.
            status = await self.read_lock(self.lock_id(action.terms), action.terms)
            if status is not LockStatus.ABSENT:
                raise ActionRefused(f"this lock was made before, it is {status.value}", "terms serve once")
        samples, recent = await asyncio.gather(
            self._cluster.prices([self._key.pubkey(), *written(made.instructions)]),
            self._cluster.recent(fee.attempt),
        )
        asked = fees.market(samples, fee.attempt, action.purpose)
        unit_price = fees.price(asked, fee, action.purpose, self._settings.fees)
        cost = fees.fee_of(made.units, unit_price)
        await self._check_funds(action, made, cost, rents)
        transaction = building.sign(self._key, made, unit_price, recent.blockhash)
        await self._simulate(transaction)
        return SignedTx(
            tx_id=str(transaction.signatures[0]),
            raw=bytes(transaction),
            account=self.account,
            sequence=None,
            fee={"unit_price": unit_price, "units": made.units},
            max_cost=cost + made.deposit,
            valid_until=recent.last_valid,
        )

    async def _check_funds(self, action: Action, made: Plan, cost: int, rents: Rents) -> None:
        has = await self._cluster.lamports(self.account)
        needs = made.amount + made.deposit + cost
        left = has - needs
        if left < 0 or 0 < left < rents.empty:
            raise InsufficientFunds(
                f"{needs} lamports are needed (with {rents.empty} left over for rent), {has} are there",
                f"send SOL to {self.account}",
            )
        if action.purpose is not Purpose.LOCK or action.terms is None:
            return
        lock = terms.to_program(action.terms)
        if lock.mint is not None:
            tokens = await self._cluster.tokens(self._key.pubkey(), lock.mint)
            if tokens < lock.amount:
                symbol = action.terms.asset.symbol
                raise InsufficientFunds(
                    f"{lock.amount} {symbol} (smallest units) are needed, {tokens} are there",
                    f"send {symbol} to {self.account}",
                )
        elif lock.amount < rents.empty and await self._cluster.account(lock.recipient) is None:
            raise ActionRefused(
                f"the recipient has no account, and {lock.amount} lamports cannot open one",
                f"lock at least {rents.empty} lamports",
            )

    async def _simulate(self, transaction: VersionedTransaction) -> None:
        options = {"encoding": "base64", "commitment": blocks.CONFIRMED, "sigVerify": True}
        raw = base64.b64encode(bytes(transaction)).decode()
        outcome = record(await self._cluster.fresh("simulateTransaction", raw, options))
        if outcome.get("err") is not None:
            reason = explain(outcome["err"])
            raise ActionRefused(f"the chain would refuse this: {reason}", "look at the lock and the clock")

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes; sending them again is harmless."""
        options = {"encoding": "base64", "preflightCommitment": blocks.CONFIRMED, "maxRetries": 0}
        try:
            sent = await self._rpc.call("sendTransaction", base64.b64encode(tx.raw).decode(), options)
        except RpcError as error:
            why = error.data.get("err") if isinstance(error.data, dict) else None
            if error.code == _PREFLIGHT_FAILED and why == "AlreadyProcessed":
                return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN, "already processed")
            reason = explain(why) if why is not None else error.message
            return BroadcastResult(BroadcastOutcome.REJECTED, reason)
        if sent != tx.tx_id:
            raise PortUnavailable("the Solana RPC took some other transaction", "use another endpoint")
        return BroadcastResult(BroadcastOutcome.ACCEPTED)

    async def tx_status(self, tx: SignedTx) -> TxStatus:
        """Tell where a transaction is. Never PENDING: Solana has no pool to look into, so what is in no
        confirmed block is UNKNOWN and is sent again until it expires."""
        return await self._settled(lambda: self._tx_status(tx))

    async def _tx_status(self, tx: SignedTx) -> TxStatus:
        options = {"searchTransactionHistory": True}
        (status,) = await self._cluster.fresh("getSignatureStatuses", [tx.tx_id], options)
        if status is None or status.get("confirmationStatus") == "processed":
            return TxStatus(TxState.UNKNOWN)
        slot = int(status["slot"])
        block, head = await self._header(slot), await blocks.read_head(self._rpc, 0)
        state = TxState.INCLUDED if status.get("err") is None else TxState.FAILED
        reason = "" if status.get("err") is None else explain(status["err"])
        return TxStatus(state, block, max(head.height - block.height + 1, 1), reason)

    # ------------------------------------------------------------------ pure

    def lock_id(self, lock_terms: LockTerms) -> str:
        """Return the vault's address, hex."""
        at = self._program if lock_terms.contract == self.contract else terms.address(lock_terms.contract)
        return terms.lock_id(program.vault_address(at, terms.to_program(lock_terms))[0])

    def parse_address(self, text: str) -> str:
        """Return the canonical form of an address. Raises `BadAddress`."""
        found = terms.address(text)
        if not found.is_on_curve():
            raise BadAddress("nobody holds a key of this address", "give a wallet's, not a program's")
        return str(found)

    def unsigned(
        self, purpose: Purpose, lock_terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Return what a wallet signs, but for a block's hash: `wallet.Wallet` makes it ready."""
        draft = wallet.draft(self._program, purpose, lock_terms, preimage)
        return wallet.unsigned(draft, self._settings.fees.minimum, Hash.default())

    async def hints(self) -> AsyncIterator[None]:
        """Yield on every new slot and log of the program, or polled; ends now and then: call it again."""
        s = self._settings
        async for _ in hints.wake_ups(self._rpc, s.ws_url, self.contract, s.poll_interval, s.timeout):
            yield

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    # ------------------------------------------------------------------ helpers

    async def _settled(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read again while the chain moves under the reading."""
        for _ in range(_RETRIES_WHILE_MOVING):
            try:
                return await read()
            except blocks.ChainMoved:
                await asyncio.sleep(0.05)
            except RpcError as error:
                raise PortUnavailable(f"the Solana RPC refused: {error.message}", "use another one") from None
        raise PortUnavailable(
            "the chain keeps moving while it is read", "several nodes behind one URL? try again"
        )

    async def _header(self, slot: int) -> BlockRef:
        (result,) = await self._rpc.batch([blocks.header_call(slot)])
        if not isinstance(result, dict):
            raise blocks.ChainMoved
        return blocks.read_header(slot, result)
