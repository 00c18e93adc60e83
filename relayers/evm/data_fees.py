"""What rollups charge for a transaction's bytes on their parent chain, beside the gas of running it.

OP stack: the GasPriceOracle predeploy says what a transaction would be charged, in wei, outside the gas
(`getL1Fee`, and since Isthmus `getOperatorFee`); source: ethereum-optimism/optimism,
packages/contracts-bedrock/src/L2/GasPriceOracle.sol. The transaction sets no limit to it: the price is that
of the block that takes it.

Arbitrum: the fee is paid as gas, and the node's gas estimates include it; the virtual contract NodeInterface
says how much of an estimate it is (`gasEstimateL1Component`); source: OffchainLabs/nitro-contracts,
src/node-interface/NodeInterface.sol.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from eth_abi.abi import encode
from eth_hash.auto import keccak

from bridge.chains.errors import PortUnavailableError
from relayers.evm.messages import Message
from relayers.evm.profiles import FeeModel
from relayers.evm.rpc import Call, Calls, RpcError

GAS_PRICE_ORACLE = "0x420000000000000000000000000000000000000F"
NODE_INTERFACE = "0x00000000000000000000000000000000000000C8"

HEADROOM = 2
"""Times today's fee is what we set aside: the parent chain's base fee and blob fee grow by 1/8 per block at
most, so that twice the fee lasts for five full blocks; our estimate of the bytes is within some per cent."""

_ENVELOPE_BYTES = 96
"""What an unsigned EIP-1559 transaction has beside its calldata: at most 3 + 5 (chain id) + 5 (nonce) + 9 + 9
(fees) + 5 (gas) + 21 (to) + 13 (value) + 4 (access list) + 4 bytes, rounded up. The oracle adds the
signature's 68."""

_ENVELOPE = b"".join(keccak(bytes([index])) for index in range(_ENVELOPE_BYTES // 32))
"""Bytes that do not compress, as signatures and numbers do not."""

_L1_FEE = keccak(b"getL1Fee(bytes)")[:4]
_OPERATOR_FEE = keccak(b"getOperatorFee(uint256)")[:4]
_L1_GAS = keccak(b"gasEstimateL1Component(address,bool,bytes)")[:4]


class DataFee(msgspec.Struct, frozen=True):
    """A transaction's fee for its bytes: `wei` beside the gas, and `gas` that a node's estimate includes."""

    wei: int = 0
    gas: int = 0


class Ask(msgspec.Struct, frozen=True):
    """A message and the gas that its execution is expected to use."""

    message: Message
    units: int


async def data_fees(rpc: Calls, model: FeeModel, asks: Sequence[Ask]) -> list[DataFee]:
    """Return what these transactions would be charged for their bytes in the next block.

    Nothing is asked of a network that charges only gas. Raises `PortUnavailableError` when the network does
    not answer as `model` says it should.
    """
    match model:
        case FeeModel.EIP1559:
            return [DataFee()] * len(asks)
        case FeeModel.OP_STACK:
            results = await rpc.batch([call for ask in asks for call in _op_stack_calls(ask)])
            pairs = zip(results[::2], results[1::2], strict=True)
            return [DataFee(wei=_word(fee, model) + _operator_fee(operator)) for fee, operator in pairs]
        case FeeModel.ARBITRUM:
            results = await rpc.batch([_arbitrum_call(ask.message) for ask in asks])
            return [DataFee(gas=_word(result, model)) for result in results]


def _op_stack_calls(ask: Ask) -> tuple[Call, Call]:
    unsigned = bytes.fromhex(ask.message.data[2:]) + _ENVELOPE
    return (
        _view(GAS_PRICE_ORACLE, _L1_FEE + encode(["bytes"], [unsigned])),
        _view(GAS_PRICE_ORACLE, _OPERATOR_FEE + encode(["uint256"], [ask.units])),
    )


def _arbitrum_call(message: Message) -> Call:
    arguments = [message.to, False, bytes.fromhex(message.data[2:])]
    return _view(NODE_INTERFACE, _L1_GAS + encode(["address", "bool", "bytes"], arguments))


def _view(to: str, data: bytes) -> Call:
    return Call("eth_call", ({"to": to, "data": "0x" + data.hex()}, "latest"))


def _operator_fee(result: object) -> int:
    """Return the operator's fee in wei; 0 from an oracle that knows no such fee yet."""
    return 0 if isinstance(result, RpcError) or result == "0x" else _word(result, FeeModel.OP_STACK)


def _word(result: object, model: FeeModel) -> int:
    """Decode the first word of what a view function returned."""
    if isinstance(result, str) and len(result) >= 66:
        try:
            return int(result[2:66], 16)
        except ValueError:
            pass
    raise PortUnavailableError(
        f"the network does not say what it charges for data, as one of fee model {model.value!r} does",
        "correct fee_model in the profile of this chain, or use another endpoint",
    )
