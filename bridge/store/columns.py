"""Column types: amounts of any size as decimal text, JSON as text, keys that count up on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, String
from sqlalchemy.types import TypeDecorator

MAX_AMOUNT_DIGITS = 78
"""2**256 − 1 has 78 decimal digits."""


class Amount(TypeDecorator[int]):
    """A non-negative integer up to 2**256 − 1, stored as decimal text.

    SQLite's integers end at 2**63 − 1 and its NUMERIC falls back to floating point; text is exact on
    both databases. Sums are made in Python, over a small number of live rows.
    """

    impl = String(MAX_AMOUNT_DIGITS)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Turn the integer into text; refuses floats, bools and negative numbers."""
        if value is None:
            return None
        if type(value) is not int or value < 0 or value >= 1 << 256:
            raise ValueError(f"an amount is an integer from 0 to 2**256 − 1, not {value!r}")
        return str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Turn the text back into an integer."""
        return None if value is None else int(value)


BigKey = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit key that counts up by itself (SQLite does so only for INTEGER)."""
