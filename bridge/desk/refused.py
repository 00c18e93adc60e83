"""Why the service says no to a client: a stable reason, words, and a hint that says what to do."""

from __future__ import annotations

from enum import StrEnum

from kernels.errors import RainbowError


class Reason(StrEnum):
    """Stable names; the API turns each into a problem type."""

    NOT_FOUND = "not_found"
    UNKNOWN_PAIR = "unknown_pair"
    PAUSED = "paused"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    BAD_ADDRESS = "bad_address"
    BAD_HASHLOCK = "bad_hashlock"
    QUOTE_GONE = "quote_gone"
    HASHLOCK_USED = "hashlock_used"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    WRONG_PREIMAGE = "wrong_preimage"
    BAD_AUTHORIZATION = "bad_authorization"
    BAD_RECEIPT = "bad_receipt"
    WRONG_STATE = "wrong_state"
    LIMIT_REACHED = "limit_reached"
    NO_INVENTORY = "no_inventory"
    NO_PRICE = "no_price"
    CHAIN_UNAVAILABLE = "chain_unavailable"


class RefusedError(RainbowError):
    """A request that the service refuses. `retry_after`: seconds after which it may be worth another try."""

    def __init__(self, reason: Reason, message: str, hint: str, retry_after: int | None = None) -> None:
        super().__init__(message, hint)
        self.reason = reason
        self.retry_after = retry_after
