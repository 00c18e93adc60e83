"""When a transaction may be included: bounds of time and ledgers, sequences, extra signers (CAP-0021).
Pure."""

from __future__ import annotations

from stellar_sdk import xdr

from relayers.stellar.devnet.entries import INT64_MAX, SignerId, signer_id
from relayers.stellar.devnet.ledger import Header


class Preconditions:
    """What a transaction asks for, as the ledger reads it."""

    def __init__(self, tx: xdr.Transaction) -> None:
        self._time_only = tx.cond.time_bounds
        self._v2 = tx.cond.v2
        self.sequence: int = tx.seq_num.sequence_number.int64

    @property
    def min_sequence(self) -> int | None:
        """The least account sequence it accepts, if it relaxes the rule of consecutive ones (CAP-0021)."""
        if self._v2 is None or self._v2.min_seq_num is None:
            return None
        return self._v2.min_seq_num.sequence_number.int64

    @property
    def min_sequence_age(self) -> int:
        """Seconds that must have passed since the account's sequence changed."""
        return self._v2.min_seq_age.duration.uint64 if self._v2 is not None else 0

    @property
    def min_sequence_gap(self) -> int:
        """Ledgers that must have passed since the account's sequence changed."""
        return self._v2.min_seq_ledger_gap.uint32 if self._v2 is not None else 0

    @property
    def extra_signers(self) -> list[SignerId]:
        """Who must sign beside the source."""
        return [signer_id(each) for each in self._v2.extra_signers] if self._v2 is not None else []

    def is_too_early(self, header: Header, offset: int) -> bool:
        """Tell whether a ledger that closes `offset` seconds after the header is before its bounds."""
        earliest, _ = self._time_bounds
        bounds = self._v2.ledger_bounds if self._v2 is not None else None
        before_ledger = bounds is not None and bounds.min_ledger.uint32 > header.sequence
        return before_ledger or bool(earliest and earliest > header.close_time + offset)

    def is_too_late(self, header: Header, offset: int) -> bool:
        """Tell whether a ledger that closes `offset` seconds after the header is past its bounds."""
        _, latest = self._time_bounds
        bounds = self._v2.ledger_bounds if self._v2 is not None else None
        past_ledger = bounds is not None and 0 < bounds.max_ledger.uint32 <= header.sequence
        return past_ledger or bool(latest and latest < header.close_time + offset)

    def is_bad_sequence(self, header: Header, current: int) -> bool:
        """Tell whether its sequence cannot follow the account's `current` one."""
        if self.sequence == header.starting_sequence:
            return True
        if self.min_sequence is not None:
            return current < self.min_sequence or current >= self.sequence
        return current == INT64_MAX or current + 1 != self.sequence

    def is_too_early_for(self, header: Header, changed_at: int, changed_in: int, offset: int) -> bool:
        """Tell whether the account's sequence changed (Unix seconds, ledger) too short a time ago."""
        return (
            header.close_time + offset - self.min_sequence_age < changed_at
            or header.sequence - self.min_sequence_gap < changed_in
        )

    @property
    def _time_bounds(self) -> tuple[int, int]:
        bounds = self._v2.time_bounds if self._v2 is not None else self._time_only
        if bounds is None:
            return 0, 0
        return bounds.min_time.time_point.uint64, bounds.max_time.time_point.uint64
