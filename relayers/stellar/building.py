"""Building and signing the bridge's own transactions, after checking that they would succeed.

A contract call is simulated afresh each time it is signed: its resources, and what must be restored for it,
are those of now. Every transaction is an inner one (whose source is the account or one of its channels) that
pays for its resources alone, inside a fee bump by which the account pays and bids: a replacement is then only
a better bid, and channels need no money.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from stellar_sdk import (
    BumpSequence,
    ChangeTrust,
    CreateAccount,
    ExtendFootprintTTL,
    FeeBumpTransaction,
    FeeBumpTransactionEnvelope,
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
from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.errors import (
    ActionRefusedError,
    CannotReceiveError,
    InsufficientFundsError,
    NothingToDoError,
    TooDearError,
)
from bridge.chains.port import FeeLevel, LockStatus, SignedTx, Tip
from bridge.protocol.types import Address, Amount, LockTerms, TxId, UnixSeconds
from relayers.stellar import contract, fees, keeping, receivers
from relayers.stellar.accounts import (
    read_holder,
    spendable,
)
from relayers.stellar.assets import INT64_MAX, decimal, is_contract, is_issued, is_token, shown, to_stellar
from relayers.stellar.channels import CHANNEL_BALANCE, Sequences
from relayers.stellar.ledgers import Ledger, read_tip
from relayers.stellar.locks import Locks
from relayers.stellar.policy import check_asset
from relayers.stellar.rpc import ask
from relayers.stellar.settings import StellarSettings
from relayers.stellar.simulation import simulate

MAKE_CHANNELS = b"channels"
TRUST = b"trust:"
"""Payloads of APPROVE actions: make the channel accounts; open a trustline (CODE:ISSUER follows)."""


class Plan(msgspec.Struct, frozen=True):
    """What a transaction does: its operations, and the native stroops that it spends beside fees. `calls`: it
    is a contract's call, to be simulated. `extends`: the entries whose time it extends."""

    operations: list[Operation]
    spends: int = 0
    calls: bool = False
    extends: tuple[keeping.Ending, ...] = ()


