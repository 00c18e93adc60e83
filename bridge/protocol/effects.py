"""What a swap wants done. Effects are levels, not edges: asking twice for the same one is harmless.

The engine stores each `Send…` as one intent row per (swap, leg, purpose, lock) before anything is signed. An
intent whose effect is no longer among the required ones must not be signed or broadcast again.

`lock_id` names the lock to act on: "" is the leg's own, anything else one of its strays;
`Leg.lock_terms(lock_id)` gives the terms either way.
"""

from __future__ import annotations

import msgspec

from bridge.protocol.types import LegRole, LockId, SwapState


class SendLock(msgspec.Struct, frozen=True, tag=True):
    """Lock the destination with the leg's terms (invariant 1 is checked again when signing and sending)."""

    leg: LegRole = LegRole.DESTINATION


class SendClaim(msgspec.Struct, frozen=True, tag=True):
    """Claim the leg with the known preimage: the source for the bridge, the destination for the user."""

    leg: LegRole


class SendRefund(msgspec.Struct, frozen=True, tag=True):
    """Refund the leg to its sender after its deadline."""

    leg: LegRole
    lock_id: LockId = LockId("")


class SendCooperativeRefund(msgspec.Struct, frozen=True, tag=True):
    """Give the source back to the user before its deadline, signed by the bridge as recipient."""

    leg: LegRole = LegRole.SOURCE
    lock_id: LockId = LockId("")


class CancelLock(msgspec.Struct, frozen=True, tag=True):
    """The destination must not be locked any more.

    Drop the intent if nothing was signed, else make the signed transaction impossible (use its nonce) or
    wait until it cannot land; then report `TxFailed(DESTINATION, LOCK)`. If it lands, `LockSeen` says so.
    """

    leg: LegRole = LegRole.DESTINATION


class ReleaseInventory(msgspec.Struct, frozen=True, tag=True):
    """The swap no longer needs its reservation (idempotent)."""


class Notify(msgspec.Struct, frozen=True, tag=True):
    """Tell the watchers of the swap that its public status changed."""

    state: SwapState
    detail: str = ""


class AppendReceipt(msgspec.Struct, frozen=True, tag=True):
    """The swap ended: its receipt goes into the transparency log."""

    state: SwapState


Effect = (
    SendLock
    | SendClaim
    | SendRefund
    | SendCooperativeRefund
    | CancelLock
    | ReleaseInventory
    | Notify
    | AppendReceipt
)
