"""A user's Ethereum wallet: signs what the bridge's API hands out, with a key the bridge never sees."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from eth_account import Account

from bridge.protocol.types import Asset
from relayers.ethereum import erc20
from relayers.ethereum.messages import WALLET_FORMAT
from relayers.ethereum.rpc import Call, Rpc, RpcError, quantity
from relayers.port import ActionRefused, PortUnavailable, UnsignedTx

RECEIPT_POLL_SECONDS = 0.2
_PRIORITY_FEE = 10**9
"""Wei per gas for the block's maker: what wallets commonly offer."""


class EthereumWallet:
    """One account of one user; bound to the event loop that first uses it."""

    def __init__(self, rpc_url: str, key: bytes, timeout: float = 30.0) -> None:
        self._account = Account.from_key(key)
        self._rpc = Rpc([rpc_url], timeout)
        self._sending = asyncio.Lock()
        self.address: str = self._account.address

    def __repr__(self) -> str:
        return f"EthereumWallet({self.address})"

    async def balance(self, asset: Asset) -> int:
        """Return the balance in smallest units."""
        return await self.balance_of(self.address, asset)

    async def balance_of(self, address: str, asset: Asset) -> int:
        """Return anybody's balance in smallest units."""
        if asset.contract:
            call = {"to": asset.contract, "data": erc20.balance_of(address)}
            return quantity(await self._rpc.call("eth_call", call, "latest"))
        return quantity(await self._rpc.call("eth_getBalance", address, "latest"))

    async def send(self, tx: UnsignedTx) -> list[str]:
        """Sign and send the transactions in order; return their ids once all are accepted by the node.

        Raises `ActionRefused` when the node refuses one, or when it is for another sender.
        """
        if tx.format != WALLET_FORMAT:
            raise ActionRefused(f"an Ethereum wallet cannot sign {tx.format}", "use the other chain's wallet")
        async with self._sending:
            nonce = quantity(await self._rpc.call("eth_getTransactionCount", self.address, "pending"))
            head = await self._rpc.call("eth_getBlockByNumber", "latest", False)
            max_fee = 2 * quantity(head["baseFeePerGas"]) + _PRIORITY_FEE
            sent = []
            for offset, fields in enumerate(tx.payload["transactions"]):
                sent.append(await self._send_one(fields, nonce + offset, max_fee))
            return sent

    async def included(self, tx_id: str) -> bool:
        """Wait until a transaction is in a block; return whether it succeeded."""
        while True:
            receipt = await self.receipt(tx_id)
            if receipt is not None:
                return quantity(receipt["status"]) == 1
            await asyncio.sleep(RECEIPT_POLL_SECONDS)

    async def receipt(self, tx_id: str) -> Mapping[str, Any] | None:
        """Return the receipt, None while there is none."""
        found: Mapping[str, Any] | None = await self._rpc.call("eth_getTransactionReceipt", tx_id)
        return found

    async def confirmations(self, tx_id: str) -> int:
        """Return the blocks from the transaction's to the head, both included; 0 if it is in none."""
        receipt = await self.receipt(tx_id)
        if receipt is None:
            return 0
        return quantity(await self._rpc.call("eth_blockNumber")) - quantity(receipt["blockNumber"]) + 1

    async def fees_paid(self, payers: set[str], first_height: int) -> int:
        """Return the wei that these accounts paid for gas from a height on, read from the receipts."""
        head = quantity(await self._rpc.call("eth_blockNumber"))
        calls = [
            Call("eth_getBlockReceipts", (hex(height),)) for height in range(max(first_height, 1), head + 1)
        ]
        total = 0
        wanted = {payer.lower() for payer in payers}
        for receipts in await self._rpc.all(*calls):
            for receipt in receipts or ():
                if receipt["from"].lower() in wanted:
                    total += quantity(receipt["gasUsed"]) * quantity(receipt["effectiveGasPrice"])
        return total

    async def height(self) -> int:
        """Return the head's height."""
        return quantity(await self._rpc.call("eth_blockNumber"))

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    async def _send_one(self, fields: Mapping[str, Any], nonce: int, max_fee: int) -> str:
        if fields.get("from", self.address) != self.address:
            raise ActionRefused(f"only {fields['from']} can send this", "use that account's wallet")
        signed = self._account.sign_transaction(
            {
                **{name: value for name, value in fields.items() if name != "from"},
                "nonce": nonce,
                "maxFeePerGas": max_fee,
                "maxPriorityFeePerGas": _PRIORITY_FEE,
            }
        )
        try:
            result = await self._rpc.call("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
        except RpcError as error:
            raise ActionRefused(f"the node refuses the transaction: {error.message}", "look at it") from None
        if not isinstance(result, str):
            raise PortUnavailable("the node did not say the transaction's id", "try again")
        return result