class Builder:
    """Builds transactions of one account."""

    def __init__(self, settings: StellarSettings, key: Keypair, sequences: Sequences) -> None:
        self._settings = settings
        self._key = key
        self._sequences = sequences

    async def prepare(self, one: OneEndpoint, action: Action, sequence: int, level: FeeLevel) -> SignedTx:
        """Check, build, simulate, price and sign."""
        tip, ledger = await read_tip(one)
        plan = await self._plan(one, action, tip)
        stats = await ask(one, "getFeeStats")
        caps = self._settings.caps
        soroban = plan.calls or bool(plan.extends)
        rate = fees.rate(fees.read_market(stats, caps, contract_call=soroban), level, caps)
        data, resource_fee = None, 0
        if soroban:
            await self._require_native(one, ledger, plan.spends + 2 * rate)
            wanted = keeping.footprint(plan.extends) if plan.extends else None
            source = self._key.public_key
            simulated = await simulate(one, source, plan.operations[0], self._settings.passphrase, wanted)
            data = fees.with_headroom(simulated, caps, keeps=bool(plan.extends))
            resource_fee = int(data.resource_fee.int64)
        total = rate * (len(plan.operations) + 1) + resource_fee
        await self._require_native(one, ledger, plan.spends + total)
        slot = await self._sequences.slot(one, sequence)
        valid_until = UnixSeconds(tip.time + self._settings.validity)
        inner = TransactionEnvelope(
            Transaction(
                slot.source,
                slot.sequence,
                resource_fee,
                plan.operations,
                preconditions=Preconditions(TimeBounds(0, valid_until)),
                soroban_data=data,
            ),
            self._settings.passphrase,
        )
        own = self._key.public_key
        acts = any(each.source is not None and each.source.account_id == own for each in plan.operations)
        # A signature that nothing needs makes a transaction invalid (txBAD_AUTH_EXTRA).
        signers = (slot.source, self._key) if acts else (slot.source,)
        for signer in {each.public_key: each for each in signers}.values():
            inner.sign(signer)
        outer = FeeBumpTransactionEnvelope(
            FeeBumpTransaction(self._key, total, inner), self._settings.passphrase
        )
        outer.sign(self._key)
        return SignedTx(
            tx_id=TxId(outer.hash_hex()),
            raw=outer.to_xdr_object().to_xdr_bytes(),
            account=Address(self._key.public_key),
            sequence=sequence,
            fee={"rate": rate, "total": total, "resources": resource_fee},
            max_cost=Amount(total),
            valid_until_time=valid_until,
        )

    async def _plan(self, one: OneEndpoint, action: Action, tip: Tip) -> Plan:
        own, passphrase = self._key.public_key, self._settings.passphrase
        match action:
            case LockAction(terms=terms):
                return await self._lock(one, terms, tip)
            case ClaimAction(terms=terms, preimage=preimage):
                if not preimage.opens(terms.hashlock):
                    raise ActionRefusedError(
                        "the preimage does not open the hashlock", "wait for the right one"
                    )
                if not is_contract(terms.recipient):  # the simulation says whether a contract can be paid
                    await self._require_receiver(one, terms)
                return Plan([contract.claim_call(terms, preimage, passphrase, own)], calls=True)
            case RefundAction(terms=terms):
                if tip.time < terms.deadline:
                    raise ActionRefusedError(
                        "the deadline has not come yet", f"try at Unix time {terms.deadline}"
                    )
                return Plan([contract.refund_call(terms, passphrase, own)], calls=True)
            case CooperativeRefundAction(terms=terms):
                if terms.recipient != own:
                    raise ActionRefusedError(
                        "only its recipient may give a lock back early", "wait for the deadline"
                    )
                return Plan([contract.refund_call(terms, passphrase, own, agreed=True)], calls=True)
            case CancelAction():
                # Bumping to where the account is already does nothing.
                return Plan([BumpSequence(0)])
            case ApproveAction(payload=payload):
                return await self._approve(one, payload)
            case AnchorAction():
                raise ActionRefusedError("the log is not anchored on Stellar", "anchor it on ZION")
            case CloseAction():
                raise ActionRefusedError("a lock on Stellar leaves nothing behind", "nothing is to be done")

    async def _lock(self, one: OneEndpoint, terms: LockTerms, tip: Tip) -> Plan:
        own = self._key.public_key
        if terms.sender != own:
            raise ActionRefusedError("the lock names another sender", "a lock is made by its sender")
        if terms.deadline <= tip.time:
            raise ActionRefusedError("the deadline of the lock has passed", "ask for a new quote")
        await check_asset(one, terms.asset, self._settings)
        asset = terms.asset
        if is_token(asset) or (is_issued(asset) and to_stellar(asset).issuer != own):
            has = await receivers.held(one, own, asset, self._settings)
            if has < terms.amount:
                raise InsufficientFundsError(
                    f"the account has {shown(has, asset)} and needs {shown(terms.amount, asset)}",
                    f"send {asset.symbol} to {own}",
                )
        await self._require_receiver(one, terms)
        # The contract would make a lock again that was spent; its preimage may be known to all by then. How
        # far back it must be known to be new is the engine's question (`since`, agreed) before this.
        status = await Locks(one, self._settings).status(terms, None)
        if status not in {LockStatus.ABSENT, LockStatus.UNKNOWN}:
            raise ActionRefusedError(f"this lock was made before, it is {status.value}", "terms serve once")
        spends = 0 if terms.asset.contract else terms.amount
        return Plan([contract.lock_call(terms, self._settings.passphrase, own)], spends, calls=True)

    async def _require_receiver(self, one: OneEndpoint, terms: LockTerms) -> None:
        try:
            await receivers.check_receiver(one, terms.recipient, terms.asset, terms.amount, self._settings)
        except CannotReceiveError as error:
            raise ActionRefusedError(str(error), error.hint) from error

    async def _require_native(self, one: OneEndpoint, ledger: Ledger, needed: int) -> None:
        holder = await read_holder(one, self._key.public_key)
        if holder.account is None:
            raise InsufficientFundsError(
                f"the account {self._key.public_key} does not exist", "send it some XLM, which creates it"
            )
        has = spendable(holder.account, ledger.base_reserve)
        if has < needed:
            raise InsufficientFundsError(
                f"the account can spend {decimal(max(0, has))} XLM and needs {decimal(needed)}",
                f"send XLM to {self._key.public_key}",
            )

    async def _approve(self, one: OneEndpoint, payload: bytes) -> Plan:
        own = self._key.public_key
        if payload == MAKE_CHANNELS:
            missing = await self._sequences.missing(one)
            if not missing:
                raise ActionRefusedError("all channel accounts exist already", "nothing is to be done")
            made: list[Operation] = [
                CreateAccount(each.public_key, decimal(CHANNEL_BALANCE), source=own) for each in missing
            ]
            return Plan(made, CHANNEL_BALANCE * len(missing))
        if payload.startswith(TRUST):
            named = payload[len(TRUST) :].decode()
            asset = next((each for each in self._settings.assets if each.contract == named), None)
            if asset is not None:
                return Plan([ChangeTrust(to_stellar(asset), decimal(INT64_MAX), source=own)])
        if payload.startswith(keeping.EXTEND):
            due = keeping.due(await keeping.look(one, self._settings))
            if not due:
                raise NothingToDoError("nothing needs to be kept from being archived", "look again later")
            return Plan(
                [ExtendFootprintTTL(keeping.KEEP, source=own)], extends=await self._affordable(one, due)
            )
        raise ActionRefusedError("an unknown set-up action", "take it from setup_actions")

    async def _affordable(
        self, one: OneEndpoint, due: Sequence[keeping.Ending]
    ) -> tuple[keeping.Ending, ...]:
        """Return what of this can be extended within a day's budget. Raises `TooDearError`."""
        own, caps = self._key.public_key, self._settings.caps
        last: TooDearError | None = None
        for part in keeping.parts(due):
            operation, wanted = ExtendFootprintTTL(keeping.KEEP, source=own), keeping.footprint(part)
            simulated = await simulate(one, own, operation, self._settings.passphrase, wanted)
            try:
                fees.with_headroom(simulated, caps, keeps=True)
            except TooDearError as error:
                last = error
                continue
            return part
        raise last or NothingToDoError("nothing needs to be kept from being archived", "look again later")
