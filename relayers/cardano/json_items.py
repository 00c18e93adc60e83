"""JSON of any depth, read without recursion.

Ogmios shows the native scripts and metadata of every transaction as JSON, nested as deep as a stranger likes.
Ordinary decoders go as deep as Python's stack and end there; this one is slower and reads what they refuse.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

_TOKEN = re.compile(
    rb"""[ \t\r\n]*(?:([\[\]{},:])|("[^"\\]*(?:\\.[^"\\]*)*")|([^\s\[\]{},:"]+))[ \t\r\n]*""", re.DOTALL
)
"""A structural sign, a string, or a number or name."""
_COMMA, _COLON = b",", b":"


def loads(text: bytes) -> Any:
    """Return the value that a JSON text is. Raises `msgspec.DecodeError`."""
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        return _loads(text)


def _loads(text: bytes) -> Any:
    """Read token by token; each list on the stack is open, an object's with keys and values in turn."""
    opened: list[tuple[bool, list[Any]]] = [(False, [])]
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise msgspec.DecodeError("JSON has a character where none can be")
        position = token.end()
        sign, string, word = token.groups()
        if sign in {_COMMA, _COLON}:
            continue
        if sign in {b"[", b"{"}:
            opened.append((sign == b"{", []))
            continue
        if sign is None:
            opened[-1][1].append(msgspec.json.decode(string or word))
            continue
        is_object, held = opened.pop()
        if not opened or is_object is not (sign == b"}") or (is_object and len(held) % 2):
            raise msgspec.DecodeError("JSON closes what is not open")
        opened[-1][1].append(dict(zip(held[::2], held[1::2], strict=True)) if is_object else held)
    if len(opened) != 1 or len(opened[0][1]) != 1:
        raise msgspec.DecodeError("JSON ends too early")
    return opened[0][1][0]
