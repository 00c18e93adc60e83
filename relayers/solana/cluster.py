"""What is asked of a cluster before anything is signed: is it the right one, accounts, mints, rents, prices,
recent block hashes."""

from __future__ import annotations

import base64
import contextlib
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from solders.hash import Hash
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from bridge.protocol.types import Asset, BlockRef
from relayers.port import PortError, PortUnavailable
from relayers.solana import blocks, fees, mints, program
from relayers.solana.building import Rents
from relayers.solana.rpc import Call, Rpc, RpcError, record, value_of
from relayers.solana.settings import SolanaSettings

_TOKEN_AMOUNT_AT = 64
_CONFIRMED = {"commitment": blocks.CONFIRMED}
_ACCOUNT = {"commitment": blocks.CONFIRMED, "encoding": "base64"}
_MAX_SAMPLED_ACCOUNTS = 128
"""getRecentPrioritizationFees takes no more (MAX_TX_ACCOUNT_LOCKS)."""


class Recent(msgspec.Struct, frozen=True):
    """A block hash to be named by a transaction, and the height of the last block that may hold it."""

    blockhash: Hash
    last_valid: int


class Cluster:
    """Questions to a cluster's RPC with one answer each. All raise `PortUnavailable`."""

    def __init__(self, rpc: Rpc, settings: SolanaSettings) -> None:
        self._rpc = rpc
        self._settings = settings
        self._rents: Rents | None = None
        self._sound: set[str] = set()

    async def ask(self, method: str, *params: Any) -> Any:
        """Return one result; what the RPC refuses is unavailable."""
        try:
            return await self._rpc.call(method, *params)
        except RpcError as error:
            raise PortUnavailable(
                f"the Solana RPC refused {method}: {error.message}", "use another endpoint"
            ) from error

    async def account(self, key: Pubkey) -> dict[str, Any] | None:
        """Return a confirmed account as JSON-RPC writes it, in base64; None where there is none."""
        found = value_of(await self.ask("getAccountInfo", str(key), _ACCOUNT))
        return None if found is None else record(found)

    async def lamports(self, key: str) -> int:
        """Return a confirmed balance."""
        return int(value_of(await self.ask("getBalance", key, _CONFIRMED)))

    async def tokens(self, owner: Pubkey, mint: Pubkey) -> int:
        """Return the tokens in the owner's associated account; 0 where there is none."""
        found = await self.account(program.token_account(owner, mint))
        return 0 if found is None else int(struct.unpack_from("<Q", _data(found), _TOKEN_AMOUNT_AT)[0])

    async def check_asset(self, asset: Asset) -> None:
        """Once for each token: can our program lock it, and has it these decimals? Raises `PortError`."""
        if not asset.contract or asset.contract in self._sound:
            return
        found = await self.account(Pubkey.from_string(asset.contract))
        if found is None:
            raise PortError(f"there is no mint of {asset.symbol} at {asset.contract}", "correct the asset")
        mints.check(asset, found["owner"], _data(found))
        self._sound.add(asset.contract)

    async def rents(self) -> Rents:
        """Once: is this the right cluster, is the program there, and what does rent cost?"""
        if self._rents is not None:
            return self._rents
        wanted, at = self._settings.genesis_hash, self._settings.program
        if wanted and await self.ask("getGenesisHash") != wanted:
            raise PortError("the Solana RPC is of another cluster", "correct the RPC URL or genesis_hash")
        found = await self.account(Pubkey.from_string(at))
        if found is None or not found["executable"]:
            raise PortError(f"there is no program at {at}", "deploy it (docs/chains/solana.md) or correct it")
        sizes = (program.SOL_VAULT_BYTES, program.TOKEN_VAULT_BYTES, program.TOKEN_ACCOUNT_BYTES, 0)
        calls = [Call("getMinimumBalanceForRentExemption", (size,)) for size in sizes]
        try:
            self._rents = Rents(*(int(rent) for rent in await self._rpc.all(*calls)))
        except RpcError as error:
            raise PortUnavailable(f"the Solana RPC gave no rent: {error.message}", "try again") from error
        return self._rents

    async def prices(self, accounts: Sequence[Pubkey]) -> list[int]:
        """Return what transactions that write these accounts paid for priority in recent blocks, at least;
        micro-lamports per unit. (The RPC knows the least price that got into each block, and that got to
        each account written; it takes the greatest of these. Of accounts only read it knows nothing.)"""
        keys = [str(key) for key in accounts[:_MAX_SAMPLED_ACCOUNTS]]
        recent = await self.ask("getRecentPrioritizationFees", keys)
        return [int(entry["prioritizationFee"]) for entry in recent]

    async def recent(self, attempt: int) -> Recent:
        """Return the hash of a block that no roll-back takes away (one that did would take with it what names
        it), such that what names it lives for `fees.life(attempt)` blocks, or the longest there is."""
        wanted = fees.life(attempt)
        if wanted < fees.FULL_LIFE:
            # A longer life is better than none.
            with contextlib.suppress(RpcError, blocks.ChainMoved, PortUnavailable):
                return await self._aged(wanted)
        return await self.newest("finalized")

    async def newest(self, commitment: str) -> Recent:
        """Return the newest block hash of a commitment level."""
        latest = record(value_of(await self.ask("getLatestBlockhash", {"commitment": commitment})))
        return Recent(Hash.from_string(latest["blockhash"]), int(latest["lastValidBlockHeight"]))

    async def _aged(self, wanted: int) -> Recent:
        epoch = record(await self._rpc.call("getEpochInfo", _CONFIRMED))
        slot, height = int(epoch["absoluteSlot"]), int(epoch["blockHeight"])
        head = BlockRef(height, f"{slot:016x}", "", 0)
        old = await blocks.block_at(self._rpc, max(height + wanted - fees.FULL_LIFE, 0), head)
        return Recent(blocks.hash_of(old), old.height + fees.FULL_LIFE)


def written(instructions: Iterable[Instruction]) -> list[Pubkey]:
    """Return the accounts that instructions write, each once."""
    metas = (meta for instruction in instructions for meta in instruction.accounts if meta.is_writable)
    return list(dict.fromkeys(meta.pubkey for meta in metas))


def _data(account: dict[str, Any]) -> bytes:
    return base64.b64decode(account["data"][0])
