"""Transactions as the ledger sees them: what is checked when, in which order, and what remains of a failure.

The order of checks follows stellar-core for protocol 19: form, time, fee, source, sequence, minimum
sequence age and gap, signatures of the source and of extra signers, balance, then each operation, and at
last that no signature was superfluous.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

from stellar_sdk import xdr

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import UINT32_MAX, SignerId, muxed_key
from relayers.stellar.devnet.ledger import SPONSORSHIP, Change, Header, LedgerTxn
from relayers.stellar.devnet.ops import Context, rules_of
from relayers.stellar.devnet.preconditions import Preconditions
from relayers.stellar.devnet.results import (
    OperationFailedError,
    OperationRefusedError,
    OpResult,
    OuterCode,
    TxCode,
    TxResult,
)
from relayers.stellar.devnet.signatures import (
    ED25519,
    PRE_AUTH_TX,
    SIGNED_PAYLOAD,
    SignatureChecker,
    signers_of,
)
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.transaction import is_consistent, soroban_part

SOROBAN_SETTINGS = Settings()


@dataclass(frozen=True)
class CloseTimes:
    """How much later than the header's close time a ledger may close: lower and upper bound, seconds."""

    lower: int = 0
    upper: int = 0


AT_CLOSE = CloseTimes()


@dataclass
class ApplyRecord:
    """What applying a transaction changed: key, entry before, entry after."""

    before: list[Change] = field(default_factory=list)
    """Before its operations: sequence, one-time signers."""
    operations: list[list[Change]] = field(default_factory=list)
    """By each operation; none where the transaction failed."""


