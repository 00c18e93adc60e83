"""Building and signing the bridge's own transactions, after checking that they would succeed.

Horizon simulates nothing for classic operations, so what the ledger would refuse is looked up before:
reserves, trustlines, authorisation, deadlines. Every transaction is an inner one of fee 0 (whose source is
the account or one of its channels) inside a fee bump that the account pays: a replacement is then only a
better bid, and channels need no money.
"""

from __future__ import annotations

import asyncio

import msgspec
from stellar_sdk import (
    BumpSequence,
    ChangeTrust,
    CreateAccount,
    Keypair,
    Preconditions,
    TimeBounds,
    Transaction,
    TransactionEnvelope,
)
from stellar_sdk.operation import Operation

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
from bridge.chains.errors import ActionRefusedError, CannotReceiveError, InsufficientFundsError
from bridge.chains.port import FeeLevel, SignedTx
from bridge.protocol.types import Address, Amount, LockTerms, Preimage, TxId, UnixSeconds
from relayers.stellar import fees, htlc, recognition
from relayers.stellar.assets import INT64_MAX, decimal, stroops, to_stellar
from relayers.stellar.channels import CHANNEL_BALANCE, Sequences, derived_key
from relayers.stellar.holdings import line_of, require_receiver, spendable
from relayers.stellar.horizon import Horizon, Record, close_time
from relayers.stellar.locks import Locks
from relayers.stellar.settings import StellarSettings

MAKE_CHANNELS = b"channels"
TRUST = b"trust:"
"""Payloads of APPROVE actions: make the channel accounts; open a trustline (CODE:ISSUER follows)."""


class Plan(msgspec.Struct, frozen=True):
    """What a transaction does: its operations, who signs beside source and payer, and the native stroops it
    binds or spends beside the amount and the fee. `spends` is the native amount that it moves."""

    operations: list[Operation]
    signers: tuple[Keypair, ...] = ()
    preimage: Preimage | None = None
    spends: int = 0
    binds: int = 0


