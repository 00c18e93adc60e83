"""A wallet builder for chains where a lock's terms alone say what to sign."""

from __future__ import annotations

from bridge.chains.port import ChainPort, UnsignedTx
from bridge.protocol.types import LockTerms, Preimage, Purpose


class PureWalletBuilder:
    """Makes transactions with the port's own pure `unsigned`; see `WalletBuilder`."""

    private: frozenset[Purpose] = frozenset()

    def __init__(self, port: ChainPort) -> None:
        self._port = port

    async def unsigned(
        self, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> UnsignedTx:
        """See `WalletBuilder.unsigned`."""
        return self._port.unsigned(purpose, terms, preimage)

    async def close(self) -> None:
        """Close the port's connections."""
        await self._port.close()
