"""What is asked of a cluster before anything is signed: accounts, mints, rents, prices, recent blocks."""

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
from solders.system_program import ID as SYSTEM_PROGRAM

from bridge.chains.endpoints.json_rpc import Call, Calls, RpcError, record
from bridge.chains.errors import CannotReceiveError, PortError, PortUnavailableError
from bridge.protocol.types import Asset, BlockHeight, BlockRef, UnixSeconds
from relayers.solana import blocks, fees, mints, program
from relayers.solana.building import Rents
from relayers.solana.rpc import value_of
from relayers.solana.settings import SolanaSettings

# Of a token account (spl-token state::Account).
_TOKEN_OWNER = slice(32, 64)
_TOKEN_AMOUNT_AT = 64
_TOKEN_STATE_AT = 108
_FROZEN = 2

_CONFIRMED = {"commitment": blocks.CONFIRMED}
_ACCOUNT = {"commitment": blocks.CONFIRMED, "encoding": "base64"}
_MAX_SAMPLED_ACCOUNTS = 128
"""getRecentPrioritizationFees takes no more (MAX_TX_ACCOUNT_LOCKS)."""


class Recent(msgspec.Struct, frozen=True):
    """A block's hash to be named by a transaction, and that block's height."""

    blockhash: Hash
    height: int

    @property
    def last_valid(self) -> int:
        """The height of the last block that may hold what names it. One more than `lastValidBlockHeight`: a
        block compares its parent's place in the queue of hashes with the named one's (Agave's
        BlockhashQueue::is_hash_valid_for_age), and `FULL_LIFE` apart is still allowed."""
        return self.height + fees.FULL_LIFE + 1


