"""Actions that belong to no swap, as they are stored in the rows of their intents."""

from __future__ import annotations

import msgspec

from bridge.chains.actions import AccountAction, AnchorAction, ApproveAction, CancelAction, CloseAction
from bridge.protocol.types import Amount, LockTerms, Purpose


class _StoredAction(msgspec.Struct, omit_defaults=True):
    """How an action lies in its intent's row, in the layout of the first release; amounts as text, bytes in
    hex."""

    purpose: Purpose
    payload: str = ""
    amount: str = "0"
    terms: LockTerms | None = None


def encode_action(action: AccountAction) -> str:
    """Encode an action that belongs to no swap for its intent row."""
    return msgspec.json.encode(_stored(action)).decode()


def decode_action(text: str) -> AccountAction:
    """Undo `encode_action`. Raises `ValueError` for what it never wrote."""
    body = msgspec.json.decode(text, type=_StoredAction)
    payload, amount = bytes.fromhex(body.payload), Amount(int(body.amount))
    match body.purpose:
        case Purpose.APPROVE:
            return ApproveAction(payload, amount)
        case Purpose.ANCHOR:
            return AnchorAction(payload, amount)
        case Purpose.CLOSE if body.terms is not None:
            return CloseAction(body.terms)
        case Purpose.CANCEL:
            return CancelAction()
    raise ValueError(f"an action of purpose {body.purpose.value} is derived from its swap, not stored")


def _stored(action: AccountAction) -> _StoredAction:
    match action:
        case ApproveAction(payload=payload, amount=amount):
            return _StoredAction(action.purpose, payload.hex(), str(amount))
        case AnchorAction(root=root, size=size):
            return _StoredAction(action.purpose, root.hex(), str(size))
        case CloseAction(terms=terms):
            return _StoredAction(action.purpose, terms=terms)
        case CancelAction():
            return _StoredAction(action.purpose)
