"""A Solana (the real SVM, by LiteSVM) where strangers lock and spend in every way that its grammar has.

The truth is what was composed: when a transaction succeeds, each of its steps was made, in order. Whether the
vaults stand afterwards is compared with the ledger's accounts too.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, MessageV1, TransactionConfig
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID

from bridge.chains.port import Claimed, Locked, LockStatus, Refunded, Revealed, Spent
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, BlockRef, LockId, LockTerms, Preimage
from relayers.solana import program, terms
from relayers.solana.adapter import SolanaPort, open_port
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.program import VaultTerms
from relayers.solana.settings import SOL
from scripts.build_solana import SOURCE, compile_object
from scripts.sbf_linker import link

PROXY_SOURCE = Path(__file__).parents[2] / "unit" / "solana" / "proxy.c"
TABLES = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
_MOST_BYTES = 1_232
_DEEPEST = 3
"""Calls of the proxy above the HTLC program: four levels of calls are allowed below a transaction's own."""
_SIZES = (0, 1, 8, 20, 31, 32, 32, 32, 32, 33, 40, 63, 64)


def proxy_code(scratch: Path) -> bytes:
    """Return the code of a program that calls the one that its first account names."""
    shutil.copy(PROXY_SOURCE, scratch)
    shutil.copy(SOURCE.parent / "sbf.h", scratch)
    return link(compile_object(scratch / PROXY_SOURCE.name), 3)


@dataclass
class Lock:
    """A vault and the preimage that opens it."""

    vault: VaultTerms
    at: Pubkey
    preimage: bytes
    early: bool
    """Its deadline comes soon: it can be refunded."""


@dataclass(frozen=True)
class Step:
    """One thing that a transaction does: "lock", "claim" or "refund"."""

    kind: str
    lock: Lock
    call: Instruction
    depth: int


@dataclass
class Sent:
    """A transaction: what it does when it succeeds, and whether its calls were recorded."""

    signature: str
    steps: list[Step]
    form: str
    recorded: bool
    shown: list[bytes] = field(default_factory=list)
    """Preimages that stand in it."""


