"""What tests of Ethereum alone do beside the port: deploy, call, and look into transactions."""

from __future__ import annotations

from typing import Any

import httpx
from eth_abi.abi import encode
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes

from bridge.chains.port import SignedTx
from bridge.keys.devkeys import devnet_key
from tests.conformance.ethereum_rig import EthereumRig

_OPERATOR = "ethereum tests/operator"


async def rpc(rig: EthereumRig, method: str, *params: object) -> Any:
    """Return one result of the node."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with httpx.AsyncClient() as client:
        answer = (await client.post(rig.devnet.rpc_url, json=call)).json()
    assert "error" not in answer, answer
    return answer["result"]


async def gas_used(rig: EthereumRig, tx: SignedTx) -> int:
    """Return the gas that an included transaction used."""
    return int((await rpc(rig, "eth_getTransactionReceipt", tx.tx_id))["gasUsed"], 16)


def fields(tx: SignedTx) -> dict[str, Any]:
    """Return a signed transaction's own fields."""
    return dict(TypedTransaction.from_bytes(HexBytes(tx.raw)).as_dict())


def selector(signature: str) -> bytes:
    """Return the first four bytes of a call of this function."""
    return keccak(signature.encode())[:4]


def function(tx: SignedTx) -> bytes:
    """Return the selector of what a transaction calls."""
    return bytes(fields(tx)["data"])[:4]


async def transact(rig: EthereumRig, to: str | None, data: bytes, value: int = 0) -> dict[str, Any]:
    """Send from an account of the tests' own, mine, and return the receipt."""
    account = Account.from_key(devnet_key(_OPERATOR))
    if int(await rpc(rig, "eth_getBalance", account.address, "latest"), 16) < 10**18:
        await rig.devnet.fund(account.address, rig.native, 10 * 10**18)
    transaction: dict[str, Any] = {
        "chainId": rig.devnet.settings.chain_id,
        "nonce": int(await rpc(rig, "eth_getTransactionCount", account.address, "latest"), 16),
        "data": data,
        "value": value,
        "gas": 3_000_000,
        "maxFeePerGas": 100 * 10**9,
        "maxPriorityFeePerGas": 10**9,
    }
    if to is not None:
        transaction["to"] = to
    signed = account.sign_transaction(transaction)
    tx_id = await rpc(rig, "eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
    await rig.devnet.mine(1)
    receipt: dict[str, Any] = await rpc(rig, "eth_getTransactionReceipt", tx_id)
    assert receipt["status"] == "0x1", receipt
    return receipt


async def deploy(rig: EthereumRig, code: bytes) -> str:
    """Return the address of a new contract."""
    return str(to_checksum_address((await transact(rig, None, code))["contractAddress"]))


async def call(rig: EthereumRig, to: str, signature: str, *values: object) -> None:
    """Call a function of a contract in a transaction."""
    types = signature[signature.index("(") + 1 : -1].split(",")
    await transact(rig, to, selector(signature) + encode(types, values))
