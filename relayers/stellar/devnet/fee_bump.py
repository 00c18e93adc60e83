"""Fee bumps: transactions whose fee somebody else pays (CAP-0015)."""

from __future__ import annotations

import hashlib
from functools import cached_property

from stellar_sdk import xdr

from relayers.stellar.devnet import reserves
from relayers.stellar.devnet.entries import INT64_MAX, muxed_key
from relayers.stellar.devnet.frames import (
    SOROBAN_SETTINGS,
    CloseTimes,
    TransactionFrame,
    ceil_div,
    remove_pre_authorisation,
    take_fee,
)
from relayers.stellar.devnet.ledger import Header, LedgerTxn
from relayers.stellar.devnet.preconditions import Preconditions
from relayers.stellar.devnet.results import TxCode, TxResult
from relayers.stellar.devnet.signatures import SignatureChecker, signers_of
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.transaction import SorobanPart


class FeeBumpFrame:
    """A transaction whose fee somebody else pays (CAP-0015)."""

    is_fee_bump = True

    def __init__(
        self,
        network_id: bytes,
        envelope: xdr.FeeBumpTransactionEnvelope,
        settings: Settings = SOROBAN_SETTINGS,
    ) -> None:
        self.network_id = network_id
        self.tx = envelope.tx
        self.signatures = envelope.signatures
        self._envelope = envelope
        assert envelope.tx.inner_tx.v1 is not None  # noqa: S101 - the only kind there is
        self.inner = TransactionFrame(network_id, envelope.tx.inner_tx.v1, settings)
        self.refunded = 0
        """What was given back of its fee, stroops."""
        self.result = TxResult(TxCode.txSUCCESS)

    @cached_property
    def envelope(self) -> xdr.TransactionEnvelope:
        """The whole envelope."""
        return xdr.TransactionEnvelope(xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP, fee_bump=self._envelope)

    @cached_property
    def full_hash(self) -> bytes:
        """Hash of the envelope with its signatures."""
        return hashlib.sha256(self.envelope.to_xdr_bytes()).digest()

    @cached_property
    def contents_hash(self) -> bytes:
        """What its fee source signs: the fee bump's id."""
        tagged = xdr.TransactionSignaturePayloadTaggedTransaction(
            xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP, fee_bump=self.tx
        )
        payload = xdr.TransactionSignaturePayload(xdr.Hash(self.network_id), tagged)
        return hashlib.sha256(payload.to_xdr_bytes()).digest()

    @property
    def source(self) -> bytes:
        """The account whose sequence it uses: the inner transaction's."""
        return self.inner.source

    @cached_property
    def fee_source(self) -> bytes:
        """The account that pays the fee."""
        return muxed_key(self.tx.fee_source)

    @property
    def fee_bid(self) -> int:
        """The most it pays, stroops."""
        return self.tx.fee.int64

    @property
    def sequence(self) -> int:
        """The sequence it uses."""
        return self.inner.sequence

    @property
    def operation_count(self) -> int:
        """How many operations its fee is for: one more than it has."""
        return self.inner.operation_count + 1

    @property
    def merges_account(self) -> bool:
        """Tell whether it contains an account merge."""
        return self.inner.merges_account

    @property
    def preconditions(self) -> Preconditions:
        """The inner transaction's."""
        return self.inner.preconditions

    @property
    def resource_fee(self) -> int:
        """The part of its bid that is for Soroban's resources, as the inner transaction declares, stroops."""
        return self.inner.resource_fee

    @property
    def inclusion_bid(self) -> int:
        """The part of its bid that decides over its place in a ledger, stroops."""
        return self.fee_bid - self.resource_fee

    @property
    def soroban(self) -> SorobanPart | None:
        """The inner transaction's Soroban part."""
        return self.inner.soroban

    def min_inclusion(self, header: Header) -> int:
        """Return the least that it must bid beside the fee for resources, stroops."""
        return header.base_fee * self.operation_count

    def min_fee(self, header: Header) -> int:
        """Return the least fee the network takes for it, stroops."""
        return self.resource_fee + self.min_inclusion(header)

    def fee_at(self, base_fee: int) -> int:
        """Return what it is charged when a ledger's base fee is `base_fee`."""
        return min(self.fee_bid, self.resource_fee + base_fee * self.operation_count)

    def check_valid(self, txn: LedgerTxn, current: int, times: CloseTimes) -> bool:
        """Tell whether the next ledger may include it; `result` says why not."""
        self.result = TxResult(TxCode.txFEE_BUMP_INNER_SUCCESS, self.min_fee(txn.header))
        checker = SignatureChecker(self.contents_hash, self.signatures)
        problem = self._own_problem(txn, checker)
        if problem is not None:
            self.result.code = problem
            return False
        valid = self.inner.check_valid(txn, current, times, charge_fee=False)
        self._adopt_inner_result()
        return valid

    def _own_problem(self, txn: LedgerTxn, checker: SignatureChecker) -> xdr.TransactionResultCode | None:
        header = txn.header
        if self.fee_bid < self.min_fee(header):
            return TxCode.txINSUFFICIENT_FEE
        # The rate bid outside must not be below the rate bid inside.
        inner_minimum = self.inner.min_inclusion(header)
        needed = self.inner.inclusion_bid * self.min_inclusion(header)
        if self.inclusion_bid * inner_minimum < needed:
            enough = self.resource_fee + ceil_div(needed, inner_minimum)
            self.result.fee_charged = min(INT64_MAX, enough)
            return TxCode.txINSUFFICIENT_FEE
        payer = txn.child().account(self.fee_source)
        if payer is None:
            return TxCode.txNO_ACCOUNT
        if not checker.check(signers_of(payer), payer.thresholds[0]):
            return TxCode.txBAD_AUTH
        if reserves.available(header, payer) < self.fee_bid:
            return TxCode.txINSUFFICIENT_BALANCE
        return None if checker.all_used() else TxCode.txBAD_AUTH_EXTRA

    def charge_fee(self, txn: LedgerTxn, base_fee: int) -> None:
        """Take the fee from its source; done for all transactions of a ledger before any is applied."""
        self.inner._reset(self.inner.fee_at(base_fee))
        charged = take_fee(txn, self.fee_source, self.fee_at(base_fee))
        self.result = TxResult(TxCode.txFEE_BUMP_INNER_SUCCESS, charged)

    def apply(self, txn: LedgerTxn) -> None:
        """Apply the inner transaction. `result` tells what happened."""
        before = txn.child()
        remove_pre_authorisation(before, self.fee_source, self.contents_hash)
        before.commit()
        self.inner.apply(txn, charge_fee=False)
        self._adopt_inner_result()

    def _adopt_inner_result(self) -> None:
        inner = self.inner.result
        good = inner.code is TxCode.txSUCCESS
        self.result.code = TxCode.txFEE_BUMP_INNER_SUCCESS if good else TxCode.txFEE_BUMP_INNER_FAILED
        self.result.inner = (self.inner.contents_hash, inner)


Frame = TransactionFrame | FeeBumpFrame


def make_frame(
    network_id: bytes, envelope: xdr.TransactionEnvelope, settings: Settings = SOROBAN_SETTINGS
) -> Frame:
    """Read an envelope; one of the old form is converted, as the network does since protocol 13."""
    if envelope.fee_bump is not None:
        return FeeBumpFrame(network_id, envelope.fee_bump, settings)
    if envelope.v1 is not None:
        return TransactionFrame(network_id, envelope.v1, settings)
    assert envelope.v0 is not None  # noqa: S101 - there are three forms
    old = envelope.v0.tx
    condition = xdr.Preconditions(xdr.PreconditionType.PRECOND_NONE)
    if old.time_bounds is not None:
        condition = xdr.Preconditions(xdr.PreconditionType.PRECOND_TIME, time_bounds=old.time_bounds)
    source = xdr.MuxedAccount(xdr.CryptoKeyType.KEY_TYPE_ED25519, ed25519=old.source_account_ed25519)
    tx = xdr.Transaction(
        source, old.fee, old.seq_num, condition, old.memo, old.operations, xdr.TransactionExt(0)
    )
    return TransactionFrame(network_id, xdr.TransactionV1Envelope(tx, envelope.v0.signatures), settings)