class SolanaWorld:
    """Makes locks and spends, and compares what the port says of them."""

    def __init__(self, node: SolanaNode, proxy: bytes, seed: int) -> None:
        self._node = node
        self._chance = random.Random(f"solana/{seed}")
        self._proxy = Pubkey.from_bytes(bytes([7] * 32))
        node.ledger.svm.add_program(self._proxy, proxy)
        self._sender, self._recipient, self._payer = (
            Keypair.from_seed(devnet_key(f"hostile/{seed}/{who}")) for who in ("sender", "recipient", "payer")
        )
        self.port: SolanaPort = open_port(node.settings, devnet_key("hostile/reader"))
        self._program = terms.address(self.port.contract)
        self._ring: list[BlockRef] = []
        self._number = 0
        self._open: list[Lock] = []
        self.spends = 0
        self.ways: Counter[str] = Counter()

    async def start(self) -> SolanaWorld:
        for key in (self._sender, self._recipient, self._payer):
            await self._node.fund(str(key.pubkey()), SOL, 10**14)
        await self._node.mine(10)
        self._ring = list((await self.port.scan((), 1)).blocks)
        return self

    async def close(self) -> None:
        await self.port.close()

    # ------------------------------------------------------------------ one round

    async def round(self) -> None:
        """Make locks, spend most of them, read it all back, and compare."""
        sent: list[Sent] = []
        while len(self._open) < 40:
            sent += self._make_locks()
        await self._node.mine(1)
        await self._node.advance_time(self._chance.choice([1, 60]))
        self._node.ledger.records_inner = self._chance.random() < 0.8
        self._chance.shuffle(self._open)
        for _ in range(25):
            if self._open:
                sent.append(self._spend_some())
        await self._node.mine(1)
        self._node.ledger.records_inner = True
        await self._node.mine(9)
        await self._compare(sent)

    def _make_locks(self) -> list[Sent]:
        made = [self._new_lock() for _ in range(self._chance.randint(1, 4))]
        self._open += made
        steps = [Step("lock", lock, self._call_lock(lock), 0) for lock in made]
        return [self._submit(steps, [], [self._sender], "v0")]

    def _new_lock(self) -> Lock:
        self._number += 1
        preimage = self._chance.randbytes(self._chance.choice(_SIZES))
        early = self._chance.random() < 0.4
        deadline = self._node.ledger.head.time + (20 if early else 100_000)
        vault = VaultTerms(
            self._sender.pubkey(),
            self._recipient.pubkey(),
            Preimage(preimage).hashlock(),
            deadline,
            10**7 + self._number,
        )
        return Lock(vault, program.vault_address(self._program, vault)[0], preimage, early)

    def _call_lock(self, lock: Lock) -> Instruction:
        return program.lock(self._program, lock.vault)[0]

    def _spend_some(self) -> Sent:
        """Compose one transaction that spends one to three locks, and does other things."""
        chance = self._chance
        steps: list[Step] = []
        signers = [self._payer]
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            if not self._open:
                break
            lock = self._open.pop()
            steps.append(self._spend(lock, signers))
            if chance.random() < 0.15:
                # The same vault again, in the same transaction.
                steps.append(Step("lock", lock, self._call_lock(lock), 0))
                signers.append(self._sender)
                if chance.random() < 0.5:
                    steps.append(self._spend(lock, signers))
                else:
                    self._open.insert(0, lock)
        rubbish = self._rubbish(steps)
        if chance.random() < 0.1:
            # It fails at its end: nothing was spent, and yet it shows what it shows.
            poor = TransferParams(
                from_pubkey=self._payer.pubkey(), to_pubkey=self._recipient.pubkey(), lamports=10**17
            )
            rubbish.append(transfer(poor))
        return self._submit(steps, rubbish, signers, chance.choice(["legacy", "v0", "v0", "tables", "v1"]))

    def _spend(self, lock: Lock, signers: list[Keypair]) -> Step:
        chance, payer = self._chance, self._payer.pubkey()
        late = self._node.ledger.head.time >= lock.vault.deadline
        kind = chance.choice(["claim", "claim", "refund" if late else "claim", "together"])
        if kind == "claim":
            (call,) = program.claim(self._program, lock.vault, lock.preimage, payer)
        else:
            together = kind == "together"
            (call,) = program.refund(self._program, lock.vault, payer, cooperative=together)
            if together:
                signers.append(self._recipient)
        depth = chance.choice([0, 0, 1, 2, _DEEPEST])
        depth = min(depth, 8 - len(call.accounts))
        for _ in range(depth):
            passed = [AccountMeta(call.program_id, is_signer=False, is_writable=False), *call.accounts]
            call = Instruction(self._proxy, call.data, passed)
        return Step("claim" if kind == "claim" else "refund", lock, call, depth)

    def _rubbish(self, steps: Sequence[Step]) -> list[Instruction]:
        """Return what else a transaction holds: memos, gifts to vaults, calls that name them."""
        chance, found = self._chance, []
        if chance.random() < 0.3:
            text = bytes(chance.choice(b'abc "{}[]') for _ in range(chance.choice([0, 8, 32, 90])))
            found.append(Instruction(MEMO_PROGRAM_ID, text, []))
        if chance.random() < 0.3 and steps:
            gift = TransferParams(
                from_pubkey=self._payer.pubkey(),
                to_pubkey=steps[0].lock.at,
                lamports=chance.randint(10**6, 10**7),
            )
            found.append(transfer(gift))
        return found

    # ------------------------------------------------------------------ transactions

    def _submit(
        self, steps: list[Step], rubbish: Sequence[Instruction], signers: Sequence[Keypair], form: str
    ) -> Sent:
        parts = [step.call for step in steps]
        if self._chance.random() < 0.5 or any(part.program_id == MEMO_PROGRAM_ID for part in rubbish):
            parts += rubbish
        else:
            parts = [*rubbish, *parts] if not rubbish or rubbish[-1].data[4:] != _POOR else [*parts, *rubbish]
        keys = list(dict.fromkeys([self._payer, *signers]))
        transaction = self._compiled(parts, keys, form)
        while transaction is None:
            # Too long for one: do less, and leave the rest for another one.
            if len(steps) > 1 and steps[-1].kind != "lock" and not _again(steps):
                self._open.append(steps.pop().lock)
                parts = [step.call for step in steps]
            else:
                form = "tables" if form != "tables" else "v1"
            transaction = self._compiled(parts, keys, form)
        signature = self._node.ledger.submit(transaction, preflight=False)
        shown = [step.lock.preimage for step in steps if step.kind == "claim"]
        return Sent(signature, steps, form, self._node.ledger.records_inner, shown)

    def _compiled(
        self, parts: list[Instruction], keys: Sequence[Keypair], form: str
    ) -> VersionedTransaction | None:
        needed = {meta.pubkey for part in parts for meta in part.accounts if meta.is_signer}
        keys = [key for key in keys if key is self._payer or key.pubkey() in needed]
        payer, recent = self._payer.pubkey(), Hash.from_string(self._node.ledger.head.hash)
        message: Message | MessageV0 | MessageV1
        match form:
            case "legacy":
                message = Message.new_with_blockhash(parts, payer, recent)
            case "v1":
                limits = TransactionConfig(
                    compute_unit_limit=400_000, loaded_accounts_data_size_limit=1 << 20
                )
                message = MessageV1.try_compile(payer, parts, recent, limits)
            case _:
                tables = [self._table(parts)] if form == "tables" else []
                message = MessageV0.try_compile(payer, parts, tables, recent)
        in_order = sorted(keys, key=lambda key: list(message.account_keys).index(key.pubkey()))
        transaction = VersionedTransaction(message, in_order)
        return transaction if form == "v1" or len(bytes(transaction)) <= _MOST_BYTES else None

    def _table(self, parts: Sequence[Instruction]) -> AddressLookupTableAccount:
        """Put an address lookup table on the chain that holds what these instructions name."""
        named = dict.fromkeys(meta.pubkey for part in parts for meta in part.accounts if not meta.is_signer)
        addresses = list(named)[:200]
        at = Pubkey.new_unique()
        meta = struct.pack("<IQQBB", 1, 2**64 - 1, 0, 0, 0).ljust(56, b"\0")
        data = meta + b"".join(map(bytes, addresses))
        self._node.ledger.svm.set_account(at, Account(10**9, data, TABLES))
        return AddressLookupTableAccount(at, addresses)

    # ------------------------------------------------------------------ what the port says

    async def _compare(self, sent: Sequence[Sent]) -> None:
        events: dict[str, list[Any]] = {}
        aside: dict[str, str] = {}
        while (scan := await self.port.scan(tuple(self._ring), 200)).blocks:
            self._ring = [*self._ring, *scan.blocks][-100:]
            for event in scan.events:
                events.setdefault(event.tx_id, []).append(event)
            aside |= {item.item: item.reason for item in scan.set_aside}
        for tx in sent:
            self._compare_one(tx, events.pop(tx.signature, []), aside)
        assert not [event for found in events.values() for event in found if not isinstance(event, Revealed)]
        for tx in self._chance.sample(list(sent), min(3, len(sent))):
            await self._compare_status(tx)

    def _compare_one(self, tx: Sent, found: Sequence[Any], aside: dict[str, str]) -> None:
        entry = self._node.ledger.entries[tx.signature]
        said = [event for event in found if not isinstance(event, Revealed)]
        revealed = {event.preimage.reveal() for event in found if isinstance(event, Revealed)}
        did = [(step.kind, step.depth) for step in tx.steps]
        where = f"{tx.form} {did} {entry.error} {aside.get(tx.signature)}"
        if entry.error is not None:
            self.ways["failed"] += 1
            assert not said, where
            assert {preimage for preimage in tx.shown if preimage} <= revealed, where
            for step in tx.steps:
                if step.kind != "lock" and step.lock not in self._open and self._stands(step.lock):
                    self._open.append(step.lock)
            return
        spends = [step for step in tx.steps if step.kind != "lock"]
        self.spends += len(spends)
        self.ways[tx.form] += 1
        for step in spends:
            self.ways[f"{step.kind} at depth {step.depth}"] += 1
        if tx.recorded or all(step.depth == 0 for step in tx.steps):
            assert [_told(event) for event in said] == [_meant(step) for step in tx.steps], where
            assert tx.signature not in aside, where
            return
        # Its inner calls were not recorded: it is set aside, nothing is misread, and no secret is lost.
        self.ways["not recorded"] += 1
        assert tx.signature in aside, where
        meant = [_meant(step) for step in tx.steps]
        for event in said:
            if not isinstance(event, Spent):
                assert _told(event) in meant, where
        told = {event.lock_id for event in said}
        for step in spends:
            again = [other.kind for other in tx.steps if other.lock is step.lock].count("lock")
            if not again and not self._has_more(tx, step.lock):
                assert terms.lock_id(step.lock.at) in told, where
        claimed = {event.preimage.reveal() for event in said if isinstance(event, Claimed)}
        assert {preimage for preimage in tx.shown if preimage} <= revealed | claimed, where

    def _has_more(self, tx: Sent, lock: Lock) -> bool:
        """Whether a vault was given something in the same transaction, so that it did not lose lamports."""
        return self._stands(lock) or self._node.ledger.account(lock.at) is not None

    def _stands(self, lock: Lock) -> bool:
        account = self._node.ledger.account(lock.at)
        return account is not None and account.owner == self._program

    async def _compare_status(self, tx: Sent) -> None:
        for step in tx.steps:
            lock_id: LockId = terms.lock_id(step.lock.at)
            asked: LockTerms = terms.from_program(
                step.lock.vault, str(self._program), {"": self._node.settings.native}
            )
            assert self.port.lock_id(asked) == lock_id
            assert asked.amount == Amount(step.lock.vault.amount)
            status = await self.port.read_lock(lock_id, asked)
            if self._stands(step.lock):
                assert status is LockStatus.OPEN
                continue
            assert status in {LockStatus.CLAIMED, LockStatus.REFUNDED, LockStatus.SPENT, LockStatus.UNKNOWN}
            entry = self._node.ledger.entries[tx.signature]
            last = [other for other in tx.steps if other.lock is step.lock]
            # A vault that this transaction made again was spent by a later one.
            if entry.error is None and tx.recorded and last[-1].kind != "lock":
                wanted = LockStatus.CLAIMED if last[-1].kind == "claim" else LockStatus.REFUNDED
                did = [(s.kind, s.depth, s.lock is step.lock) for s in tx.steps]
                assert status is wanted, (status, tx.form, did, step.lock.vault.amount)


_POOR = struct.pack("<Q", 10**17)


def _again(steps: Sequence[Step]) -> bool:
    return any(step.kind == "lock" for step in steps)


def _meant(step: Step) -> tuple[str, LockId, bytes]:
    shown = step.lock.preimage if step.kind == "claim" else b""
    return step.kind, terms.lock_id(step.lock.at), shown


def _told(event: Any) -> tuple[str, LockId, bytes]:
    match event:
        case Locked(lock_id=lock_id):
            return "lock", lock_id, b""
        case Claimed(lock_id=lock_id, preimage=preimage):
            return "claim", lock_id, preimage.reveal()
        case Refunded(lock_id=lock_id):
            return "refund", lock_id, b""
    return type(event).__name__, event.lock_id, b""