class Cluster:
    """Questions to a cluster's RPC with one answer each. All raise `PortUnavailableError`."""

    def __init__(self, rpc: Calls, settings: SolanaSettings) -> None:
        self._rpc = rpc
        self._settings = settings
        self._rents: Rents | None = None
        self._sound: set[str] = set()
        self.floor = 0
        """The newest slot that was said to be the tip: an answer from before it may belie what was concluded
        from it (say, that a transaction has expired), so it is none."""

    def of(self, rpc: Calls) -> Cluster:
        """Return the same questions to one endpoint; what it says must not be older either."""
        made = Cluster(rpc, self._settings)
        made.floor = self.floor
        return made

    async def ask(self, method: str, *params: Any) -> Any:
        """Return one result; what the RPC refuses is unavailable."""
        try:
            return await self._rpc.call(method, *params)
        except RpcError as error:
            raise PortUnavailableError(
                f"the Solana RPC refused {method}: {error.message}", "use another endpoint"
            ) from error

    async def fresh(self, method: str, *params: Any) -> Any:
        """Return the value of an answer with a context, unless it is older than the tip. One endpoint may
        lag behind another that was asked before it, and a URL may have many nodes behind it."""
        answer = record(await self.ask(method, *params))
        slot = record(answer.get("context")).get("slot", 0)
        if slot < self.floor:
            raise PortUnavailableError(
                f"the Solana RPC is at slot {slot}, behind {self.floor} which was seen before",
                "it lags; try again or use another endpoint",
            )
        return value_of(answer)

    async def account(self, key: Pubkey) -> dict[str, Any] | None:
        """Return a confirmed account as JSON-RPC writes it, in base64; None where there is none."""
        found = await self.fresh("getAccountInfo", str(key), _ACCOUNT)
        return None if found is None else record(found)

    async def lamports(self, key: str) -> int:
        """Return a confirmed balance."""
        return int(await self.fresh("getBalance", key, _CONFIRMED))

    async def tokens(self, owner: Pubkey, mint: Pubkey) -> int:
        """Return the tokens in the owner's associated account; 0 where there is none. Raises
        `CannotReceiveError` for one that is frozen or was given to somebody else."""
        found = await self.account(program.token_account(owner, mint))
        if found is None:
            return 0
        data = _data(found)
        if data[_TOKEN_STATE_AT] == _FROZEN:
            raise CannotReceiveError(
                f"the token account of {owner} is frozen", "only the token's issuer can help"
            )
        if data[_TOKEN_OWNER] != bytes(owner):
            raise CannotReceiveError(
                f"the token account of {owner} belongs to somebody else", "use another address"
            )
        return int(struct.unpack_from("<Q", data, _TOKEN_AMOUNT_AT)[0])

    async def check_receiver(self, key: Pubkey) -> None:
        """Raise `CannotReceiveError` for an account that is not a wallet: a program, one of a program (a
        mint, a token account, a vault), or one that holds data (a nonce). Coins there are the account's,
        also where somebody has the key of its address. An address without an account may be a wallet's."""
        found = await self.account(key)
        if found is None:
            return
        what = ""
        if found["executable"]:
            what = "a program"
        elif found["owner"] != str(SYSTEM_PROGRAM):
            what = f"an account of the program {found['owner']}"
        elif _data(found):
            what = "an account that holds data"
        if what:
            raise CannotReceiveError(f"{key} is {what}, not a wallet", "give the address of a wallet")

    async def check_asset(self, asset: Asset) -> None:
        """Once for each token: can our program lock it, has it these decimals, and does the operator accept
        what its issuer may do? Raises `PortError`. Asked before something new is locked, and never for claims
        and refunds."""
        if not asset.contract or asset.contract in self._sound:
            return
        found = await self.account(Pubkey.from_string(asset.contract))
        if found is None:
            raise PortError(f"there is no mint of {asset.symbol} at {asset.contract}", "correct the asset")
        accepted = self._settings.powers.get(asset.contract, frozenset())
        mints.check(asset, found["owner"], _data(found), accepted)
        self._sound.add(asset.contract)

    async def rents(self) -> Rents:
        """Return what rent costs; asked once."""
        if self._rents is not None:
            return self._rents
        sizes = (program.SOL_VAULT_BYTES, program.TOKEN_VAULT_BYTES, program.TOKEN_ACCOUNT_BYTES, 0)
        calls = [Call("getMinimumBalanceForRentExemption", (size,)) for size in sizes]
        try:
            self._rents = Rents(*(int(rent) for rent in await self._rpc.all(*calls)))
        except RpcError as error:
            raise PortUnavailableError(
                f"the Solana RPC gave no rent: {error.message}", "try again"
            ) from error
        return self._rents

    async def prices(self, accounts: Sequence[Pubkey]) -> list[int]:
        """Return what transactions that write these accounts paid for priority in recent blocks, at least;
        micro-lamports per unit. (The RPC knows the least price that got into each block, and that got to
        each account written; it takes the greatest of these. Of accounts only read it knows nothing.) None
        where the RPC does not tell: it is advice, bids climb without it."""
        keys = [str(key) for key in accounts[:_MAX_SAMPLED_ACCOUNTS]]
        try:
            recent = await self._rpc.call("getRecentPrioritizationFees", keys)
        except RpcError:
            return []
        return [int(entry["prioritizationFee"]) for entry in recent]

    async def recent(self, attempt: int) -> Recent:
        """Return the hash of a block that no roll-back takes away (one that did would take with it what names
        it), such that what names it lives for `fees.life(attempt)` blocks, or the longest there is."""
        wanted = fees.life(attempt)
        if wanted < fees.FULL_LIFE:
            # A longer life is better than none.
            with contextlib.suppress(RpcError, blocks.ChainMovedError, PortUnavailableError):
                return await self._older(wanted)
        return await self.newest("finalized")

    async def newest(self, commitment: str) -> Recent:
        """Return the newest block hash of a commitment level."""
        latest = record(value_of(await self.ask("getLatestBlockhash", {"commitment": commitment})))
        height = int(latest["lastValidBlockHeight"]) - fees.FULL_LIFE
        return Recent(Hash.from_string(latest["blockhash"]), height)

    async def _older(self, wanted: int) -> Recent:
        epoch = record(await self._rpc.call("getEpochInfo", _CONFIRMED))
        slot, height = int(epoch["absoluteSlot"]), int(epoch["blockHeight"])
        head = BlockRef(BlockHeight(height), f"{slot:016x}", "", UnixSeconds(0))
        old = await blocks.block_at(self._rpc, max(height + wanted - fees.FULL_LIFE - 1, 0), head)
        return Recent(blocks.hash_of(old), old.height)


def written(instructions: Iterable[Instruction]) -> list[Pubkey]:
    """Return the accounts that instructions write, each once."""
    metas = (meta for instruction in instructions for meta in instruction.accounts if meta.is_writable)
    return list(dict.fromkeys(meta.pubkey for meta in metas))


def _data(account: dict[str, Any]) -> bytes:
    return base64.b64decode(account["data"][0])
