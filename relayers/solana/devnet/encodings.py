"""How JSON-RPC writes accounts, amounts and transactions, and reads filters and transactions. Pure."""

from __future__ import annotations

import base64
import json
from typing import Any

from solders.account import Account
from solders.message import MessageV0
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from kernels.errors import RainbowError
from relayers.solana.blocks import from_base58, to_base58

Options = dict[str, Any] | None
"""The last parameter of most methods: commitment, encoding and the like."""
INVALID_PARAMS = -32602


class RpcFailureError(RainbowError):
    """A JSON-RPC error to be answered."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


def account_json(account: Account, options: Options = None) -> dict[str, Any]:
    """Return an account as JSON-RPC writes it, base64 unless base58 is asked for."""
    chosen = options or {}
    data = bytes(account.data)
    part = chosen.get("dataSlice")
    if part:
        data = data[part["offset"] : part["offset"] + part["length"]]
    short = chosen.get("encoding") == "base58"
    encoded = [to_base58(data), "base58"] if short else [base64.b64encode(data).decode(), "base64"]
    return {
        "data": encoded,
        "executable": account.executable,
        "lamports": account.lamports,
        "owner": str(account.owner),
        "rentEpoch": 2**64 - 1,
        "space": len(account.data),
    }


def matches(data: bytes, filters: list[dict[str, Any]] | None) -> bool:
    """Tell whether account data pass getProgramAccounts' filters."""
    for condition in filters or ():
        if "dataSize" in condition and len(data) != condition["dataSize"]:
            return False
        if "memcmp" in condition:
            given = condition["memcmp"]
            text = given["bytes"]
            wanted = base64.b64decode(text) if given.get("encoding") == "base64" else from_base58(text)
            if data[given["offset"] : given["offset"] + len(wanted)] != wanted:
                return False
    return True


def decode(raw: str, options: Options) -> VersionedTransaction:
    """Read a transaction as it is sent. Raises `RpcFailureError`."""
    try:
        as_base64 = (options or {}).get("encoding") == "base64"
        data = base64.b64decode(raw, validate=True) if as_base64 else from_base58(raw)
        return VersionedTransaction.from_bytes(data)
    except (ValueError, IndexError) as error:
        raise RpcFailureError(INVALID_PARAMS, f"failed to deserialize transaction: {error}") from error


def transaction_json(transaction: VersionedTransaction, encoding: str) -> Any:
    """Return a transaction in an encoding: "base64", "base58" or "json" (jsonParsed is given as that)."""
    if encoding == "base64":
        return [base64.b64encode(bytes(transaction)).decode(), "base64"]
    if encoding == "base58":
        return [to_base58(bytes(transaction)), "base58"]
    message = transaction.message
    header = message.header
    described: dict[str, Any] = {
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "accountKeys": [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [
            {
                "programIdIndex": instruction.program_id_index,
                "accounts": list(instruction.accounts),
                "data": to_base58(instruction.data),
                "stackHeight": 1,
            }
            for instruction in message.instructions
        ],
    }
    if isinstance(message, MessageV0):
        described["addressTableLookups"] = []
    return {"signatures": [str(signature) for signature in transaction.signatures], "message": described}


def token_amount(amount: int, decimals: int) -> dict[str, Any]:
    """Return an amount of tokens as JSON-RPC writes it."""
    whole, rest = divmod(amount, 10**decimals)
    text = f"{whole}.{rest:0{decimals}d}".rstrip("0").rstrip(".") if decimals else str(whole)
    # JSON-RPC has this float for display; nothing here reads it.
    return {"amount": str(amount), "decimals": decimals, "uiAmount": float(text), "uiAmountString": text}


def error_json(result: FailedTransactionMetadata) -> Any:
    """Return why a transaction failed: its TransactionError."""
    return json.loads(result.to_json())["err"]


def inner_instructions(meta: TransactionMetadata) -> list[dict[str, Any]]:
    """Return the instructions that a transaction's own called, by the index of the caller."""
    groups = []
    for index, calls in enumerate(meta.inner_instructions()):
        instructions = [
            {
                "programIdIndex": call.instruction().program_id_index,
                "accounts": list(call.instruction().accounts),
                "data": to_base58(call.instruction().data),
                "stackHeight": call.stack_height(),
            }
            for call in calls
        ]
        if instructions:
            groups.append({"index": index, "instructions": instructions})
    return groups
