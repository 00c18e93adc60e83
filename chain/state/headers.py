"""What is kept of a header, apart from what is kept of its block."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from chain.rules.header import Header


class HeaderStatus(IntEnum):
    """What is known of a header beside the header itself. That a block is connected is not kept here: it is
    when the main chain has its id at its height."""

    BODY = 0
    """Its block is stored."""
    INVALID = 1
    """Its block, or one below it, broke a rule."""
    HEADER = 2
    """Its work and place in the chain were checked; its block is not stored."""


class HeaderRecord(msgspec.Struct, frozen=True):
    """A known header with the chain's work up to it. `transactions` is 0 until its block was stored."""

    header: Header
    work: int
    transactions: int
    status: HeaderStatus = HeaderStatus.BODY

    @property
    def invalid(self) -> bool:
        """Tell whether its block, or one below it, broke a rule."""
        return self.status is HeaderStatus.INVALID

    @property
    def has_body(self) -> bool:
        """Tell whether its block is stored."""
        return self.status is HeaderStatus.BODY

    def marked(self, status: HeaderStatus) -> HeaderRecord:
        """Return the record under another status."""
        return msgspec.structs.replace(self, status=status)
