"""From a call to signed bytes: funds, simulation, gas, fees, signature. Nothing here sends anything."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from bridge.protocol.types import Asset, Purpose
from relayers.ethereum import artifacts, erc20, fees
from relayers.ethereum.messages import Message
from relayers.ethereum.rpc import Call, Rpc, RpcError, quantity
from relayers.port import ActionRefused, FeeLevel, InsufficientFunds, PortUnavailable, SignedTx

_GAS_MARGIN = (5, 4)
"""Of the estimate: state may differ a little when the transaction runs. Unused gas is not paid."""

_REVERTED = 3
"""JSON-RPC error code of an execution that reverted (go-ethereum, followed by the others)."""


class Spending(msgspec.Struct, frozen=True):
    """A token that a message takes from our account, and how much of it."""

    asset: Asset
    amount: int


class Builder:
    """Prices, simulates and signs for one account on one chain."""

    def __init__(self, rpc: Rpc, signer: LocalAccount, chain_id: int, caps: fees.FeeCaps) -> None:
        self._rpc = rpc
        self._signer = signer
        self._chain_id = chain_id
        self._caps = caps

    async def build(
        self, message: Message, spending: Spending | None, purpose: Purpose, sequence: int, level: FeeLevel
    ) -> SignedTx:
        """Return the signed EIP-1559 transaction of `message`.

        Raises `InsufficientFunds` if ether or token do not suffice, `ActionRefused` if the call would revert
        on the newest state, `PortUnavailable` if fees are over our cap.
        """
        account = self._signer.address
        request = {"from": account, "to": message.to, "data": message.data, "value": hex(message.value)}
        calls = [
            fees.market_call(),
            Call("eth_getBalance", (account, "latest")),
            Call("eth_call", (request, "latest")),
            Call("eth_estimateGas", (request, "latest")),
        ]
        if spending is not None:
            token = {"to": spending.asset.contract, "data": erc20.balance_of(account)}
            calls.append(Call("eth_call", (token, "latest")))
        history, balance, simulated, estimate, *held = await self._rpc.batch(calls)

        if spending is not None:
            have = quantity(_sound(held[0]))
            if have < spending.amount:
                raise _short(spending.asset.symbol, have, spending.amount)
        wei = quantity(_sound(balance))
        if wei < message.value:
            raise _short("wei", wei, message.value)
        for result in (simulated, estimate):
            if isinstance(result, RpcError):
                raise _refusal(result, purpose)

        offer = fees.bid(fees.read_market(_sound(history)), level, purpose, self._caps)
        units = quantity(estimate) * _GAS_MARGIN[0] // _GAS_MARGIN[1]
        max_cost = units * offer.max_fee
        if wei < message.value + max_cost:
            raise _short("wei", wei, message.value + max_cost)
        return self._sign(message, offer, units, sequence)

    def _sign(self, message: Message, offer: fees.Bid, units: int, sequence: int) -> SignedTx:
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": sequence,
            "to": message.to,
            "data": message.data,
            "value": message.value,
            "gas": units,
            "maxFeePerGas": offer.max_fee,
            "maxPriorityFeePerGas": offer.priority,
        }
        signed = self._signer.sign_transaction(fields)
        return SignedTx(
            tx_id="0x" + bytes(signed.hash).hex(),
            raw=bytes(signed.raw_transaction),
            account=self._signer.address,
            sequence=sequence,
            fee={"max_fee": offer.max_fee, "priority": offer.priority, "gas": units},
            max_cost=units * offer.max_fee,
        )


def _sound(result: Any) -> Any:
    if isinstance(result, RpcError):
        raise PortUnavailable(
            f"the Ethereum RPC failed: {result.message}", "use a complete, synchronised node"
        )
    return result


def _short(unit: str, have: int, need: int) -> InsufficientFunds:
    return InsufficientFunds(
        f"the bridge's Ethereum account has {have} {unit} and needs {need}", "send funds to the account"
    )


def _refusal(error: RpcError, purpose: Purpose) -> Exception:
    if error.code == _REVERTED or "revert" in error.message.lower():
        reason = _revert_reason(error.data) or error.message
        return ActionRefused(
            f"Ethereum would refuse this {purpose}: {reason}", "read the lock back from chain"
        )
    if "insufficient funds" in error.message.lower():
        return InsufficientFunds(error.message, "send ether to the bridge's account")
    return PortUnavailable(f"the Ethereum RPC could not simulate: {error.message}", "it is retried")


@cache
def _error_names() -> dict[bytes, str]:
    """The contract's own errors by selector (none of them has arguments)."""
    names = [entry["name"] for entry in artifacts.load().abi if entry["type"] == "error"]
    return {keccak(f"{name}()".encode())[:4]: name for name in names}


def _revert_reason(data: Any) -> str:
    """Return what revert data says: an error of the contract or a token's Error(string), "" if neither."""
    if not isinstance(data, str) or not data.startswith("0x"):
        return ""
    raw = bytes.fromhex(data[2:])
    if raw[:4] == b"\x08\xc3\x79\xa0":
        try:
            return str(decode(["string"], raw[4:])[0])
        except DecodingError:
            return ""
    return _error_names().get(raw[:4], "")