class Stage(IntEnum):
    """How far a transaction passed the common checks; from UPDATES_SEQUENCE on it uses its sequence up."""

    INVALID = 0
    UPDATES_SEQUENCE = 1
    AFTER_AUTH = 2
    VALID = 3


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide, rounding up."""
    return -(-numerator // denominator)


class TransactionFrame:
    """An ordinary transaction."""

    is_fee_bump = False

    def __init__(
        self, network_id: bytes, envelope: xdr.TransactionV1Envelope, settings: Settings = SOROBAN_SETTINGS
    ) -> None:
        self.network_id = network_id
        self.tx = envelope.tx
        self.signatures = envelope.signatures
        self._envelope = envelope
        self.record = ApplyRecord()
        self.refunded = 0
        """What was given back of its fee, stroops."""
        self.soroban = soroban_part(self.envelope, envelope.tx, network_id, settings)
        self.result = TxResult(
            TxCode.txFAILED, operations=[OpResult(op.body.type) for op in self.tx.operations]
        )

    @cached_property
    def envelope(self) -> xdr.TransactionEnvelope:
        """The whole envelope."""
        return xdr.TransactionEnvelope(xdr.EnvelopeType.ENVELOPE_TYPE_TX, v1=self._envelope)

    @cached_property
    def full_hash(self) -> bytes:
        """Hash of the envelope with its signatures."""
        return hashlib.sha256(self.envelope.to_xdr_bytes()).digest()

    @cached_property
    def contents_hash(self) -> bytes:
        """What is signed: the transaction's id."""
        tagged = xdr.TransactionSignaturePayloadTaggedTransaction(
            xdr.EnvelopeType.ENVELOPE_TYPE_TX, tx=self.tx
        )
        payload = xdr.TransactionSignaturePayload(xdr.Hash(self.network_id), tagged)
        return hashlib.sha256(payload.to_xdr_bytes()).digest()

    @cached_property
    def source(self) -> bytes:
        """The account whose sequence it uses."""
        return muxed_key(self.tx.source_account)

    @property
    def fee_source(self) -> bytes:
        """The account that pays the fee."""
        return self.source

    @property
    def fee_bid(self) -> int:
        """The most it pays, stroops."""
        return self.tx.fee.uint32

    @property
    def resource_fee(self) -> int:
        """The part of its bid that is for Soroban's resources, stroops."""
        return self.soroban.resource_fee if self.soroban is not None else 0

    @property
    def inclusion_bid(self) -> int:
        """The part of its bid that decides over its place in a ledger, stroops."""
        return self.fee_bid - self.resource_fee

    @property
    def sequence(self) -> int:
        """The sequence it uses."""
        return self.preconditions.sequence

    @property
    def operation_count(self) -> int:
        """How many operations its fee is for."""
        return len(self.tx.operations)

    @property
    def inner(self) -> TransactionFrame:
        """The transaction itself (a fee bump's inner one)."""
        return self

    @property
    def merges_account(self) -> bool:
        """Tell whether it contains an account merge."""
        return any(op.body.type is xdr.OperationType.ACCOUNT_MERGE for op in self.tx.operations)

    @cached_property
    def preconditions(self) -> Preconditions:
        """When and after what it is valid."""
        return Preconditions(self.tx)

    def min_inclusion(self, header: Header) -> int:
        """Return the least that it must bid beside the fee for its resources, stroops."""
        return header.base_fee * max(1, self.operation_count)

    def min_fee(self, header: Header) -> int:
        """Return the least fee the network takes for it, stroops."""
        return self.resource_fee + self.min_inclusion(header)

    def fee_at(self, base_fee: int) -> int:
        """Return what it is charged when a ledger's base fee is `base_fee`."""
        return min(self.fee_bid, self.resource_fee + base_fee * max(1, self.operation_count))

    def _reset(self, fee_charged: int) -> None:
        operations = [OpResult(op.body.type) for op in self.tx.operations]
        self.result = TxResult(TxCode.txSUCCESS, fee_charged, operations)

    def operation_source(self, index: int) -> bytes:
        """Return the account that an operation acts for."""
        own = self.tx.operations[index].source_account
        return self.source if own is None else muxed_key(own)

    def _context(self, index: int) -> Context:
        return Context(self.operation_source(index), self.source, self.sequence, index, self.soroban)

    # Checks before inclusion

    def check_valid(self, txn: LedgerTxn, current: int, times: CloseTimes, charge_fee: bool = True) -> bool:
        """Tell whether the next ledger may include it; `result` says why not.

        `current` is the sequence it must follow, 0 for the source account's own.
        """
        base_fee = txn.header.base_fee if charge_fee else 0
        self._reset(base_fee * max(1, self.operation_count) + (self.resource_fee if charge_fee else 0))
        view = txn.child()
        checker = SignatureChecker(self.contents_hash, self.signatures)
        if (
            self._common_valid(view, checker, current, charge_fee=charge_fee, times=times, applying=False)
            is not Stage.VALID
        ):
            return False
        for index in range(len(self.tx.operations)):
            if not self._check_operation(view, index, checker):
                self.result.code = TxCode.txFAILED
                return False
        if not checker.all_used():
            self.result.code = TxCode.txBAD_AUTH_EXTRA
            return False
        return True

    def _common_valid(
        self,
        txn: LedgerTxn,
        checker: SignatureChecker,
        current: int,
        *,
        charge_fee: bool,
        times: CloseTimes,
        applying: bool,
    ) -> Stage:
        problem = self._form_problem(txn, charge_fee, times)
        if problem is not None:
            self.result.code = problem
            return Stage.INVALID
        source = txn.existing_account(self.source)
        if self.preconditions.is_bad_sequence(txn.header, current or source.sequence):
            self.result.code = TxCode.txBAD_SEQ
            return Stage.INVALID
        if self.preconditions.is_too_early_for(
            txn.header, source.sequence_time, source.sequence_ledger, times.lower
        ):
            self.result.code = TxCode.txBAD_MIN_SEQ_AGE_OR_GAP
            return Stage.UPDATES_SEQUENCE
        authorised = checker.check(signers_of(source), source.thresholds[0]) and self._extra_signers_signed(
            checker
        )
        if not authorised:
            self.result.code = TxCode.txBAD_AUTH
            return Stage.UPDATES_SEQUENCE
        to_pay = 0 if applying else self.fee_bid & UINT32_MAX
        if charge_fee and reserves.available(txn.header, source) < to_pay:
            self.result.code = TxCode.txINSUFFICIENT_BALANCE
            return Stage.AFTER_AUTH
        return Stage.VALID

    def _form_problem(
        self, txn: LedgerTxn, charge_fee: bool, times: CloseTimes
    ) -> xdr.TransactionResultCode | None:
        extra = self.preconditions.extra_signers
        doubled = len(extra) == 2 and extra[0] == extra[1]
        if doubled or any(each.kind == SIGNED_PAYLOAD and not each.payload for each in extra):
            return TxCode.txMALFORMED
        if not self.tx.operations:
            return TxCode.txMISSING_OPERATION
        if not is_consistent(self.tx):
            return TxCode.txMALFORMED
        problem = self.soroban.problem(self.fee_bid) if self.soroban is not None else None
        if problem is not None:
            return problem
        if self.preconditions.is_too_early(txn.header, times.lower):
            return TxCode.txTOO_EARLY
        if self.preconditions.is_too_late(txn.header, times.upper):
            return TxCode.txTOO_LATE
        if charge_fee and self.fee_bid < self.min_fee(txn.header):
            return TxCode.txINSUFFICIENT_FEE
        if not txn.has_account(self.source):
            return TxCode.txNO_ACCOUNT
        return None

    def _extra_signers_signed(self, checker: SignatureChecker) -> bool:
        extra = self.preconditions.extra_signers
        return not extra or checker.check([(each, 1) for each in extra], len(extra))

    # Operations

    def _check_operation(self, txn: LedgerTxn, index: int, checker: SignatureChecker | None) -> bool:
        """Check one operation, with its signatures if `checker` is given; else its source must exist."""
        operation, result = self.tx.operations[index], self.result.operations[index]
        context = self._context(index)
        rules = rules_of(operation.body.type)
        if not rules.supported:
            result.outer = OuterCode.opNOT_SUPPORTED
            return False
        if checker is not None:
            if not self._operation_signed(txn, index, checker):
                return False
        elif not txn.has_account(context.source):
            result.outer = OuterCode.opNO_ACCOUNT
            return False
        try:
            rules.check(operation_body(operation), context)
        except OperationFailedError as failure:
            result.code, result.details = failure.code, failure.details
            return False
        return True

    def _operation_signed(self, txn: LedgerTxn, index: int, checker: SignatureChecker) -> bool:
        operation, result = self.tx.operations[index], self.result.operations[index]
        context = self._context(index)
        account = txn.account(context.source)
        if account is not None:
            level = rules_of(operation.body.type).threshold(operation_body(operation))
            signed = checker.check(signers_of(account), account.thresholds[level])
        elif operation.source_account is None:
            result.outer = OuterCode.opNO_ACCOUNT
            return False
        else:
            # The account may be created by an operation before this one: its own key must have signed.
            signed = checker.check([(SignerId(ED25519, context.source), 1)], 0)
        if not signed:
            result.outer = OuterCode.opBAD_AUTH
        return signed

    # Application

    def charge_fee(self, txn: LedgerTxn, base_fee: int) -> None:
        """Take the fee from its source; done for all transactions of a ledger before any is applied."""
        self._reset(self.fee_at(base_fee))
        self.result.fee_charged = take_fee(txn, self.fee_source, self.result.fee_charged)

    def apply(self, txn: LedgerTxn, charge_fee: bool = True) -> None:
        """Apply it: use up its sequence, then all operations or none. `result` tells what happened."""
        preparation = txn.child()
        self.record = ApplyRecord()
        checker = SignatureChecker(self.contents_hash, self.signatures)
        stage = self._common_valid(
            preparation, checker, 0, charge_fee=charge_fee, times=AT_CLOSE, applying=True
        )
        if stage >= Stage.UPDATES_SEQUENCE:
            source = preparation.existing_account(self.source)
            source.sequence = self.sequence
            source.sequence_ledger = txn.header.sequence
            source.sequence_time = txn.header.close_time
        ready = self._process_signatures(preparation, checker, stage)
        self.record.before = preparation.changes()
        preparation.commit()
        if ready:
            self._apply_operations(txn)

    def _process_signatures(self, txn: LedgerTxn, checker: SignatureChecker, stage: Stage) -> bool:
        if stage is not Stage.VALID:
            self._remove_one_time_signers(txn)
            return False
        view = txn.child()
        signed = [self._operation_signed(view, index, checker) for index in range(len(self.tx.operations))]
        self._remove_one_time_signers(txn)
        if not all(signed):
            self.result.code = TxCode.txFAILED
            return False
        if not checker.all_used():
            self.result.code = TxCode.txBAD_AUTH_EXTRA
            return False
        return True

    def _remove_one_time_signers(self, txn: LedgerTxn) -> None:
        sources = {self.source} | {self._context(index).source for index in range(len(self.tx.operations))}
        for source in sources:
            remove_pre_authorisation(txn, source, self.contents_hash)

    def _apply_operations(self, txn: LedgerTxn) -> None:
        together = txn.child()
        success = True
        for index in range(len(self.tx.operations)):
            single = together.child()
            if self._apply_operation(single, index):
                self.record.operations.append(single.changes())
                single.commit()
            else:
                success = False
        if success and together.marks(SPONSORSHIP):
            self.result.code = TxCode.txBAD_SPONSORSHIP
        elif success:
            together.commit()
        else:
            self.result.code = TxCode.txFAILED
        if not self.result.succeeded:
            self.record.operations = []

    def _apply_operation(self, txn: LedgerTxn, index: int) -> bool:
        operation, result = self.tx.operations[index], self.result.operations[index]
        if not self._check_operation(txn.child(), index, None):
            return False
        try:
            details = rules_of(operation.body.type).apply(
                txn, operation_body(operation), self._context(index)
            )
        except OperationFailedError as failure:
            result.code, result.details = failure.code, failure.details
            return False
        except OperationRefusedError as refusal:
            result.outer = refusal.outer
            return False
        result.details = details or {}
        return True


