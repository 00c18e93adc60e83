"""Solana behind `ChainPort`: locks are vaults of the HTLC program, events are its calls that succeeded."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from typing import Any

from solders.hash import Hash
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from bridge.chains.actions import Action, ApproveAction, LockAction
from bridge.chains.endpoints.agreed_status import agreed_status
from bridge.chains.endpoints.agreement import Agreed
from bridge.chains.endpoints.json_rpc import Calls, OneEndpoint, RpcError, record
from bridge.chains.endpoints.reports import Report
from bridge.chains.errors import (
    ActionRefusedError,
    BadAddressError,
    CannotReceiveError,
    InsufficientFundsError,
    PortError,
    PortUnavailableError,
)
from bridge.chains.port import (
    Authorizer,
    BroadcastOutcome,
    BroadcastResult,
    FeeEstimate,
    FeeLevel,
    LockStatus,
    Scan,
    SignedTx,
    Tip,
    TxState,
    TxStatus,
    UnsignedTx,
)
from bridge.protocol.types import (
    Address,
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    LockId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
)
from relayers.solana import blocks, building, fees, hints, history, program, terms, wallet
from relayers.solana.building import Plan, Rents
from relayers.solana.cluster import Cluster, written
from relayers.solana.explain import explain
from relayers.solana.locks import Locks, SeenLocks
from relayers.solana.open_rpc import open_rpc
from relayers.solana.settings import SolanaSettings
from relayers.solana.traits import TRAITS
from relayers.solana.watch import Watch

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

    traits = TRAITS
    max_claims = TRAITS.max_claims
    authorizer: Authorizer | None = None

    def __init__(self, settings: SolanaSettings, key: bytes) -> None:
        try:
            self._key = Keypair.from_seed(key)
        except ValueError:
            raise PortError("this is not a Solana key", "give the 32-byte seed of an ed25519 key") from None
        self._settings = settings
        self.chain = settings.chain
        self._program = terms.address(settings.program)
        self._rpc = open_rpc(settings)
        self._cluster = Cluster(self._rpc, settings)
        self._seen = SeenLocks()
        self._watch = Watch(self._cluster, settings, self._seen)
        self.contract = Address(str(self._program))
        self.account = Address(str(self._key.pubkey()))

    def __repr__(self) -> str:
        return f"SolanaPort({self.account}, {self._settings!r})"

    # ------------------------------------------------------------------ reading

    async def tip(self) -> Tip:
        """Return the newest confirmed block and its time, which is the clock that programs see."""
        return await self._rpc.reread(self._watch.tip, blocks.ChainMovedError)

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. A node behind the ring on the same chain yields nothing, and no orphans."""
        return await self._rpc.reread(
            lambda one: self._watch.scan(one, recent_blocks, max_blocks), blocks.ChainMovedError
        )

    async def read_lock(
        self,
        lock_id: LockId,
        lock_terms: LockTerms,
        *,
        since: BlockHeight | None = None,
        agreed: bool = False,
    ) -> LockStatus:
        """Tell from the vault whether it stands, and from its transactions what became of it."""
        if lock_id != self.lock_id(lock_terms):
            await self._cluster.ask("getSlot", _CONFIRMED)
            return LockStatus.ABSENT
        vault = terms.to_program(lock_terms, self.chain)

        async def look(one: OneEndpoint) -> LockStatus:
            return await Locks(one, self._cluster.of(one), self._program, self._seen).status(vault, since)

        if not agreed:
            return await self._rpc.reread(look, blocks.ChainMovedError)
        answer = await self._rpc.agree(look, moved=blocks.ChainMovedError)
        return answer.answer if isinstance(answer, Agreed) else LockStatus.UNKNOWN

    async def check_receiver(self, address: Address, asset: Asset) -> None:
        """See `ChecksReceivers`: no wallet, or a token account that is frozen or given away."""
        owner = terms.address(address)
        await self._cluster.check_receiver(owner)
        if asset.contract:
            await self._cluster.tokens(owner, terms.address(asset.contract))

    async def balance(self, address: Address, asset: Asset) -> Amount:
        """Return lamports, or the tokens in the address's associated account. Raises `CannotReceiveError`
        where that is frozen or given away; in our own case nothing can be spent."""
        owner = terms.address(address)
        if not asset.contract:
            return Amount(await self._cluster.lamports(str(owner)))
        try:
            return Amount(await self._cluster.tokens(owner, terms.address(asset.contract)))
        except CannotReceiveError:
            if owner != self._key.pubkey():
                raise
            return Amount(0)

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

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """Return the making of our own token accounts that are missing. Raises `PortError` for a token that
        is not dealt in (see `mints.check`)."""
        for asset in assets:
            await self._cluster.check_asset(asset)
        mints = [terms.address(asset.contract) for asset in assets if asset.contract]
        owned = [program.token_account(self._key.pubkey(), mint) for mint in mints]
        found = [await self._cluster.account(account) for account in owned]
        return tuple(
            ApproveAction(bytes(mint)) for mint, account in zip(mints, found, strict=True) if account is None
        )

    # ------------------------------------------------------------------ sending

    async def next_sequence(self) -> int | None:
        """Return None: Solana has none (but say so only when the cluster answers)."""
        await self._cluster.ask("getSlot", _CONFIRMED)
        return None

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:
        """Plan, price, sign and simulate. See `ChainPort.prepare`; `sequence` is not looked at.

        `fee.attempt` counts the transactions that have expired, `fee.previous` is what the last of them bid:
        each attempt bids more and (but for the last) lives shortly, see `fees`.
        """
        rents = await self._cluster.rents()
        made = building.plan(self._program, self.chain, action, self._key.pubkey(), rents)
        if isinstance(action, LockAction):
            await self._cluster.check_asset(action.terms.asset)
            # The program would make a spent vault again; its preimage may be known to all by then.
            # How far back it must be known to be new is the engine's question (`since`, agreed) before this.
            status = await self.read_lock(self.lock_id(action.terms), action.terms)
            if status not in {LockStatus.ABSENT, LockStatus.UNKNOWN}:
                raise ActionRefusedError(
                    f"this lock was made before, it is {status.value}", "terms serve once"
                )
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
            tx_id=TxId(str(transaction.signatures[0])),
            raw=bytes(transaction),
            account=self.account,
            sequence=None,
            fee={"unit_price": unit_price, "units": made.units},
            max_cost=Amount(cost + made.deposit),
            valid_until_height=BlockHeight(recent.last_valid),
        )

    async def _check_funds(self, action: Action, made: Plan, cost: int, rents: Rents) -> None:
        has = await self._cluster.lamports(self.account)
        needs = made.amount + made.deposit + cost
        left = has - needs
        if left < 0 or 0 < left < rents.empty:
            raise InsufficientFundsError(
                f"{needs} lamports are needed (with {rents.empty} left over for rent), {has} are there",
                f"send SOL to {self.account}",
            )
        if not isinstance(action, LockAction):
            return
        lock = terms.to_program(action.terms, self.chain)
        if lock.mint is not None:
            tokens = await self._cluster.tokens(self._key.pubkey(), lock.mint)
            if tokens < lock.amount:
                symbol = action.terms.asset.symbol
                raise InsufficientFundsError(
                    f"{lock.amount} {symbol} (smallest units) are needed, {tokens} are there",
                    f"send {symbol} to {self.account}",
                )
        elif lock.amount < rents.empty and await self._cluster.account(lock.recipient) is None:
            raise ActionRefusedError(
                f"the recipient has no account, and {lock.amount} lamports cannot open one",
                f"lock at least {rents.empty} lamports",
            )

    async def _simulate(self, transaction: VersionedTransaction) -> None:
        options = {"encoding": "base64", "commitment": blocks.CONFIRMED, "sigVerify": True}
        raw = base64.b64encode(bytes(transaction)).decode()
        outcome = record(await self._cluster.fresh("simulateTransaction", raw, options))
        if outcome.get("err") is not None:
            reason = explain(outcome["err"])
            raise ActionRefusedError(
                f"the chain would refuse this: {reason}", "look at the lock and the clock"
            )

    async def broadcast(self, tx: SignedTx) -> BroadcastResult:
        """Send stored bytes; sending them again is harmless."""
        options = {"encoding": "base64", "preflightCommitment": blocks.CONFIRMED, "maxRetries": 0}
        return await self._rpc.broadcast(lambda one: self._send(one, tx, options))

    async def _send(self, one: Calls, tx: SignedTx, options: dict[str, Any]) -> BroadcastResult:
        try:
            sent = await one.call("sendTransaction", base64.b64encode(tx.raw).decode(), options)
        except RpcError as error:
            why = error.data.get("err") if isinstance(error.data, dict) else None
            if error.code == _PREFLIGHT_FAILED and why == "AlreadyProcessed":
                return BroadcastResult(BroadcastOutcome.ALREADY_KNOWN, "already processed")
            reason = explain(why) if why is not None else error.message
            return BroadcastResult(BroadcastOutcome.REJECTED, reason)
        if sent != tx.tx_id:
            raise PortUnavailableError("the Solana RPC took some other transaction", "use another endpoint")
        return BroadcastResult(BroadcastOutcome.ACCEPTED)

    async def tx_status(self, tx: SignedTx, *, agreed: bool = False) -> TxStatus:
        """Tell where a transaction is. Never PENDING: Solana has no pool to look into, so what is in no
        confirmed block is UNKNOWN and is sent again until it expires; UNSURE where that is not known."""

        async def look(one: OneEndpoint) -> TxStatus:
            return await self._tx_status(one, tx)

        if not agreed:
            return await self._rpc.reread(look, blocks.ChainMovedError)
        return await agreed_status(self._rpc.pool, look, blocks.ChainMovedError)

    async def _tx_status(self, one: OneEndpoint, tx: SignedTx) -> TxStatus:
        options = {"searchTransactionHistory": True}
        (status,) = await self._cluster.of(one).fresh("getSignatureStatuses", [tx.tx_id], options)
        if status is None or status.get("confirmationStatus") == "processed":
            # It names a block, and stands above that and above the tip of its signing.
            floors = [height for height in (tx.signed_height, _named_height(tx)) if height is not None]
            head = await blocks.read_head(one, 0)
            complete = await history.reaches_back_to(one, max(floors, default=-1) + 1, head)
            return TxStatus(TxState.UNKNOWN if complete else TxState.UNSURE)
        slot = int(status["slot"])
        block, head = await blocks.header_at(one, slot), await blocks.read_head(one, 0)
        state = TxState.INCLUDED if status.get("err") is None else TxState.FAILED
        reason = "" if status.get("err") is None else explain(status["err"])
        return TxStatus(state, block, max(head.height - block.height + 1, 1), reason)

    # ------------------------------------------------------------------ pure

    def lock_id(self, lock_terms: LockTerms) -> LockId:
        """Return the vault's address, hex."""
        at = self._program if lock_terms.contract == self.contract else terms.address(lock_terms.contract)
        return terms.lock_id(program.vault_address(at, terms.to_program(lock_terms, self.chain))[0])

    def parse_address(self, text: str) -> Address:
        """Return the canonical form of an address. Raises `BadAddressError`."""
        found = terms.address(text)
        if not found.is_on_curve():
            raise BadAddressError("nobody holds a key of this address", "give a wallet's, not a program's")
        return Address(str(found))

    def unsigned(
        self, purpose: Purpose, lock_terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """Return what a wallet signs, but for a block's hash: `wallet.SolanaWallet` makes it ready."""
        draft = wallet.draft(self._program, self.chain, purpose, lock_terms, preimage)
        return wallet.unsigned(draft, self._settings.fees.minimum, Hash.default())

    async def hints(self) -> AsyncIterator[None]:
        """Yield on every new slot and log of the program, or polled; ends now and then: call it again."""
        s = self._settings
        async for _ in hints.wake_ups(self._rpc, s.ws_url, self.contract, s.poll_interval, s.timeout):
            yield

    async def examine(self) -> tuple[Report, ...]:
        """Look at every endpoint, for `rainbow check`."""
        return await self._rpc.examine()

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()


def _named_height(tx: SignedTx) -> int | None:
    """Return the height of the block that a transaction of ours names; None if that is not known."""
    if tx.valid_until_height is None:
        return None
    return tx.valid_until_height - fees.FULL_LIFE - 1
