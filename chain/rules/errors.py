"""Errors of the chain: every refusal has a name from `Reason`, a message and a hint."""

from __future__ import annotations

from enum import StrEnum

from kernels.errors import RainbowError


class Reason(StrEnum):
    """Why something was refused. The values are part of the RPC's contract.

    Compiled code answers with a reason's `code`, its place in this list; 0 is "no rule broken". Codes are
    never stored or sent.
    """

    # malformed input
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    # one transaction by itself
    BAD_KIND = "bad_kind"
    BAD_VERSION = "bad_version"
    WRONG_CHAIN = "wrong_chain"
    RESERVED_NOT_ZERO = "reserved_not_zero"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    FEE_OUT_OF_RANGE = "fee_out_of_range"
    FIELD_NOT_ZERO = "field_not_zero"
    ZERO_RECIPIENT = "zero_recipient"
    PREIMAGE_TOO_LONG = "preimage_too_long"
    BAD_WITNESS = "bad_witness"
    WRONG_KEY = "wrong_key"
    BAD_SIGNATURE = "bad_signature"
    BAD_CONSENT = "bad_consent"
    # a transaction against the state
    BAD_NONCE = "bad_nonce"
    NONCE_TOO_LOW = "nonce_too_low"
    NONCE_TOO_HIGH = "nonce_too_high"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    BALANCE_OVERFLOW = "balance_overflow"
    LOCK_EXISTS = "lock_exists"
    LOCK_DEADLINE_PASSED = "lock_deadline_passed"
    UNKNOWN_LOCK = "unknown_lock"
    LOCK_SPENT = "lock_spent"
    LOCK_TERMS_MISMATCH = "lock_terms_mismatch"
    WRONG_PREIMAGE = "wrong_preimage"
    DEADLINE_NOT_REACHED = "deadline_not_reached"
    # mempool policy
    FEE_TOO_LOW = "fee_too_low"
    REPLACEMENT_UNDERPRICED = "replacement_underpriced"
    LOCK_SPEND_PENDING = "lock_spend_pending"
    SENDER_QUEUE_FULL = "sender_queue_full"
    MEMPOOL_FULL = "mempool_full"
    # a block
    UNKNOWN_PARENT = "unknown_parent"
    INVALID_ANCESTOR = "invalid_ancestor"
    KNOWN_INVALID = "known_invalid"
    BAD_BLOCK_VERSION = "bad_block_version"
    BAD_HEIGHT = "bad_height"
    BAD_TARGET = "bad_target"
    BAD_WORK = "bad_work"
    TIME_TOO_OLD = "time_too_old"
    TIME_TOO_NEW = "time_too_new"
    EMPTY_BLOCK = "empty_block"
    TOO_MANY_TRANSACTIONS = "too_many_transactions"
    BAD_MERKLE_ROOT = "bad_merkle_root"
    BAD_WITNESS_COMMITMENT = "bad_witness_commitment"
    COINBASE_MISPLACED = "coinbase_misplaced"
    BAD_COINBASE_HEIGHT = "bad_coinbase_height"
    BAD_COINBASE_AMOUNT = "bad_coinbase_amount"
    FEE_SUM_OVERFLOW = "fee_sum_overflow"
    # a branch, by this node's policy
    REORG_TOO_DEEP = "reorg_too_deep"
    TOO_LITTLE_WORK = "too_little_work"

    @property
    def code(self) -> int:
        """The number of this reason in compiled code, from 1."""
        return _CODES[self]

    @staticmethod
    def of_code(code: int) -> Reason | None:
        """Return the reason with this code; None for 0."""
        return _REASONS[code]


_REASONS: tuple[Reason | None, ...] = (None, *Reason)
_CODES = {reason: code for code, reason in enumerate(Reason, start=1)}


class ZionError(RainbowError):
    """Base of the chain's errors."""


class RuleBrokenError(ZionError):
    """A transaction or block breaks a rule of consensus or of the mempool."""

    def __init__(
        self, reason: Reason, message: str = "", *, hint: str = "", index: int | None = None
    ) -> None:
        super().__init__(message or reason.value.replace("_", " "), hint=hint)
        self.reason = reason
        self.index = index
        """Position in the block of the transaction at fault, where one is."""


class AddressError(ZionError):
    """Text that is not a ZION address."""


class WalletError(ZionError):
    """A private key or keystore that cannot be used."""


class StoreError(ZionError):
    """The data directory cannot be used."""


class RpcError(ZionError):
    """The node answered with an error, or not at all."""

    def __init__(self, message: str, *, code: int = 0, reason: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.reason = reason


class NodeUnreachableError(RpcError):
    """The node did not answer, or not with JSON-RPC. It may answer later."""


class NotFoundError(ZionError):
    """The main chain has no such block, transaction, lock or anchor."""


class DevError(ZionError):
    """A dev command that cannot be carried out."""
