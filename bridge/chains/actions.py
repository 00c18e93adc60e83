"""What the bridge's account can be asked to do on a chain: one struct for each purpose, and no more fields
than it needs. `ChainPort.prepare` matches on them."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from bridge.chains.errors import ActionRefusedError
from bridge.protocol.types import Amount, LockTerms, Preimage, Purpose


class LockAction(msgspec.Struct, frozen=True):
    """Make the lock with these terms; their sender is the account."""

    purpose: ClassVar[Purpose] = Purpose.LOCK
    terms: LockTerms


class ClaimAction(msgspec.Struct, frozen=True):
    """Claim a lock for its recipient.

    `others` are further claims of the same recipient and asset to be made in the same transaction, at most
    `ChainPort.max_claims` in all; those that cannot be made any more are left out of it. `authorization` is
    what `Authorizer.check` returned for this claim, b"" without.
    """

    purpose: ClassVar[Purpose] = Purpose.CLAIM
    terms: LockTerms
    preimage: Preimage
    others: tuple[ClaimAction, ...] = ()
    authorization: bytes = b""


class RefundAction(msgspec.Struct, frozen=True):
    """Give a lock back to its sender, from its deadline on."""

    purpose: ClassVar[Purpose] = Purpose.REFUND
    terms: LockTerms


class CooperativeRefundAction(msgspec.Struct, frozen=True):
    """Give a lock back to its sender before its deadline; its recipient is the account."""

    purpose: ClassVar[Purpose] = Purpose.COOPERATIVE_REFUND
    terms: LockTerms


class ApproveAction(msgspec.Struct, frozen=True):
    """What the account must do once before it can lock, as `ChainPort.setup_actions` gave it: `payload` names
    the token (or whatever it is) in the adapter's own way, `amount` is in its smallest unit."""

    purpose: ClassVar[Purpose] = Purpose.APPROVE
    payload: bytes
    amount: Amount = Amount(0)


class AnchorAction(msgspec.Struct, frozen=True):
    """Write the transparency log's 32-byte `root` and its tree `size` to the chain."""

    purpose: ClassVar[Purpose] = Purpose.ANCHOR
    root: bytes
    size: int


class CloseAction(msgspec.Struct, frozen=True):
    """Bring in what a spent lock leaves behind. It uses no sequence of the account; `NothingToDoError` once
    all is in."""

    purpose: ClassVar[Purpose] = Purpose.CLOSE
    terms: LockTerms


class CancelAction(msgspec.Struct, frozen=True):
    """Transfer nothing (or the least possible) from the account to itself, which only uses up the sequence it
    is prepared with, so that what was signed with it can never land."""

    purpose: ClassVar[Purpose] = Purpose.CANCEL


SwapAction = LockAction | ClaimAction | RefundAction | CooperativeRefundAction
"""Made again from the swap each time: a secret may be part of it."""

AccountAction = ApproveAction | AnchorAction | CloseAction | CancelAction
"""Belongs to the account and is stored as it is."""

Action = SwapAction | AccountAction


def action_of(purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None) -> SwapAction:
    """Return what to do with one lock. Raises `ActionRefusedError` for a claim without its preimage, and for
    purposes that are nothing to do with one lock."""
    match purpose:
        case Purpose.LOCK:
            return LockAction(terms)
        case Purpose.CLAIM:
            if preimage is None:
                raise ActionRefusedError(
                    "a claim needs the preimage of its lock", "use the swap's own preimage"
                )
            return ClaimAction(terms, preimage)
        case Purpose.REFUND:
            return RefundAction(terms)
        case Purpose.COOPERATIVE_REFUND:
            return CooperativeRefundAction(terms)
    raise ActionRefusedError(f"{purpose.value} is nothing to do with a lock", "lock, claim or refund it")
