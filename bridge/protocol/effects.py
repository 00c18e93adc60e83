"""What a swap wants done. Effects are levels, not edges: asking twice for the same one is harmless.

The engine stores each `Send…` as one intent row per (swap, leg, purpose) before anything is signed.
"""

from __future__ import annotations

import msgspec

from bridge.protocol.types import LegRole, SwapState


class SendLock(msgspec.Struct, frozen=True, tag=True):
    """Lock the destination with the leg's terms (invariant 1 is checked again when signing and sending)."""

    leg: LegRole = LegRole.DESTINATION


class SendClaim(msgspec.Struct, frozen=True, tag=True):
    """Claim the leg with the known preimage: the source for the bridge, the destination for the user."""

    leg: LegRole


class SendRefund(msgspec.Struct, frozen=True, tag=True):
    """Refund the leg to its sender after its deadline."""

    leg: LegRole


class SendCooperativeRefund(msgspec.Struct, frozen=True, tag=True):
    """Give the source back to the user before its deadline, signed by the bridge as recipient."""

    leg: LegRole = LegRole.SOURCE


class CancelLock(msgspec.Struct, frozen=True, tag=True):
    """The destination must not be locked any more; drop the intent if it was not signed yet."""

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
