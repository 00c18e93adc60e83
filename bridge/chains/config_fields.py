"""The kinds of text and numbers that the configuration knows: money, URLs, addresses."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from bridge.protocol.types import Amount


def _no_float(value: object) -> object:
    if isinstance(value, float):
        raise ValueError('write it in quotes, e.g. "0.5": floats lose money')
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _decimal(text: str) -> str:
    if not re.fullmatch(r"\d{1,40}(\.\d{1,40})?", text):
        raise ValueError(f'{text!r} is not a decimal number such as "0.5"')
    return text


DecimalText = Annotated[str, BeforeValidator(_no_float), AfterValidator(_decimal)]
"""A non-negative decimal number as text."""


def to_units(text: str, decimals: int) -> Amount:
    """Turn decimal text in whole coins into smallest units; ValueError when it does not fit exactly."""
    whole, _, part = _decimal(text).partition(".")
    part = part.rstrip("0")
    if len(part) > decimals:
        raise ValueError(f"{text} has more than {decimals} decimals")
    return Amount(int(whole + part.ljust(decimals, "0")))


def to_text(units: int, decimals: int) -> str:
    """Turn smallest units into decimal text without trailing zeros: the exact inverse of `to_units`."""
    sign = "-" if units < 0 else ""
    whole, part = divmod(abs(units), 10**decimals)
    digits = str(part).rjust(decimals, "0").rstrip("0") if part else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def _http(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^\s/]+\S*", url):
        # The URL itself is not repeated: those of hosted nodes contain a key.
        raise ValueError("this is not a URL that begins with http:// or https://")
    return url


def _websocket(url: str) -> str:
    if url and not re.fullmatch(r"wss?://[^\s/]+\S*", url):
        raise ValueError("this is not a URL that begins with ws:// or wss://")
    return url


HttpUrl = Annotated[str, AfterValidator(_http)]
"""Where a node answers over HTTP; may hold a key. "" where none is given."""
WebSocketUrl = Annotated[str, AfterValidator(_websocket)]


def matching(pattern: str, words: str) -> AfterValidator:
    """Accept "" and what matches `pattern` from end to end; else say what it should be, in `words`."""

    def check(text: str) -> str:
        if text and not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is no {words}")
        return text

    return AfterValidator(check)


class Section(BaseModel):
    """A table of the file: unknown keys are refused, nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