class Builder:
    """Builds transactions of one account."""

    def __init__(
        self, horizon: Horizon, settings: StellarSettings, key: Keypair, locks: Locks, sequences: Sequences
    ) -> None:
        self._horizon = horizon
        self._settings = settings
        self._key = key
        self._locks = locks
        self._sequences = sequences

    def gate_key(self, terms: LockTerms) -> Keypair:
        """Return the gate's key of a lock of ours: always the same for the same terms, so that no crash and
        no second worker can lock twice; the ledger refuses the second."""
        name = htlc.lock_id(terms, self._settings.passphrase)
        return derived_key(self._key.raw_secret_key(), f"rainbow stellar gate {name}")

    async def prepare(self, action: Action, sequence: int, level: FeeLevel) -> SignedTx:
        """Check, build, price and sign."""
        account, ledger, stats = await asyncio.gather(
            self._horizon.account(self._key.public_key),
            self._horizon.newest_ledger(),
            self._horizon.fee_stats(),
        )
        account = self._existing(account)
        market = fees.read_market(stats, self._settings.caps)
        rate = fees.rate(market, level, self._settings.caps)
        plan = await self._plan(action, account, ledger, rate)
        total = rate * (len(plan.operations) + 1)
        self._require_native(account, ledger, plan.spends + plan.binds + total)
        slot = await self._sequences.slot(sequence)
        valid_until = UnixSeconds(close_time(ledger) + self._settings.validity)
        bounds = Preconditions(TimeBounds(0, valid_until))
        inner = TransactionEnvelope(
            Transaction(slot.source, slot.sequence, 0, plan.operations, preconditions=bounds),
            self._settings.passphrase,
        )
        for signer in {each.public_key: each for each in (slot.source, *plan.signers)}.values():
            inner.sign(signer)
        if plan.preimage is not None:
            inner.sign_hashx(plan.preimage.reveal())
        return self.finish(inner, rate, sequence, plan.binds, valid_until)

    def finish(
        self,
        inner: TransactionEnvelope,
        rate: int,
        sequence: int | None,
        binds: int,
        valid_until: UnixSeconds | None,
    ) -> SignedTx:
        """Wrap a signed inner transaction in our fee bump."""
        outer = htlc.bump(inner, self._key, rate)
        total = outer.transaction.fee
        return SignedTx(
            tx_id=TxId(outer.hash_hex()),
            raw=outer.to_xdr_object().to_xdr_bytes(),
            account=Address(self._key.public_key),
            sequence=sequence,
            fee={"rate": rate, "total": total},
            max_cost=Amount(total + binds),
            valid_until_time=valid_until,
        )

    async def _plan(self, action: Action, account: Record, ledger: Record, rate: int) -> Plan:
        match action:
            case LockAction(terms=terms):
                return await self._lock(terms, account, ledger, rate)
            case ClaimAction(terms=terms, preimage=preimage):
                return await self._claim(terms, preimage, account)
            case RefundAction(terms=terms):
                return await self._refund(terms, ledger)
            case CooperativeRefundAction():
                raise ActionRefusedError(
                    "a lock on Stellar cannot be given back before its deadline",
                    "wait for the deadline: the sender then refunds it alone",
                )
            case CancelAction():
                # Bumping to where the account is already does nothing.
                return Plan([BumpSequence(0)])
            case ApproveAction(payload=payload):
                return await self._approve(payload)
            case AnchorAction():
                raise ActionRefusedError("the log is not anchored on Stellar", "anchor it on ZION")
            case CloseAction():
                raise ActionRefusedError("a gate is closed by its own sequence", "prepare it with `Closing`")

    async def _lock(self, terms: LockTerms, account: Record, ledger: Record, rate: int) -> Plan:
        if terms.sender != self._key.public_key:
            raise ActionRefusedError("the lock names another sender", "a lock is made by its sender")
        if terms.lane:
            raise ActionRefusedError("there are no lanes on Stellar", "lock with lane 0")
        if terms.deadline <= close_time(ledger):
            raise ActionRefusedError("the deadline of the lock has passed", "ask for a new quote")
        gate = self.gate_key(terms)
        reserve = int(ledger["base_reserve_in_stroops"])
        sequence = htlc.gate_sequence(int(ledger["sequence"]))
        gate_balance = htlc.deposit(terms, reserve)
        operations = htlc.lock_operations(
            terms, gate.public_key, sequence, self._settings.passphrase, gate_balance
        )
        binds = htlc.total_reserve(terms, reserve)
        spends = 0 if terms.asset.contract else terms.amount
        self._require_native(account, ledger, spends + binds + rate * (len(operations) + 1))
        if terms.asset.contract:
            self._require_issued(account, terms)
        await self._require_receiver(terms)
        await self._require_unused(gate.public_key)
        return Plan(operations, (self._key, gate), spends=spends, binds=binds)

    async def _require_unused(self, gate: str) -> None:
        if any(each["successful"] for each in await self._horizon.account_transactions(gate, 1)):
            raise ActionRefusedError("a lock with these terms was made already", "look at it with read_lock")

    async def _require_receiver(self, terms: LockTerms) -> None:
        """Refuse to lock what the recipient could not receive, or what an issuer could take back."""
        recipient = await self._horizon.account(terms.recipient)
        if terms.asset.contract:
            issuer = to_stellar(terms.asset).issuer or ""
            problem = recognition.issuer_problem(await self._horizon.account(issuer))
            if problem:
                raise ActionRefusedError(
                    f"{terms.asset.symbol} cannot be locked: {problem}", "deal in another asset"
                )
        try:
            require_receiver(recipient, terms.recipient, terms.asset, terms.amount)
        except CannotReceiveError as error:
            raise ActionRefusedError(str(error), error.hint) from error

    async def require_fee(self, total: int) -> None:
        """Raise `InsufficientFundsError` unless our account can pay a fee of `total` stroops."""
        account, ledger = await asyncio.gather(
            self._horizon.account(self._key.public_key), self._horizon.newest_ledger()
        )
        self._require_native(self._existing(account), ledger, total)

    def _existing(self, account: Record | None) -> Record:
        if account is None:
            raise InsufficientFundsError(
                f"the account {self._key.public_key} does not exist", "send it some XLM, which creates it"
            )
        return account

    def _require_native(self, account: Record, ledger: Record, needed: int) -> None:
        has = spendable(account, int(ledger["base_reserve_in_stroops"]))
        if has < needed:
            raise InsufficientFundsError(
                f"the account can spend {decimal(max(0, has))} XLM and needs {decimal(needed)}",
                f"send XLM to {self._key.public_key}",
            )

    def _require_issued(self, account: Record, terms: LockTerms) -> None:
        line = line_of(account, terms.asset)
        has = 0 if line is None else stroops(line["balance"]) - stroops(line["selling_liabilities"])
        if has < terms.amount:
            raise InsufficientFundsError(
                f"the account has {decimal(has)} {terms.asset.symbol} and needs {decimal(terms.amount)}",
                f"send {terms.asset.symbol} to {self._key.public_key}",
            )

    async def _claim(self, terms: LockTerms, preimage: Preimage, account: Record) -> Plan:
        if terms.recipient != self._key.public_key:
            raise ActionRefusedError(
                "a claim on Stellar needs the recipient's signature",
                "let the recipient sign what the authorizer requests, and hand that over",
            )
        if not preimage.opens(terms.hashlock):
            raise ActionRefusedError("the preimage does not open the hashlock", "wait for the right one")
        gate = await self._locks.claimable(terms)
        if gate is None:
            raise ActionRefusedError(
                "no lock with these terms can be claimed", "it may have been spent, or never made"
            )
        try:
            require_receiver(account, terms.recipient, terms.asset, terms.amount)
        except CannotReceiveError as error:
            raise ActionRefusedError(
                str(error), "run the account's set-up actions: it needs a trustline"
            ) from error
        return Plan(htlc.claim_operations(gate), (self._key,), preimage)

    async def _refund(self, terms: LockTerms, ledger: Record) -> Plan:
        if terms.sender != self._key.public_key:
            raise ActionRefusedError(
                "a refund on Stellar needs the sender's signature", "the sender refunds alone"
            )
        if close_time(ledger) < terms.deadline:
            raise ActionRefusedError("the deadline has not come yet", f"try at Unix time {terms.deadline}")
        gate = await self._locks.refundable(terms, self.gate_key(terms).public_key)
        if gate is None:
            raise ActionRefusedError("no lock with these terms can be refunded", "it may have been claimed")
        return Plan(htlc.refund_operations(gate), (self._key,))

    async def _approve(self, payload: bytes) -> Plan:
        account = self._key.public_key
        if payload == MAKE_CHANNELS:
            missing = await self._sequences.missing()
            if not missing:
                raise ActionRefusedError("all channel accounts exist already", "nothing is to be done")
            made: list[Operation] = [
                CreateAccount(each.public_key, decimal(CHANNEL_BALANCE), source=account) for each in missing
            ]
            return Plan(made, (self._key,), spends=CHANNEL_BALANCE * len(missing))
        if payload.startswith(TRUST):
            asset = next(
                (each for each in self._settings.assets if each.contract == payload[6:].decode()), None
            )
            if asset is not None:
                line = ChangeTrust(to_stellar(asset), decimal(INT64_MAX), source=account)
                return Plan([line], (self._key,), binds=htlc.BASE_RESERVE)
        raise ActionRefusedError("an unknown set-up action", "take it from setup_actions")
