"""Amounts as people write them: decimal text in whole coins, exactly. Never a float."""

from __future__ import annotations

import re


def decimal_text(text: str) -> str:
    """Return `text` if it is a non-negative decimal number such as "0.5"; else raise ValueError."""
    if not re.fullmatch(r"[0-9]{1,40}(\.[0-9]{1,40})?", text):
        raise ValueError(f'{text!r} is not a decimal number such as "0.5"')
    return text


def to_units(text: str, decimals: int) -> int:
    """Turn decimal text in whole coins into smallest units; ValueError when it does not fit exactly."""
    whole, _, part = decimal_text(text).partition(".")
    part = part.rstrip("0")
    if len(part) > decimals:
        raise ValueError(f"{text} has more than {decimals} decimals")
    return int(whole + part.ljust(decimals, "0"))


def to_text(units: int, decimals: int) -> str:
    """Turn smallest units into decimal text without trailing zeros: the exact inverse of `to_units`."""
    sign = "-" if units < 0 else ""
    whole, part = divmod(abs(units), 10**decimals)
    digits = str(part).rjust(decimals, "0").rstrip("0") if part else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
