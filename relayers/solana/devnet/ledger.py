"""The local chain itself: LiteSVM's virtual machine with blocks, forks, commitment levels and history.

LiteSVM executes transactions as a validator does but has neither blocks nor a past. Here every transaction
keeps the accounts that it changed as they were before, so that blocks can be rolled back.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata
from spl.token.constants import TOKEN_PROGRAM_ID

from kernels.errors import RainbowError
from relayers.solana.devnet.encodings import error_json, inner_instructions, token_amount

MAX_AGE = 150
"""Blocks for which a transaction may name a block's hash (MAX_PROCESSING_AGE)."""

TOKEN_ACCOUNT_BYTES = 165
_SET_UNIT_PRICE = b"\x03"
"""First byte of ComputeBudgetInstruction::SetComputeUnitPrice."""

_CHARGED = ("InstructionError", "InsufficientFundsForRent")
"""Failures of a transaction that is included all the same and pays its fee; others are only dropped."""


class TxRejectedError(RainbowError):
    """A transaction that the node does not take; `error` is the TransactionError as in JSON-RPC."""

    def __init__(self, error: Any, logs: Sequence[str] = (), units: int = 0) -> None:
        super().__init__(f"Transaction simulation failed: {error}")
        self.error = error
        self.logs = list(logs)
        self.units = units


_TABLE_HEAD = 56
"""Bytes of an address lookup table before its addresses (LOOKUP_TABLE_META_SIZE of the Solana SDK)."""


@dataclass
class Entry:
    """A transaction in a block."""

    transaction: VersionedTransaction
    slot: int
    time: int
    error: Any
    meta: dict[str, Any]
    before: dict[Pubkey, Account | None]
    """What the transaction changed, as it was."""

    @property
    def signature(self) -> str:
        """The transaction's id."""
        return str(self.transaction.signatures[0])

    @property
    def keys(self) -> list[Pubkey]:
        """The accounts that it names, those from address lookup tables behind its own: it is listed under all
        of them (Agave, ledger/src/blockstore.rs, `write_transaction_status`)."""
        loaded = self.meta["loadedAddresses"]
        found = [Pubkey.from_string(key) for key in (*loaded["writable"], *loaded["readonly"])]
        return [*self.transaction.message.account_keys, *found]


@dataclass
class DevBlock:
    """One block."""

    slot: int
    height: int
    hash: str
    parent_slot: int
    parent_hash: str
    time: int
    entries: list[Entry] = field(default_factory=list)
    asked: int = 0
    """The priority price that everybody saw it ask for, micro-lamports per unit."""


