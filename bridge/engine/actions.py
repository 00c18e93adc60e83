"""Actions that belong to no swap, as they are stored in the rows of their intents."""

from __future__ import annotations

import msgspec

from bridge.chains.port import Action
from bridge.protocol.types import LockTerms, Purpose


class _StoredAction(msgspec.Struct, omit_defaults=True):
    """How an action is stored in the row of its intent: amounts as text, bytes in hex."""

    purpose: Purpose
    payload: str = ""
    amount: str = "0"
    terms: LockTerms | None = None


def encode_action(action: Action) -> str:
    """Encode an action that belongs to no swap (and so has no preimage) for its intent row."""
    if action.preimage is not None or (action.terms is not None and action.purpose is not Purpose.CLOSE):
        raise ValueError("actions of swaps are derived from the swap, not stored")
    body = _StoredAction(action.purpose, action.payload.hex(), str(action.amount), action.terms)
    return msgspec.json.encode(body).decode()


def decode_action(text: str) -> Action:
    """Undo `encode_action`."""
    body = msgspec.json.decode(text, type=_StoredAction)
    return Action(body.purpose, body.terms, payload=bytes.fromhex(body.payload), amount=int(body.amount))
