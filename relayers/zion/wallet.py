"""A user's ZION wallet: signs what the bridge's API hands out, with a key the bridge never sees."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from bridge.protocol.types import Asset
from chain.api import TxStatus
from chain.client import ZionClient
from chain.errors import NodeUnreachableError, RpcError
from chain.keys import Key
from chain.wallet import sign
from relayers.port import ActionRefused, PortUnavailable, UnsignedTx
from relayers.zion.htlc import WALLET_FORMAT, from_payload

INCLUSION_POLL_SECONDS = 0.2

T = TypeVar("T")


class ZionWallet:
    """One account of one user; bound to the event loop that first uses it."""

    def __init__(self, rpc_url: str, secret: bytes, timeout: float = 30.0) -> None:
        self._key = Key.from_secret(secret)
        self._client = ZionClient(rpc_url, timeout=timeout)
        self._sending = asyncio.Lock()
        self.address = self._key.address

    def __repr__(self) -> str:
        return f"ZionWallet({self.address})"

    async def balance(self, asset: Asset) -> int:
        """Return the balance in smallest units."""
        return await self.balance_of(self.address, asset)

    async def balance_of(self, address: str, asset: Asset) -> int:
        """Return anybody's balance in smallest units; ZION has one asset."""
        if asset.contract:
            raise ActionRefused(f"{asset.key} is no asset of ZION", "ask for zion:ZION")
        return await _asked(self._client.get_balance(address))

    async def locked(self) -> int:
        """Return what lies in all open locks of the chain, smallest units."""
        return (await _asked(self._client.get_info())).locked

    async def send(self, tx: UnsignedTx) -> list[str]:
        """Sign and send; return the transaction's id. Raises `ActionRefused` when the node refuses it."""
        if tx.format != WALLET_FORMAT:
            raise ActionRefused(f"a ZION wallet cannot sign {tx.format}", "use the other chain's wallet")
        if tx.payload.get("sender", self.address) != self.address:
            raise ActionRefused(f"only {tx.payload['sender']} can send this", "use that account's wallet")
        async with self._sending:
            account = await _asked(self._client.get_account(self.address))
            body = from_payload(tx.payload, sender=self._key.key_hash, nonce=account.pending_nonce)
            signed = sign(self._key, body, body.witness.aux)
            try:
                return [(await _asked(self._client.submit(signed))).txid]
            except RpcError as error:
                raise ActionRefused(f"the node refuses the transaction: {error}", "look at it") from None

    async def included(self, tx_id: str) -> bool:
        """Wait until a transaction is in a block: on ZION it has then succeeded."""
        while (await _asked(self._client.get_transaction(tx_id))).status is not TxStatus.INCLUDED:
            await asyncio.sleep(INCLUSION_POLL_SECONDS)
        return True

    async def confirmations(self, tx_id: str) -> int:
        """Return the blocks from the transaction's to the head, both included; 0 if it is in none."""
        return (await _asked(self._client.get_transaction(tx_id))).confirmations

    async def fees_paid(self, payers: set[str], first_height: int) -> int:
        """Return the fees that these accounts paid from a height on, read from the blocks."""
        head = await self.height()
        total = 0
        for height in range(max(first_height, 1), head + 1):
            block = await _asked(self._client.get_block(height))
            total += sum(tx.fee for tx in block.transactions if tx.sender in payers)
        return total

    async def height(self) -> int:
        """Return the head's height."""
        return (await _asked(self._client.get_info())).height

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def _asked(answer: Awaitable[T]) -> T:
    """Wait for the node's answer. Raises `PortUnavailable` while the node is down."""
    try:
        return await answer
    except NodeUnreachableError as error:
        raise PortUnavailable(str(error), "is the node running?") from None