class DevLedger:
    """A chain with one fork visible at a time. Blocks are made on demand.

    `confirmed_after` and `finalized_after` are the blocks on top of one that make it so.
    """

    genesis = str(Hash(hashlib.sha256(b"rainbow devnet").digest()))

    def __init__(self, time: int, *, confirmed_after: int = 0, finalized_after: int = 32) -> None:
        self.svm = (
            LiteSVM()
            .with_sigverify(False)  # done here, on sending: a simulation needs no signatures
            .with_blockhash_check(False)
            .with_transaction_history(0)
        )
        self.confirmed_after = confirmed_after
        self.finalized_after = finalized_after
        self.entries: dict[str, Entry] = {}
        self.by_address: dict[str, list[str]] = {}
        self.pending: dict[str, VersionedTransaction] = {}
        self.toll = 0
        """Transactions that bid less get into no block and are forgotten; micro-lamports per unit."""
        self.is_toll_shown = True
        self.forgotten: list[tuple[int, int]] = []
        """Slots, first and last, whose blocks and transactions the node has lost; accounts it still has."""
        self.records_inner = True
        """Whether what a transaction's instructions called is kept for later, and its logs."""
        self._forks = 0
        self.blocks = [DevBlock(0, 0, self.genesis, 0, self.genesis, time)]
        self.next_slot = 1
        self._set_clock(0, time)

    @property
    def head(self) -> DevBlock:
        """The newest block."""
        return self.blocks[-1]

    def at(self, commitment: str) -> DevBlock:
        """Return the newest block of a commitment level."""
        back = {"processed": 0, "confirmed": self.confirmed_after}.get(commitment, self.finalized_after)
        return self.blocks[max(len(self.blocks) - 1 - back, 0)]

    def level(self, slot: int) -> str:
        """Return the commitment level that the block of a slot has."""
        for name in ("finalized", "confirmed"):
            if slot <= self.at(name).slot:
                return name
        return "processed"

    def block(self, slot: int) -> DevBlock | None:
        """Return the block of a slot, None if it was skipped."""
        low, high = 0, len(self.blocks) - 1
        while low <= high:
            middle = (low + high) // 2
            if self.blocks[middle].slot == slot:
                return self.blocks[middle]
            if self.blocks[middle].slot < slot:
                low = middle + 1
            else:
                high = middle - 1
        return None

    def knows_hash(self, blockhash: str) -> bool:
        """Tell whether a transaction may name this block's hash now."""
        return any(block.hash == blockhash for block in self.blocks[-MAX_AGE - 1 :])

    # ------------------------------------------------------------------ accounts

    def account(self, key: Pubkey) -> Account | None:
        """Return an account as it is at the head; None where there is none."""
        found = self.svm.get_account(key)
        return found if found is not None and (found.lamports or found.executable) else None

    def put(self, key: Pubkey, account: Account) -> None:
        """Write an account, outside of any transaction: for the genesis only."""
        self.svm.set_account(key, account)

    # ------------------------------------------------------------------ transactions

    def simulate(self, transaction: VersionedTransaction) -> tuple[Any, TransactionMetadata]:
        """Return (error or None, its metadata) of a transaction on the head's state."""
        result = self.svm.simulate_transaction(transaction)
        if isinstance(result, FailedTransactionMetadata):
            return error_json(result), result.meta()
        return None, result.meta()

    def submit(self, transaction: VersionedTransaction, *, preflight: bool = True) -> str:
        """Take a transaction for the next block; returns its signature. Raises `TxRejectedError`."""
        signature = str(transaction.signatures[0])
        if not all(transaction.verify_with_results()):
            raise TxRejectedError("SignatureFailure")
        if signature in self.entries:
            raise TxRejectedError("AlreadyProcessed")
        if not self.knows_hash(str(transaction.message.recent_blockhash)):
            raise TxRejectedError("BlockhashNotFound")
        if preflight:
            error, meta = self.simulate(transaction)
            if error is not None:
                raise TxRejectedError(error, meta.logs(), meta.compute_units_consumed())
        self.pending[signature] = transaction
        return signature

    def produce(self, time: int) -> DevBlock:
        """Make the next block at `time` with everything that waits."""
        parent = self.head
        slot = self.next_slot
        self.next_slot += 1
        seed = f"{parent.hash} {slot} {self._forks}".encode()
        block = DevBlock(
            slot, parent.height + 1, str(Hash(hashlib.sha256(seed).digest())), parent.slot, parent.hash, time
        )
        block.asked = self.toll if self.is_toll_shown else 0
        self._set_clock(slot, time)
        waiting, self.pending = self.pending, {}
        for transaction in waiting.values():
            if bid_of(transaction) < self.toll:
                continue
            if not self.knows_hash(str(transaction.message.recent_blockhash)):
                continue
            entry = self._execute(transaction, slot, time)
            if entry is not None:
                block.entries.append(entry)
                self.entries[entry.signature] = entry
                for key in entry.keys:
                    self.by_address.setdefault(str(key), []).append(entry.signature)
        self.blocks.append(block)
        return block

    def congest(self, toll: int, *, shown: bool = True) -> None:
        """Let no transaction in that bids less than `toll` micro-lamports per unit, from now on; 0 ends it.
        Unless it is `shown`, what the blocks took in does not tell of it."""
        self.toll, self.is_toll_shown = toll, shown

    def forget(self, first: int, last: int) -> None:
        """Lose the history of these slots: old ones are pruned, and a start from a snapshot leaves a hole
        between what was there before and the snapshot."""
        self.forgotten.append((first, last))

    def lacks(self, slot: int) -> bool:
        """Tell whether the history of a slot was lost."""
        return any(first <= slot <= last for first, last in self.forgotten)

    def known(self, signature: str) -> Entry | None:
        """Return a transaction that the node still knows."""
        entry = self.entries.get(signature)
        return None if entry is None or self.lacks(entry.slot) else entry

    @property
    def first_available(self) -> int:
        """The lowest slot whose block is there; holes above it do not show (Agave,
        ledger/src/blockstore.rs, `get_first_available_block`)."""
        return next((block.slot for block in self.blocks if not self.lacks(block.slot)), self.head.slot)

    def skip(self, slots: int) -> None:
        """Let slots pass without a block."""
        self.next_slot += slots

    def roll_back(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Take the last `depth` blocks away; their transactions but for `drop` wait again, before those that
        wait already. Their slots stay used up."""
        if not 0 < depth < len(self.blocks):
            raise ValueError(f"there are no {depth} blocks above the genesis")
        removed: list[VersionedTransaction] = []
        self._forks += 1
        for block in reversed(self.blocks[-depth:]):
            for entry in reversed(block.entries):
                for key, account in entry.before.items():
                    self.svm.set_account(key, account or Account(0, b"", SYSTEM_PROGRAM))
                del self.entries[entry.signature]
                for key in entry.keys:
                    self.by_address[str(key)].remove(entry.signature)
                removed.append(entry.transaction)
        del self.blocks[-depth:]
        self._set_clock(self.head.slot, self.head.time)
        waiting = [*removed[::-1], *self.pending.values()]
        by_signature = {str(transaction.signatures[0]): transaction for transaction in waiting}
        self.pending = {key: each for key, each in by_signature.items() if key not in drop}

    def _set_clock(self, slot: int, time: int) -> None:
        self.svm.warp_to_slot(slot)
        clock = self.svm.get_clock()
        clock.slot, clock.unix_timestamp = slot, time
        self.svm.set_clock(clock)
        self.svm.expire_blockhash()

    def _execute(self, transaction: VersionedTransaction, slot: int, time: int) -> Entry | None:
        writable, readonly = self._loaded(transaction)
        keys = [*transaction.message.account_keys, *writable, *readonly]
        before = {key: self.account(key) for key in keys}
        result = self.svm.send_transaction(transaction)
        error: Any = None
        if isinstance(result, FailedTransactionMetadata):
            error, meta = error_json(result), result.meta()
            if not (isinstance(error, dict) and next(iter(error)) in _CHARGED):
                return None
        else:
            meta = result
        after = {key: self.account(key) for key in keys}
        described = {
            "err": error,
            "status": {"Ok": None} if error is None else {"Err": error},
            "fee": meta.fee(),
            "preBalances": [_lamports(before[key]) for key in keys],
            "postBalances": [_lamports(after[key]) for key in keys],
            "preTokenBalances": self._token_balances(keys, before),
            "postTokenBalances": self._token_balances(keys, after),
            "innerInstructions": inner_instructions(meta) if self.records_inner else None,
            "logMessages": meta.logs() if self.records_inner else None,
            "rewards": [],
            "loadedAddresses": {
                "writable": [str(key) for key in writable],
                "readonly": [str(key) for key in readonly],
            },
            "computeUnitsConsumed": meta.compute_units_consumed(),
        }
        changed = {key: account for key, account in before.items() if account != after[key]}
        return Entry(transaction, slot, time, error, described, changed)

    def _loaded(self, transaction: VersionedTransaction) -> tuple[list[Pubkey], list[Pubkey]]:
        """Return the accounts that a transaction takes from address lookup tables: written and only read."""
        writable: list[Pubkey] = []
        readonly: list[Pubkey] = []
        for lookup in getattr(transaction.message, "address_table_lookups", ()):
            table = self.account(lookup.account_key)
            if table is None:
                continue  # it cannot be executed
            held = bytes(table.data)[_TABLE_HEAD:]
            addresses = [Pubkey.from_bytes(held[at : at + 32]) for at in range(0, len(held) - 31, 32)]
            writable += [addresses[at] for at in lookup.writable_indexes if at < len(addresses)]
            readonly += [addresses[at] for at in lookup.readonly_indexes if at < len(addresses)]
        return writable, readonly

    def _token_balances(
        self, keys: Sequence[Pubkey], accounts: dict[Pubkey, Account | None]
    ) -> list[dict[str, Any]]:
        found = []
        for index, key in enumerate(keys):
            account = accounts[key]
            if account is None or account.owner != TOKEN_PROGRAM_ID:
                continue
            if len(account.data) == TOKEN_ACCOUNT_BYTES:
                found.append({"accountIndex": index, **self.token_balance(account)})
        return found

    def token_balance(self, account: Account) -> dict[str, Any]:
        """Return a token account's balance as JSON-RPC writes it."""
        data = bytes(account.data)
        mint = Pubkey.from_bytes(data[:32])
        found = self.account(mint)
        decimals = 0 if found is None else found.data[44]
        amount = struct.unpack_from("<Q", data, 64)[0]
        return {
            "mint": str(mint),
            "owner": str(Pubkey.from_bytes(data[32:64])),
            "programId": str(TOKEN_PROGRAM_ID),
            "uiTokenAmount": token_amount(amount, decimals),
        }


def bid_of(transaction: VersionedTransaction) -> int:
    """Return a transaction's priority price, micro-lamports per unit."""
    keys = transaction.message.account_keys
    for instruction in transaction.message.instructions:
        data = bytes(instruction.data)
        if keys[instruction.program_id_index] == COMPUTE_BUDGET and data[:1] == _SET_UNIT_PRICE:
            return int(struct.unpack_from("<Q", data, 1)[0])
    return 0


def _lamports(account: Account | None) -> int:
    return 0 if account is None else account.lamports
