"""What must be true of a token before it is swapped: its decimals, and our approval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.chains.actions import ApproveAction
from bridge.chains.errors import PortError
from bridge.protocol.types import Amount, Asset
from relayers.evm import erc20
from relayers.evm.rpc import Call, Rpc, RpcError, quantity


class Tokens:
    """The tokens of one port: `account` locks them in `contract`."""

    def __init__(self, rpc: Rpc, account: str, contract: str) -> None:
        self._rpc = rpc
        self._account = account
        self._contract = contract
        self._checked: set[Asset] = set()

    async def check(self, *assets: Asset) -> None:
        """Compare the decimals of tokens with their contracts', each once.

        Raises `PortError` for one that says otherwise. `decimals()` is optional (EIP-20): of a token without
        it the configuration is believed.
        """
        fresh = [asset for asset in assets if asset.contract and asset not in self._checked]
        if not fresh:
            return
        calls = [
            call
            for asset in fresh
            for call in (
                Call("eth_getCode", (asset.contract, "latest")),
                Call("eth_call", ({"to": asset.contract, "data": erc20.DECIMALS}, "latest")),
            )
        ]
        results = await self._rpc.batch(calls)
        for asset, code, said in zip(fresh, results[::2], results[1::2], strict=True):
            name = f"{asset.symbol} at {asset.contract}"
            if code == "0x":
                raise PortError(f"{name} is not a contract", "correct the asset's contract")
            decimals = _decimals(said)
            if decimals is not None and decimals != asset.decimals:
                raise PortError(
                    f"{name} has {decimals} decimals, the configuration says {asset.decimals}",
                    "correct the asset's decimals: amounts would be wrong by powers of ten",
                )
            self._checked.add(asset)

    async def approvals(self, assets: Sequence[Asset]) -> tuple[ApproveAction, ...]:
        """Return the approvals still missing. `payload` of an APPROVE is the token's address (20 bytes).

        An allowance that is neither enough nor zero is first set to zero: tokens like USDT insist on it.
        """
        tokens = [asset for asset in assets if asset.contract]
        await self.check(*tokens)
        actions: list[ApproveAction] = []
        for token, granted in zip(tokens, await self.allowances(tokens, self._account), strict=True):
            if granted >= erc20.ENOUGH_ALLOWANCE:
                continue
            payload = bytes.fromhex(token.contract[2:])
            if granted:
                actions.append(ApproveAction(payload, Amount(0)))
            actions.append(ApproveAction(payload, Amount(erc20.MAX_ALLOWANCE)))
        return tuple(actions)

    async def allowances(self, tokens: Sequence[Asset], owner: str) -> list[int]:
        """Return how much of each token the contract may take from `owner`. Raises `PortError`."""
        calls = [
            Call(
                "eth_call", ({"to": token.contract, "data": erc20.allowance(owner, self._contract)}, "latest")
            )
            for token in tokens
        ]
        granted: list[int] = []
        for token, result in zip(tokens, await self._rpc.batch(calls), strict=True):
            if isinstance(result, RpcError) or result == "0x":
                raise PortError(
                    f"{token.symbol} at {token.contract} is not an ERC-20", "check the asset's contract"
                )
            granted.append(quantity(result))
        return granted


def _decimals(answer: Any) -> int | None:
    """Return what a token says, None if it says nothing that could be decimals."""
    if not isinstance(answer, str) or len(answer) != 2 + 64:
        return None
    value = quantity(answer)
    return value if value <= 255 else None
