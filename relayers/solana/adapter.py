"""Solana behind `ChainPort`: locks are vaults of the HTLC program, events are its calls that succeeded."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bridge.protocol.types import Asset, BlockRef, Chain, LockTerms, Preimage, Purpose
from relayers.port import (
    Action,
    ActionRefused,
    Authorizer,
    BadAddress,
    BroadcastOutcome,
    BroadcastResult,
    FeeEstimate,
    FeeLevel,
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
from relayers.solana import blocks, building, hints, program, terms
from relayers.solana.building import Plan, Rents
from relayers.solana.program import ClaimCall, LockCall, RefundCall
from relayers.solana.rpc import Call, Rpc, RpcError, record, value_of
from relayers.solana.settings import SolanaSettings

T = TypeVar("T")

_RETRIES_WHILE_MOVING = 3
_PREFLIGHT_FAILED = -32002
_TOKEN_AMOUNT_AT = 64
_CONFIRMED = {"commitment": blocks.CONFIRMED}
_ACCOUNT = {"commitment": blocks.CONFIRMED, "encoding": "base64"}


def open_port(settings: SolanaSettings, key: bytes) -> SolanaPort:
    """Return the port of the account of `key` (32-byte seed). Nothing is contacted before the first use."""
    return SolanaPort(settings, key)


class SolanaPort:
    """One Solana cluster, one HTLC program and one account of ours; a `relayers.port.ChainPort`.

    There are no sequences: a transaction names a recent block and dies 150 blocks after it. What keeps a lock
    from being made twice is its vault, which can stand only once.
    """

    chain = Chain.SOLANA
    max_claims = 1
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
        self._rents: Rents | None = None
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

    async def _events(self, headers: Sequence[BlockRef]) -> tuple[Any, ...]:
        """Return the program's events in these blocks, and make sure that they still stand afterwards."""
        if not headers:
            return ()
        by_slot = {blocks.slot_of(header): header for header in headers}
        first, last = min(by_slot), max(by_slot)
        entries = await self._index.between(first, last)
        tx_ids = [entry["signature"] for entry in entries if entry["err"] is None]
        executed = await blocks.read_calls(self._rpc, self._program, tx_ids)
        if not executed:
            return ()
        if any(one.slot not in by_slot for one in executed):
            raise blocks.ChainMoved
        again = await self._header(last)
        if again != by_slot[last]:
            raise blocks.ChainMoved
        return tuple(
            terms.to_event(call, by_slot[one.slot], one.tx_id, self.contract, self._assets)
            for one in executed
            for call in one.calls
        )

    async def read_lock(self, lock_id: str, lock_terms: LockTerms) -> LockStatus:
        """Tell from the vault whether it stands, and from its transactions what became of it."""
        # Two answers, the older question first: a vault that is spent between them must not look absent.
        if lock_id != self.lock_id(lock_terms):
            await self._rpc.call("getSlot", _CONFIRMED)
            return LockStatus.ABSENT
        vault = Pubkey.from_bytes(bytes.fromhex(lock_id))
        found = await self._read_account(vault)
        if found is not None and found["owner"] == self.contract:
            data = base64.b64decode(found["data"][0])
            if program.read_vault(data) == terms.to_program(lock_terms):
                return LockStatus.OPEN
        entries = await blocks.AddressIndex(self._rpc, str(vault)).between(0, 2**63)
        for entry in reversed(entries):
            if entry["err"] is not None:
                continue
            try:
                (executed,) = await blocks.read_calls(self._rpc, self._program, [entry["signature"]])
            except blocks.ChainMoved:
                raise PortUnavailable("a transaction of the vault cannot be read", "try again") from None
            for call in reversed(executed.calls):
                match call:
                    case ClaimCall() if call.vault == vault:
                        return LockStatus.CLAIMED
                    case RefundCall() if call.vault == vault:
                        return LockStatus.REFUNDED
                    case LockCall() if call.vault == vault:
                        return LockStatus.OPEN
        return LockStatus.ABSENT

    async def balance(self, address: str, asset: Asset) -> int:
        """Return lamports, or the tokens in the address's associated account."""
        owner = terms.address(address)
        if not asset.contract:
            return int(value_of(await self._ask("getBalance", str(owner), _CONFIRMED)))
        return await self._tokens(owner, terms.address(asset.contract))

    async def _tokens(self, owner: Pubkey, mint: Pubkey) -> int:
        found = await self._read_account(program.token_account(owner, mint))
        if found is None:
            return 0
        data = base64.b64decode(found["data"][0])
        return int(struct.unpack_from("<Q", data, _TOKEN_AMOUNT_AT)[0])

    async def fees(self, asset: Asset) -> FeeEstimate:
        """Return expected costs at present, in lamports; rents included (see `building.estimate`)."""
        rents, market = await asyncio.gather(self._read_rents(), self._market())
        offer = building.price(market, FeeLevel(), Purpose.LOCK, self._settings.fees)
        return building.estimate(bool(asset.contract), offer, rents)

    async def setup_actions(self, assets: Sequence[Asset]) -> tuple[Action, ...]:
        """Return the making of our own token accounts that are missing."""
        mints = [terms.address(asset.contract) for asset in assets if asset.contract]
        owned = [program.token_account(self._key.pubkey(), mint) for mint in mints]
        found = [await self._read_account(account) for account in owned]
        return tuple(
            Action(Purpose.APPROVE, payload=bytes(mint))
            for mint, account in zip(mints, found, strict=True)
            if account is None
        )

    # ------------------------------------------------------------------ sending

    async def next_sequence(self) -> int | None:
        """Return None: Solana has none (but say so only when the cluster answers)."""
        await self._ask("getSlot", _CONFIRMED)
        return None

    async def prepare(self, action: Action, sequence: int | None, fee: FeeLevel) -> SignedTx:  # noqa: ARG002
        """Plan, price, sign and simulate. See `ChainPort.prepare`; `sequence` is not looked at."""
        rents, market = await asyncio.gather(self._read_rents(), self._market())
        made = building.plan(self._program, action, self._key.pubkey(), rents)
        unit_price = building.price(market, fee, action.purpose, self._settings.fees)
        cost = building.fee_of(made.units, unit_price)
        await self._check_funds(action, made, cost, rents)
        # A final block's hash: one that a roll-back takes away would take the transaction with it.
        recent = record(await self._ask("getLatestBlockhash", {"commitment": "finalized"}))["value"]
        transaction = building.sign(self._key, made, unit_price, Hash.from_string(recent["blockhash"]))
        await self._simulate(transaction)
        return SignedTx(
            tx_id=str(transaction.signatures[0]),
            raw=bytes(transaction),
            account=self.account,
            sequence=None,
            fee={"unit_price": unit_price, "units": made.units},
            max_cost=cost + made.deposit,
            valid_until=int(recent["lastValidBlockHeight"]),
        )

    async def _check_funds(self, action: Action, made: Plan, cost: int, rents: Rents) -> None:
        has = int(value_of(await self._ask("getBalance", self.account, _CONFIRMED)))
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
            tokens = await self._tokens(self._key.pubkey(), lock.mint)
            if tokens < lock.amount:
                symbol = action.terms.asset.symbol
                raise InsufficientFunds(
                    f"{lock.amount} {symbol} (smallest units) are needed, {tokens} are there",
                    f"send {symbol} to {self.account}",
                )
        elif lock.amount < rents.empty and await self._read_account(lock.recipient) is None:
            raise ActionRefused(
                f"the recipient has no account, and {lock.amount} lamports cannot open one",
                f"lock at least {rents.empty} lamports",
            )

    async def _simulate(self, transaction: VersionedTransaction) -> None:
        options = {"encoding": "base64", "commitment": blocks.CONFIRMED, "sigVerify": True}
        raw = base64.b64encode(bytes(transaction)).decode()
        outcome = record(value_of(await self._ask("simulateTransaction", raw, options)))
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
        (status,) = value_of(await self._ask("getSignatureStatuses", [tx.tx_id], options))
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
        """Return the transaction that a wallet signs for this purpose; see `building.for_wallet`."""
        offer = self._settings.fees.minimum
        return building.for_wallet(self._program, purpose, lock_terms, preimage, offer)

    async def make_ready(self, unsigned: UnsignedTx) -> UnsignedTx:
        """Return a wallet's transaction with a recent blockhash put in: to be signed within a minute."""
        recent = record(await self._ask("getLatestBlockhash", {"commitment": "finalized"}))["value"]
        filled = building.with_blockhash(unsigned.payload["transaction"], recent["blockhash"])
        payload = unsigned.payload | {
            "transaction": base64.b64encode(bytes(filled)).decode(),
            "last_valid_block_height": int(recent["lastValidBlockHeight"]),
        }
        return UnsignedTx(unsigned.format, unsigned.summary, payload)

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

    async def _ask(self, method: str, *params: Any) -> Any:
        try:
            return await self._rpc.call(method, *params)
        except RpcError as error:
            raise PortUnavailable(
                f"the Solana RPC refused {method}: {error.message}", "use another endpoint"
            ) from error

    async def _header(self, slot: int) -> BlockRef:
        (result,) = await self._rpc.batch([blocks.header_call(slot)])
        if not isinstance(result, dict):
            raise blocks.ChainMoved
        return blocks.read_header(slot, result)

    async def _read_account(self, key: Pubkey) -> dict[str, Any] | None:
        found = value_of(await self._ask("getAccountInfo", str(key), _ACCOUNT))
        return None if found is None else record(found)

    async def _market(self) -> int:
        """Return a high recent price, micro-lamports per unit: that at three quarters of the last blocks."""
        recent = await self._ask("getRecentPrioritizationFees", [self.contract])
        fees = sorted(int(entry["prioritizationFee"]) for entry in recent)
        return fees[len(fees) * 3 // 4] if fees else 0

    async def _read_rents(self) -> Rents:
        """Once: is this the right cluster, is the program there, and what does rent cost?"""
        if self._rents is not None:
            return self._rents
        wanted = self._settings.genesis_hash
        if wanted and await self._ask("getGenesisHash") != wanted:
            raise PortError("the Solana RPC is of another cluster", "correct the RPC URL or genesis_hash")
        found = await self._read_account(self._program)
        if found is None or not found["executable"]:
            raise PortError(
                f"there is no program at {self.contract}", "deploy it (docs/chains/solana.md) or correct it"
            )
        sizes = (program.SOL_VAULT_BYTES, program.TOKEN_VAULT_BYTES, program.TOKEN_ACCOUNT_BYTES, 0)
        calls = [Call("getMinimumBalanceForRentExemption", (size,)) for size in sizes]
        try:
            self._rents = Rents(*(int(rent) for rent in await self._rpc.all(*calls)))
        except RpcError as error:
            raise PortUnavailable(f"the Solana RPC gave no rent: {error.message}", "try again") from error
        return self._rents


def explain(error: Any) -> str:
    """Return a transaction error in words; the program's own codes by name."""
    match error:
        case {"InstructionError": [int(index), {"Custom": int(code)}]}:
            try:
                return f"instruction {index}: {program.ProgramError(code).name.lower().replace('_', ' ')}"
            except ValueError:
                return f"instruction {index}: error {code}"
        case {"InstructionError": [int(index), reason]}:
            return f"instruction {index}: {reason}"
    return str(error)
