"""Solana's JSON-RPC methods over the local ledger: those that clients use, with the RPC's own errors.

Accounts are always those of the head, whatever commitment is asked for: the ledger keeps no older state.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

from solders.message import Message, MessageV1
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID

from relayers.solana.devnet.encodings import (
    INVALID_PARAMS,
    Options,
    RpcFailureError,
    account_json,
    decode,
    matches,
    token_amount,
    transaction_json,
)
from relayers.solana.devnet.ledger import MAX_AGE, DevBlock, DevLedger, Entry, TxRejectedError, bid_of

VERSION = "4.1.0"


class RpcMethods:
    """The methods, by their JSON-RPC names. `submit` takes a transaction as `DevLedger.submit` does,
    `airdrop` gives lamports; both return a signature."""

    def __init__(
        self, ledger: DevLedger, submit: Callable[..., str], airdrop: Callable[[str, int], str]
    ) -> None:
        self.ledger = ledger
        self._submit = submit
        self._airdrop = airdrop

    def call(self, method: str, params: list[Any]) -> Any:
        """Return a method's result. Raises `RpcFailureError`."""
        known = (
            getattr(self, method, None) if method[:3] in {"get", "isB", "sen", "sim", "req", "min"} else None
        )
        if known is None:
            raise RpcFailureError(-32601, "Method not found")
        options: dict[str, Any] = next((param for param in params if isinstance(param, dict)), {})
        if self.ledger.at(_commitment(options)).slot < (options.get("minContextSlot") or 0):
            raise RpcFailureError(-32016, "Minimum context slot has not been reached")
        try:
            return known(*params)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise RpcFailureError(INVALID_PARAMS, f"Invalid params: {error}") from error

    # ------------------------------------------------------------------ the cluster

    def getHealth(self) -> str:
        return "ok"

    def getVersion(self) -> dict[str, Any]:
        return {"solana-core": VERSION, "feature-set": 0}

    def getGenesisHash(self) -> str:
        return self.ledger.genesis

    def getSlot(self, options: Options = None) -> int:
        return self.ledger.at(_commitment(options)).slot

    def getBlockHeight(self, options: Options = None) -> int:
        return self.ledger.at(_commitment(options)).height

    def getEpochInfo(self, options: Options = None) -> dict[str, Any]:
        block = self.ledger.at(_commitment(options))
        return {
            "absoluteSlot": block.slot,
            "blockHeight": block.height,
            "epoch": 0,
            "slotIndex": block.slot,
            "slotsInEpoch": 432_000,
            "transactionCount": len(self.ledger.entries),
        }

    def minimumLedgerSlot(self) -> int:
        return self.ledger.first_available

    def getFirstAvailableBlock(self) -> int:
        return self.ledger.first_available

    def getLatestBlockhash(self, options: Options = None) -> Any:
        block = self.ledger.at(_commitment(options))
        return self._with_context(
            {"blockhash": block.hash, "lastValidBlockHeight": block.height + MAX_AGE}, options
        )

    def isBlockhashValid(self, blockhash: str, options: Options = None) -> Any:
        return self._with_context(self.ledger.knows_hash(blockhash), options)

    def getMinimumBalanceForRentExemption(self, size: int, options: Options = None) -> int:
        return self.ledger.svm.minimum_balance_for_rent_exemption(size)

    def getRecentPrioritizationFees(self, addresses: Any = None) -> list[dict[str, int]]:
        wanted = set(addresses or ())
        found = []
        for block in self.ledger.blocks[-MAX_AGE:]:
            bids = [(bid_of(entry.transaction), _written(entry.transaction)) for entry in block.entries]
            least = min((bid for bid, _ in bids), default=0)
            written = [bid for bid, keys in bids if wanted & set(keys)]
            # Of all that got in the least price, of what wrote the accounts too; the greater of both.
            price = max(block.asked, least, min(written, default=0))
            found.append({"slot": block.slot, "prioritizationFee": price})
        return found

    def getFeeForMessage(self, message: str, options: Options = None) -> Any:
        raw = base64.b64decode(message)
        signatures = raw[1] if raw[0] & 0x80 else raw[0]
        return self._with_context(5_000 * signatures, options)

    # ------------------------------------------------------------------ accounts

    def getBalance(self, key: str, options: Options = None) -> Any:
        found = self.ledger.account(Pubkey.from_string(key))
        return self._with_context(0 if found is None else found.lamports, options)

    def getAccountInfo(self, key: str, options: Options = None) -> Any:
        return self._with_context(self._account(key, options), options)

    def getMultipleAccounts(self, keys: list[str], options: Options = None) -> Any:
        return self._with_context([self._account(key, options) for key in keys], options)

    def getProgramAccounts(self, key: str, options: Options = None) -> Any:
        chosen = options or {}
        found = [
            {"pubkey": str(address), "account": account_json(account, options)}
            for address, account in self.ledger.svm.get_program_accounts(Pubkey.from_string(key))
            if account.lamports and matches(bytes(account.data), chosen.get("filters"))
        ]
        return self._with_context(found, options) if chosen.get("withContext") else found

    def getTokenAccountBalance(self, key: str, options: Options = None) -> Any:
        found = self.ledger.account(Pubkey.from_string(key))
        if found is None or found.owner != TOKEN_PROGRAM_ID:
            raise RpcFailureError(INVALID_PARAMS, "Invalid param: could not find account")
        return self._with_context(self.ledger.token_balance(found)["uiTokenAmount"], options)

    def getTokenSupply(self, key: str, options: Options = None) -> Any:
        found = self.ledger.account(Pubkey.from_string(key))
        if found is None or found.owner != TOKEN_PROGRAM_ID:
            raise RpcFailureError(INVALID_PARAMS, "Invalid param: could not find mint")
        supply = struct.unpack_from("<Q", found.data, 36)[0]
        return self._with_context(token_amount(supply, found.data[44]), options)

    def getTokenAccountsByOwner(self, owner: str, chosen: dict[str, str], options: Options = None) -> Any:
        key = bytes(Pubkey.from_string(owner))
        mint = bytes(Pubkey.from_string(chosen["mint"])) if "mint" in chosen else None
        found = [
            {"pubkey": str(address), "account": account_json(account, options)}
            for address, account in self.ledger.svm.get_program_accounts(TOKEN_PROGRAM_ID)
            if len(account.data) == 165 and account.data[32:64] == key and mint in {None, account.data[:32]}
        ]
        return self._with_context(found, options)

    def _account(self, key: str, options: Options) -> Any:
        found = self.ledger.account(Pubkey.from_string(key))
        return None if found is None else account_json(found, options)

    # ------------------------------------------------------------------ blocks

    def getBlocks(self, first: int, last: Any = None, options: Options = None) -> list[int]:
        if isinstance(last, dict):
            last, options = None, last
        top = self.ledger.at(_commitment(options)).slot
        end = top if last is None else min(last, top)
        blocks = (block for block in self.ledger.blocks if first <= block.slot <= end)
        return [block.slot for block in blocks if not self.ledger.lacks(block.slot)]

    def getBlocksWithLimit(self, first: int, limit: int, options: Options = None) -> list[int]:
        return self.getBlocks(first, None, options)[:limit]

    def getBlockTime(self, slot: int) -> int:
        return self._block(slot, None).time

    def getBlock(self, slot: int, options: Any = None) -> dict[str, Any]:
        chosen = options if isinstance(options, dict) else {}
        block = self._block(slot, chosen)
        described: dict[str, Any] = {
            "blockhash": block.hash,
            "previousBlockhash": block.parent_hash,
            "parentSlot": block.parent_slot,
            "blockHeight": block.height,
            "blockTime": block.time,
        }
        match chosen.get("transactionDetails", "full"):
            case "signatures":
                described["signatures"] = [entry.signature for entry in block.entries]
            case "none":
                pass
            case _:
                described["transactions"] = [self._transaction(entry, chosen) for entry in block.entries]
        if chosen.get("rewards", True):
            described["rewards"] = []
        return described

    def _block(self, slot: int, options: Options) -> DevBlock:
        if slot < self.ledger.first_available:
            first = self.ledger.first_available
            raise RpcFailureError(-32001, f"Block {slot} cleaned up, does not exist on node. First: {first}")
        found = None if self.ledger.lacks(slot) else self.ledger.block(slot)
        if found is not None and slot <= self.ledger.at(_commitment(options)).slot:
            return found
        if slot < self.ledger.head.slot:
            raise RpcFailureError(-32007, f"Slot {slot} was skipped, or missing due to ledger jump")
        raise RpcFailureError(-32004, f"Block not available for slot {slot}")

    # ------------------------------------------------------------------ transactions

    def getSignatureStatuses(self, signatures: list[str], options: Options = None) -> Any:
        # Whatever is asked for, a node answers from its newest block.
        return self._with_context(
            [self._status(signature) for signature in signatures], {"commitment": "processed"}
        )

    def _status(self, signature: str) -> Any:
        entry = self.ledger.known(signature)
        if entry is None:
            return None
        level = self.ledger.level(entry.slot)
        return {
            "slot": entry.slot,
            "confirmations": None if level == "finalized" else self.ledger.head.slot - entry.slot,
            "err": entry.error,
            "status": {"Ok": None} if entry.error is None else {"Err": entry.error},
            "confirmationStatus": level,
        }

    def getSignaturesForAddress(self, key: str, options: Options = None) -> list[dict[str, Any]]:
        chosen = options or {}
        top = self.ledger.at(_commitment(options)).slot
        found = self.ledger.by_address.get(key, [])[::-1]
        for cursor in (chosen.get("before"), chosen.get("until")):
            # As Agave since pull request 7937: only a transaction in this node's history is a cursor.
            entry = None if cursor is None else self.ledger.known(cursor)
            if cursor is not None and (entry is None or self.ledger.lacks(entry.slot)):
                raise RpcFailureError(-32020, f"Filter transaction {cursor} not found")
        if chosen.get("before") in found:
            found = found[found.index(chosen["before"]) + 1 :]
        if chosen.get("until") in found:
            found = found[: found.index(chosen["until"])]
        entries = [self.ledger.entries[signature] for signature in found]
        return [
            {
                "signature": entry.signature,
                "slot": entry.slot,
                "err": entry.error,
                "memo": None,
                "blockTime": entry.time,
                "confirmationStatus": self.ledger.level(entry.slot),
            }
            for entry in entries
            if entry.slot <= top and not self.ledger.lacks(entry.slot)
        ][: chosen.get("limit") or 1000]

    def getTransaction(self, signature: str, options: Any = None) -> Any:
        chosen = options if isinstance(options, dict) else {"encoding": options or "json"}
        entry = self.ledger.known(signature)
        if entry is None or entry.slot > self.ledger.at(_commitment(chosen)).slot:
            return None
        return {
            "slot": entry.slot,
            "blockTime": entry.time,
            "transactionIndex": 0,
            **self._transaction(entry, chosen),
        }

    def _transaction(self, entry: Entry, chosen: dict[str, Any]) -> dict[str, Any]:
        version = _version(entry.transaction)
        most = chosen.get("maxSupportedTransactionVersion")
        if version is not None and (most is None or most < version):
            # Agave, rpc-client-api/src/custom_error.rs, UnsupportedTransactionVersion.
            raise RpcFailureError(
                -32015,
                f"Transaction version ({version}) is not supported by the requesting client. Please try the "
                "request again with the following configuration parameter: "
                f'"maxSupportedTransactionVersion": {version}',
            )
        described: dict[str, Any] = {
            "transaction": transaction_json(entry.transaction, chosen.get("encoding", "json")),
            "meta": entry.meta,
        }
        if most is not None:
            described["version"] = "legacy" if version is None else version
        return described

    def simulateTransaction(self, raw: str, options: Options = None) -> Any:
        transaction = decode(raw, options)
        chosen = options or {}
        failure: Any = None
        if chosen.get("sigVerify") and not all(transaction.verify_with_results()):
            failure = "SignatureFailure"
        replaced = chosen.get("replaceRecentBlockhash")
        if not replaced and not self.ledger.knows_hash(str(transaction.message.recent_blockhash)):
            failure = failure or "BlockhashNotFound"
        error, meta = self.ledger.simulate(transaction)
        described = {
            "err": failure or error,
            "logs": meta.logs(),
            "unitsConsumed": meta.compute_units_consumed(),
            "accounts": None,
            "returnData": None,
            "innerInstructions": None,
        }
        return self._with_context(described, options)

    def sendTransaction(self, raw: str, options: Options = None) -> str:
        transaction = decode(raw, options)
        try:
            return self._submit(transaction, preflight=not (options or {}).get("skipPreflight"))
        except TxRejectedError as refusal:
            data = {
                "err": refusal.error,
                "logs": refusal.logs,
                "accounts": None,
                "unitsConsumed": refusal.units,
                "returnData": None,
                "innerInstructions": None,
            }
            raise RpcFailureError(-32002, str(refusal), data) from refusal

    def requestAirdrop(self, key: str, lamports: int, options: Options = None) -> str:
        return self._airdrop(key, lamports)

    def _with_context(self, value: Any, options: Options) -> dict[str, Any]:
        slot = self.ledger.at(_commitment(options)).slot
        return {"context": {"apiVersion": VERSION, "slot": slot}, "value": value}


def _version(transaction: VersionedTransaction) -> int | None:
    """Return the version of a transaction's format; None for the one from before there were versions."""
    if isinstance(transaction.message, Message):
        return None
    return 1 if isinstance(transaction.message, MessageV1) else 0


def _commitment(options: Options) -> str:
    """Return the commitment asked for; like a real node, "finalized" when none is."""
    return str((options or {}).get("commitment") or "finalized")


def _written(transaction: VersionedTransaction) -> list[str]:
    header, keys = transaction.message.header, transaction.message.account_keys
    signers, others = keys[: header.num_required_signatures], keys[header.num_required_signatures :]
    written = signers[: len(signers) - header.num_readonly_signed_accounts]
    return [str(key) for key in (*written, *others[: len(others) - header.num_readonly_unsigned_accounts])]
