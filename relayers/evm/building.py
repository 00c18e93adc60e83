"""From a call to signed bytes: funds, simulation, gas, fees, signature. Nothing here sends anything."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from bridge.chains.errors import ActionRefusedError, InsufficientFundsError, PortUnavailableError
from bridge.chains.port import FeeLevel, SignedTx
from bridge.protocol.types import Address, Amount, Asset, BlockHeight, Purpose, TxId
from relayers.evm import access, artifacts, erc20, fees
from relayers.evm.data_fees import HEADROOM, Ask, data_fees
from relayers.evm.messages import Message
from relayers.evm.rpc import Call, Rpc, RpcError, quantity, sound
from relayers.evm.settings import EvmSettings
from relayers.evm.transactions import ATTEMPT

_GAS_MARGIN = (5, 4)
"""Of the estimate: state may differ a little when the transaction runs. Unused gas is not paid."""

_REVERTED = 3
"""JSON-RPC error code of an execution that reverted (go-ethereum, followed by the others)."""


class RevertedError(ActionRefusedError):
    """The simulation reverted; `error` is the contract's own name for why, "" if it gave none."""

    def __init__(self, message: str, hint: str, error: str) -> None:
        super().__init__(message, hint)
        self.error = error


class Spending(msgspec.Struct, frozen=True):
    """A token that a message takes from our account, and how much of it."""

    asset: Asset
    amount: int


class Priced(msgspec.Struct, frozen=True):
    """What a message that was simulated will be sent with.

    `expected` is the gas it should use, `limit` the most it may; `price` is wei per gas in the next block at
    this bid, `bid` the most it may become. `data_fee`: wei that a rollup charges for its bytes, beside that.
    `height` is the head's at that time, `attempt` how often it was outbid before.
    """

    bid: fees.Bid
    expected: int
    limit: int
    price: int
    access_list: tuple[access.Entry, ...] = ()
    data_fee: int = 0
    height: BlockHeight = BlockHeight(0)
    attempt: int = 0

    @property
    def expected_cost(self) -> int:
        """The wei it should cost if the next block takes it."""
        return self.expected * self.price + self.data_fee

    @property
    def max_cost(self) -> int:
        """The most wei it can cost, beside what it sends along."""
        return self.limit * self.bid.max_fee + HEADROOM * self.data_fee


def _with_margin(gas: int) -> int:
    return gas * _GAS_MARGIN[0] // _GAS_MARGIN[1]


class Builder:
    """Prices, simulates and signs for one account on one chain."""

    def __init__(self, rpc: Rpc, signer: LocalAccount, settings: EvmSettings) -> None:
        self._rpc = rpc
        self._signer = signer
        self._settings = settings

    async def price(
        self,
        message: Message,
        spending: Spending | None,
        purpose: Purpose,
        level: FeeLevel,
        *,
        list_may_pay: bool = False,
        most: int | None = None,
    ) -> Priced:
        """Simulate `message` on the newest state and say what to bid for it, with an access list where that
        makes it cheaper (`list_may_pay`: it is worth asking for one). What needs more than `most` gas is
        refused.

        Raises `InsufficientFundsError` if ether or token do not suffice, `ActionRefusedError` if the call
        would revert on the newest state, `PortUnavailableError` if fees are over our cap.
        """
        account = self._signer.address
        request = {"from": account, "to": message.to, "data": message.data, "value": hex(message.value)}
        calls = [
            fees.market_call(),
            Call("eth_getBalance", (account, "latest")),
            Call("eth_call", (request, "latest")),
            Call("eth_estimateGas", (request, "latest")),
            Call("eth_blockNumber"),
        ]
        if spending is not None:
            token = {"to": spending.asset.contract, "data": erc20.balance_of(account)}
            calls.append(Call("eth_call", (token, "latest")))
        if list_may_pay:
            calls.append(access.proposal_call(request))
        history, balance, simulated, estimate, head, *others = await self._rpc.batch(calls)

        if spending is not None:
            have = quantity(sound(others[0]))
            if have < spending.amount:
                raise self._short(spending.asset.symbol, have, spending.amount)
        wei = quantity(sound(balance))
        if wei < message.value:
            raise self._short("wei", wei, message.value)
        for result in (simulated, estimate):
            if isinstance(result, RpcError):
                raise _refusal(result, purpose)

        market = fees.read_market(sound(history))
        bid = fees.bid(market, level, purpose, self._settings.caps)
        expected = quantity(estimate)
        model = self._settings.fee_model
        (charged,) = await data_fees(self._rpc, model, [Ask(message, _with_margin(expected))])
        executed = expected - charged.gas
        if most is not None and executed > most:
            raise ActionRefusedError(
                f"this {purpose} would use {executed} gas, over the limit of {most} for paying somebody else",
                "the contract that is paid runs code of its own: let its owner send the transaction",
            )
        listed = access.worthwhile(others[-1], account, message.to) if list_may_pay else ()
        # Were every entry wrong, the list would only cost; the transaction must not fail for that.
        worst = expected + sum(entry.cost for entry in listed)
        priced = Priced(
            bid=bid,
            expected=expected,
            # The parent chain's price may rise before the next block, and with it the gas for the data.
            limit=max(_with_margin(expected), worst) + (HEADROOM - 1) * charged.gas,
            price=min(bid.max_fee, market.base_fee + bid.priority),
            access_list=listed,
            data_fee=charged.wei,
            height=BlockHeight(quantity(sound(head))),
            attempt=level.attempt,
        )
        if wei < message.value + priced.max_cost:
            raise self._short("wei", wei, message.value + priced.max_cost)
        return priced

    def sign(self, message: Message, priced: Priced, sequence: int) -> SignedTx:
        """Return the signed EIP-1559 transaction of a message as `price` gave it (or one like it)."""
        bid = priced.bid
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": self._settings.chain_id,
            "nonce": sequence,
            "to": message.to,
            "data": message.data,
            "value": message.value,
            "gas": priced.limit,
            "maxFeePerGas": bid.max_fee,
            "maxPriorityFeePerGas": bid.priority,
            "accessList": [entry.to_rpc() for entry in priced.access_list],
        }
        signed = self._signer.sign_transaction(fields)
        return SignedTx(
            tx_id=TxId("0x" + bytes(signed.hash).hex()),
            raw=bytes(signed.raw_transaction),
            account=Address(self._signer.address),
            sequence=sequence,
            fee={
                "max_fee": bid.max_fee,
                "priority": bid.priority,
                "gas": priced.limit,
                **({ATTEMPT: priced.attempt} if priced.attempt else {}),
            },
            max_cost=Amount(priced.max_cost),
            signed_height=priced.height,
        )

    def _short(self, unit: str, have: int, need: int) -> InsufficientFundsError:
        return InsufficientFundsError(
            f"the bridge's account {self._signer.address} on {self._settings.chain} has {have} {unit} and "
            f"needs {need}",
            "send funds to the account",
        )


def _refusal(error: RpcError, purpose: Purpose) -> Exception:
    if error.code == _REVERTED or "revert" in error.message.lower():
        reason = _revert_reason(error.data)
        return RevertedError(
            f"the HTLC contract or the token would refuse this {purpose}: {reason or error.message}",
            "read the lock back from chain",
            reason,
        )
    if "insufficient funds" in error.message.lower():
        return InsufficientFundsError(error.message, "send native coins to the bridge's account")
    return PortUnavailableError(f"the RPC could not simulate: {error.message}", "it is retried")


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