def operation_body(operation: xdr.Operation) -> object:
    """Return the arm of an operation's body that its kind selects (None where it has none)."""
    body = operation.body
    if body.type is xdr.OperationType.ACCOUNT_MERGE:
        return body.destination
    return getattr(body, body.type.name.lower() + "_op", None)


def remove_pre_authorisation(txn: LedgerTxn, account_id: bytes, contents_hash: bytes) -> None:
    """Remove the signer that pre-authorised this transaction, if the account has it."""
    account = txn.account(account_id)
    signer = (
        reserves.find_signer(account, SignerId(PRE_AUTH_TX, contents_hash)) if account is not None else None
    )
    if account is not None and signer is not None:
        reserves.remove_signer(txn, account, signer)


def refund(txn: LedgerTxn, payer_id: bytes, amount: int) -> int:
    """Give back what a Soroban transaction did not use, if its payer still exists. Return what was given."""
    payer = txn.account(payer_id) if amount else None
    return amount if payer is not None and reserves.add_native(txn.header, payer, amount) else 0


def take_fee(txn: LedgerTxn, payer_id: bytes, fee: int) -> int:
    """Take a fee, as far as there is a balance, and return what was taken."""
    payer = txn.existing_account(payer_id)
    # The fee may eat into the reserve: whether enough is left is checked when the transaction is applied.
    charged = min(payer.balance, fee)
    payer.balance -= charged
    return charged
