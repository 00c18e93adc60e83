"""What the commands for swaps share: finding recovery files, and showing transactions to sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.commands.user import SWAP_ID_LENGTH
from bridge.protocol.types import SwapId

if TYPE_CHECKING:
    from bridge.chains.port import UnsignedTx
    from bridge.client.recovery import RecoveryRecord


def find_record(recovery_dir: Path, swap: str) -> RecoveryRecord:
    """Return the recovery file of a swap, given the beginning of its id. Raises `RecoveryError`."""
    from bridge.client.recovery import RecoveryDir

    return RecoveryDir(recovery_dir).find(swap)


def find_swap_id(recovery_dir: Path, swap: str) -> SwapId:
    """Return a swap's id: what was given if it is a whole one, else what a recovery file says. Raises
    `RecoveryError`, also for a swap that the bridge has not accepted yet."""
    if len(swap) == SWAP_ID_LENGTH:
        return SwapId(swap)
    found = find_record(recovery_dir, swap).swap_id
    if not found:
        from bridge.client.recovery import RecoveryError

        raise RecoveryError(
            f"the bridge has not accepted the swap of {swap!r} yet", "`rainbow swap recover` places it"
        )
    return found


def tx_fields(unsigned: UnsignedTx) -> dict[str, Any]:
    """Return what a wallet needs of a transaction."""
    return {"format": unsigned.format, "summary": unsigned.summary, "payload": unsigned.payload}


def pretty(value: Any) -> str:
    """Return JSON for people to copy; square brackets are not markup."""
    return msgspec.json.format(msgspec.json.encode(value)).decode().replace("[", "\\[")
