"""Who can be paid: asked before anything is locked, since a lock that cannot be claimed helps nobody."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bridge.chains.errors import CannotReceiveError
from bridge.protocol.types import Address, Asset
from relayers.evm import erc20, gas
from relayers.evm.rpc import Call, Rpc, RpcError, quantity

_RESERVED = 0xFFFF
"""Addresses up to here are precompiles or kept for them (EIP-1352)."""

_HINT = "give an address that you hold the key of, or a smart wallet that accepts payments"
_PLENTY = hex(10**24)


class Receivers:
    """Tells for one port whether an address can be paid what `contract` holds."""

    def __init__(self, rpc: Rpc, contract: Address, account: Address, assets: Collection[Asset]) -> None:
        self._rpc = rpc
        self._contract = contract
        self._account = account
        self._ours = {asset.contract.lower(): asset.symbol for asset in assets if asset.contract}

    async def check(self, address: Address, asset: Asset) -> None:
        """Raise `CannotReceiveError` for an address that a claim could not pay, or whose coins nobody could
        use: a precompile, the HTLC contract, a token; a contract that refuses the coin, or takes more gas for
        it than a claim is sent with; a holder that the token refuses."""
        if int(address, 16) <= _RESERVED:
            raise CannotReceiveError(f"{address} is a precompile's address", _HINT)
        if address == self._contract:
            raise CannotReceiveError(f"{address} is the HTLC contract itself", _HINT)
        token = self._ours.get(address.lower())
        if token is not None or address.lower() == asset.contract.lower():
            raise CannotReceiveError(f"{address} is the token {token or asset.symbol}", _HINT)
        if asset.contract:
            await self._takes_token(address, asset)
        else:
            await self._takes_coin(address)

    async def _takes_coin(self, address: Address) -> None:
        """Let the HTLC contract, given a balance for the moment, pay the address one wei."""
        payment: dict[str, Any] = {
            "from": self._contract,
            "to": address,
            "value": "0x1",
            "gas": hex(gas.PAYMENT_LIMIT),
            "gasPrice": "0x0",
        }
        rich = {self._contract: {"balance": _PLENTY}}
        code, paid, plain = await self._rpc.batch(
            [
                Call("eth_getCode", (address, "latest")),
                Call("eth_call", (payment, "latest", rich)),
                # For nodes that take no third argument.
                Call("eth_call", ({**payment, "from": self._account}, "latest")),
            ]
        )
        if code == "0x":
            return
        if isinstance(paid, RpcError) and isinstance(plain, RpcError):
            raise CannotReceiveError(f"the contract at {address} refuses payments: {paid.message}", _HINT)

    async def _takes_token(self, address: Address, asset: Asset) -> None:
        """Let the HTLC contract, or our account, send it the least amount, and send that to a stranger too:
        what refuses both says nothing about this address."""

        def transfer(sender: str, to: str) -> Call:
            request = {"from": sender, "to": asset.contract, "data": erc20.transfer(to, 1), "gasPrice": "0x0"}
            return Call("eth_call", (request, "latest"))

        calls = [
            transfer(sender, to) for sender in (self._contract, self._account) for to in (address, _STRANGER)
        ]
        results = await self._rpc.batch(calls)
        for theirs, strangers in (results[:2], results[2:]):
            if _moved(strangers) and not _moved(theirs):
                raise CannotReceiveError(
                    f"{asset.symbol} cannot be sent to {address}: the token refuses it", _HINT
                )


_STRANGER = Address("0x" + "5a" * 20)
"""An address without code that no token has reason to refuse."""


def _moved(result: Any) -> bool:
    """Tell whether a transfer succeeded: it did not revert and answered nothing, or true."""
    if isinstance(result, RpcError) or not isinstance(result, str):
        return False
    return result == "0x" or quantity(result) == 1
