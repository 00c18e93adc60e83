"""Why the protocol says no: values for decisions, one exception for impossible input."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from kernels.errors import RainbowError


class ProtocolError(RainbowError, ValueError):
    """Input that no swap, quote or deadline can be made of. `hint` says what to do about it."""


class RefusalCode(StrEnum):
    """Stable names of refusals, fit for logs and problem types."""

    NOT_ACCEPTED = "not_accepted"
    ABANDONED = "abandoned"
    ALREADY_LOCKED = "already_locked"
    SOURCE_NOT_FINAL = "source_not_final"
    SOURCE_SPENT = "source_spent"
    LOCK_LATE = "lock_late"
    PRICE_MOVED = "price_moved"
    CHAIN_TIME_UNKNOWN = "chain_time_unknown"
    CLOCKS_APART = "clocks_apart"
    TIMELOCK_TOO_SHORT = "timelock_too_short"
    WRONG_PREIMAGE = "wrong_preimage"
    NO_DESTINATION_LOCK = "no_destination_lock"
    DESTINATION_NOT_FINAL = "destination_not_final"
    DESTINATION_REFUNDED = "destination_refunded"
    DESTINATION_UNCLEAR = "destination_unclear"
    ALREADY_CLAIMED = "already_claimed"
    TOO_LATE_TO_REVEAL = "too_late_to_reveal"


class Refusal(msgspec.Struct, frozen=True):
    """A no with its reason. `permanent`: waiting cannot turn it into a yes."""

    code: RefusalCode
    message: str
    hint: str = ""
    permanent: bool = False
