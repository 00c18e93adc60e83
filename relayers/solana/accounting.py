"""Who holds what on Solana and what was paid in fees, read from the RPC: for audits to the last lamport."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID

from bridge.chains.endpoints.json_rpc import Call, record
from bridge.chains.family import LOCKS
from bridge.protocol.types import Address, Amount, Asset, BlockHeight
from relayers.solana import blocks, program
from relayers.solana.open_rpc import open_rpc
from relayers.solana.settings import SolanaSettings

_TIMEOUT = 30.0
"""Seconds for one request: whole histories are read."""

DEPOSITS = "deposits"
"""Owner of the rent of vaults and token accounts, everybody's, and of what strangers sent there."""


class SolanaLedger:
    """A cluster as an auditor sees it, for one HTLC program. Only for one small enough to be read whole."""

    def __init__(self, settings: SolanaSettings) -> None:
        self._rpc = open_rpc(settings, _TIMEOUT)
        self._program = settings.program

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    async def holdings(self, accounts: Mapping[str, Address], asset: Asset) -> dict[str, Amount]:
        """Return what each account (owner → address) holds of an asset, and what LOCKS and (of SOL alone)
        DEPOSITS hold; smallest units. Transactions move it between these, and pay fees out of it."""
        vaults, token_accounts = await self._program_accounts()
        if asset.contract:
            mint = bytes(Pubkey.from_string(asset.contract))
            tokens = dict.fromkeys((*accounts, LOCKS), 0)
            owners = {bytes(Pubkey.from_string(address)): owner for owner, address in accounts.items()}
            owners |= {bytes(Pubkey.from_string(vault)): LOCKS for vault in vaults}
            for account in token_accounts:
                data = _data(account)
                if data[:32] == mint and data[32:64] in owners:
                    tokens[owners[data[32:64]]] += struct.unpack_from("<Q", data, 64)[0]
            return {owner: Amount(amount) for owner, amount in tokens.items()}
        calls = [Call("getBalance", (each, {"commitment": blocks.CONFIRMED})) for each in accounts.values()]
        balances = await self._rpc.all(*calls)
        held = {owner: Amount(int(each["value"])) for owner, each in zip(accounts, balances, strict=True)}
        terms = [program.read_vault(_data(account)) for account in vaults.values()]
        held[LOCKS] = Amount(sum(each.amount for each in terms if each is not None and each.mint is None))
        everything = sum(int(account["lamports"]) for account in (*vaults.values(), *token_accounts))
        held[DEPOSITS] = Amount(everything - held[LOCKS])
        return held

    async def fees_paid(self, payers: set[Address], first: BlockHeight, last: BlockHeight) -> Amount:
        """Return the lamports that `payers` (addresses) paid in fees in the blocks of heights `first` to
        `last`, both included; failed transactions pay too."""
        if last < first:
            return Amount(0)
        wanted = set(payers)
        head = await blocks.read_head(self._rpc, 0)
        low, high = [blocks.slot_of(await blocks.block_at(self._rpc, at, head)) for at in (first, last)]
        slots = await self._rpc.call("getBlocks", low, high, {"commitment": blocks.CONFIRMED})
        options = {
            "commitment": blocks.CONFIRMED,
            "encoding": "base64",
            "transactionDetails": "full",
            "rewards": False,
            "maxSupportedTransactionVersion": blocks.NEWEST_VERSION,
        }
        found = await self._rpc.all(*(Call("getBlock", (slot, options)) for slot in slots))
        fees = (
            int(transaction["meta"]["fee"])
            for block in found
            for transaction in record(block)["transactions"]
            if _payer(transaction["transaction"][0]) in wanted
        )
        return Amount(sum(fees))

    async def _program_accounts(self) -> tuple[dict[str, Any], list[Any]]:
        options: dict[str, Any] = {"commitment": blocks.CONFIRMED, "encoding": "base64"}
        tokens = options | {"filters": [{"dataSize": program.TOKEN_ACCOUNT_BYTES}]}
        vaults, token_accounts = await self._rpc.all(
            Call("getProgramAccounts", (self._program, options)),
            Call("getProgramAccounts", (str(TOKEN_PROGRAM_ID), tokens)),
        )
        by_address = {account["pubkey"]: account["account"] for account in vaults}
        return by_address, [account["account"] for account in token_accounts]


def _data(account: Mapping[str, Any]) -> bytes:
    return base64.b64decode(account["data"][0])


def _payer(transaction: str) -> str:
    return str(VersionedTransaction.from_bytes(base64.b64decode(transaction)).message.account_keys[0])
