"""What a user's wallet signs, with approvals as the token's contract stands now."""

from __future__ import annotations

from bridge.chains.port import UnsignedTx
from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.evm.adapter import EvmPort


class EvmWalletBuilder:
    """See `WalletBuilder`: a lock of a token comes with the approvals that its sender still lacks."""

    private: frozenset[Purpose] = frozenset()

    def __init__(self, port: EvmPort) -> None:
        self._port = port

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """See `WalletBuilder.unsigned`."""
        if purpose is not Purpose.LOCK or not terms.asset.contract:
            return self._port.unsigned(purpose, terms, preimage)
        return self._port.unsigned_lock(terms, await self._port.allowance(terms.asset, terms.sender))

    async def close(self) -> None:
        """Close the port's connections."""
        await self._port.close()
