"""What the commands for swaps share: finding recovery files, opening wallets, showing transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.commands.user import SWAP_ID_LENGTH, user_key
from bridge.protocol.types import ChainId, SwapId

if TYPE_CHECKING:
    from bridge.chains.port import UnsignedTx
    from bridge.client.recovery import RecoveryRecord
    from bridge.client.swap import UserWallet


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


@asynccontextmanager
async def user_wallet(
    config: Path | None, chain: ChainId, keystore: Path, password_file: Path | None
) -> AsyncIterator[UserWallet]:
    """Open a user's own account on a chain, as a keystore has it. Raises `KeystoreError`."""
    from bridge import config as configuration
    from bridge.client.swap import UserWallet
    from bridge.wiring.ports import open_port

    settings = configuration.load(config)
    port = open_port(settings, chain, user_key(settings, keystore, password_file))
    try:
        yield UserWallet(port)
    finally:
        await port.close()


def tx_fields(unsigned: UnsignedTx) -> dict[str, Any]:
    """Return what a wallet needs of a transaction."""
    return {"format": unsigned.format, "summary": unsigned.summary, "payload": unsigned.payload}


def pretty(value: Any) -> str:
    """Return JSON for people to copy; square brackets are not markup."""
    return msgspec.json.format(msgspec.json.encode(value)).decode().replace("[", "\\[")
