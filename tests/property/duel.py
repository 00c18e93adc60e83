"""The specification against the node: the same blocks through both, honest and adversarial.

`Duel` holds a node's chain (`chain.consensus.chain`, with the compiled rules) and the specification's tree of
blocks, makes blocks at random and offers each to both. They must give the same verdict, the same reason, the
same place of the fault, and afterwards the same head and state. `compare_records` and `compare_coins` do so
for the compiled functions alone, on input that no real chain would reach.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from chain.consensus.chain import Chain
from chain.mining.template import solve
from chain.rules import compiled
from chain.rules.accounts import Account
from chain.rules.block import Block, U64Array, pack_transactions, witness_commitment
from chain.rules.difficulty import next_target
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.genesis import genesis_block
from chain.rules.hashing import keccak256, sha256
from chain.rules.header import MAX_TIME, Header
from chain.rules.locks import Lock, LockState
from chain.rules.params import (
    BLOCK_TIME,
    COIN,
    DEV,
    FUTURE_LIMIT,
    MAX_AMOUNT,
    MAX_BLOCK_TRANSACTIONS,
    NetworkParams,
)
from chain.rules.records import (
    AUX_BYTES,
    BODY_WORDS,
    WITNESS_WORDS,
    ZERO20,
    Kind,
    Transaction,
    Witness,
)
from chain.rules.spec import blocks as spec_blocks
from chain.rules.spec import fork_choice, transition, values
from chain.rules.types import BlockHeight, BlockId, KeyHash, LockId, TxId, UnixSeconds
from chain.wallet.keys import Key, dev_treasury_key
from chain.wallet.transactions import consent_to_refund, sign

KEYS = (dev_treasury_key(), *(Key.from_secret(sha256(name)) for name in (b"a", b"b", b"c")))
PREIMAGES = tuple(bytes([i]) * length for i, length in enumerate((0, 1, 32, 63, 64)))
PREIMAGE_OF = {sha256(preimage): preimage for preimage in PREIMAGES}
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
RETARGETING = replace(DEV, retarget=True)

ChangeArrays = Callable[[U64Array, U64Array], tuple[U64Array, U64Array]]
"""Takes and returns bodies and witnesses."""

Verdict = tuple[Reason, int | None] | None
"""Why and where something was refused; None when it was accepted."""


def verdict_of(act: Callable[[], object]) -> Verdict:
    """Run one of the two and return what it says."""
    try:
        act()
    except RuleBrokenError as error:
        return error.reason, error.index
    return None


@dataclass
class Draft:
    """A block in the making: honest unless spoilt."""

    parent: BlockId
    height: int
    time: int
    target: int
    transactions: list[Transaction]
    coinbase: Transaction
    version: int = 1
    root: bytes | None = None
    commitment: bytes | None = None
    solved: bool = True
    change_arrays: list[Callable[[U64Array, U64Array], tuple[U64Array, U64Array]]] = field(
        default_factory=list
    )
    change_after_root: bool = False

    def finish(self) -> Block:
        """Return the block, its commitments fitting what it holds unless spoilt."""
        bodies, witnesses = pack_transactions([self.coinbase, *self.transactions])
        if not self.change_after_root:
            bodies, witnesses = self._changed(bodies, witnesses)
        if len(bodies):
            promised = self.commitment or witness_commitment(witnesses)
            bodies[0, 9:13] = np.frombuffer(promised, np.uint64)
        root = self.root or spec_blocks.merkle_root([keccak256(row.tobytes()) for row in bodies])
        if self.change_after_root:
            bodies, witnesses = self._changed(bodies, witnesses)
        header = Header(self.time, self.height, self.target, self.parent, root, version=self.version)
        block = Block(header, np.ascontiguousarray(bodies), np.ascontiguousarray(witnesses))
        return solve(block, start=0) if self.solved else block

    def _changed(self, bodies: U64Array, witnesses: U64Array) -> tuple[U64Array, U64Array]:
        for change in self.change_arrays:
            bodies, witnesses = change(bodies, witnesses)
        return bodies, witnesses


class Duel:
    """One game. `reasons` counts the verdicts that both gave."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.params: NetworkParams = RETARGETING if seed % 3 == 2 else DEV
        self.now = self.params.genesis_time + BLOCK_TIME
        self.chain = Chain(self.params, directory, clock=lambda: self.now, sync=False)
        self.tree = fork_choice.new_tree(genesis_block(self.params), self.params)
        self.reasons: Counter[str] = Counter()
        self.seen_transactions: dict[TxId, Transaction] = {}
        self.known: list[BlockId] = [self.tree.head]
        self.offered: list[Block] = []
        assert self.tree.head == self.chain.genesis_id
        self.compare_states()

    def close(self) -> None:
        self.chain.close()

    # comparing ----------------------------------------------------------------------------------------

    def offer(self, block: Block) -> Verdict:
        """Offer a block to both; what they say and where they stand must be the same."""
        spec = verdict_of(lambda: fork_choice.on_block(self.tree, block, UnixSeconds(self.now)))
        node = verdict_of(lambda: self.chain.accept_block(Block(block.header, block.bodies, block.witnesses)))
        assert node == spec, f"the node says {node}, the specification {spec}"
        self.reasons["accepted" if spec is None else spec[0].value] += 1
        self.compare_states()
        self.offered.append(block)
        if spec is None:
            self.known.append(spec_blocks.block_id(block.header))
        return spec

    def compare_states(self) -> None:
        state, tip = self.tree.state, self.chain.tip
        assert (tip.id, tip.work) == (self.tree.head, self.tree.work[self.tree.head])
        assert (tip.issued, tip.locked) == (state.issued, state.locked)
        with self.chain.store.view() as view:
            assert dict(view.accounts()) == state.accounts
            assert dict(view.locks()) == state.locks
            for txid in self.seen_transactions.keys() | state.transactions.keys():
                place = view.get_place(txid)
                assert (place and (place.height, place.index)) == state.transactions.get(txid)
            for root in {sha256(preimage) for preimage in PREIMAGES}:
                expected = {txid for anchored, txid in state.anchors if anchored == root}
                assert set(view.find_anchors(root, 1_000)) == expected

    # making blocks ------------------------------------------------------------------------------------

    def play(self, count: int) -> None:
        """Make and offer at least so many blocks."""
        for _ in range(count):
            self.now += self.random.choice((0, 1, 1, 5, 60, 400))
            if self.offered and self.random.random() < 0.04:
                self.offer(self.random.choice(self.offered))
                continue
            if self.chain.tip.height >= 2 and self.random.random() < 0.03:
                self.offer_branch_on_a_bad_block()
                continue
            draft = self.draft(self.parent())
            self.spoil_block(draft)
            self.offer(draft.finish())

    def offer_branch_on_a_bad_block(self) -> None:
        """Build on a block stored unchecked until its branch is the heaviest, and then beside that."""
        parent = self.tree.headers[self.tree.headers[self.tree.head].previous].previous
        bad = self.draft(parent)
        bad.coinbase = replace(bad.coinbase, amount=bad.coinbase.amount + 1 & 2**64 - 1)
        block = bad.finish()
        for _ in range(2):
            if self.offer(block) is not None:
                return
            parent = spec_blocks.block_id(block.header)
            block = self.draft(parent).finish()
        self.offer(block)
        self.offer(self.draft(BlockId(block.header.previous)).finish())

    def parent(self) -> BlockId:
        chance = self.random.random()
        if chance < 0.70:
            return self.tree.head
        if chance < 0.97 or not self.tree.invalid:
            return self.random.choice(self.known[-6:])
        return self.random.choice(sorted(self.tree.invalid))

    def state_after(self, block: BlockId) -> values.State:
        """The state of a block; of one never on the main chain, that of the nearest ancestor that was."""
        while block not in self.tree.states:
            block = BlockId(self.tree.headers[block].previous)
        return self.tree.states[block]

    def draft(self, parent: BlockId) -> Draft:
        while parent not in self.tree.headers:  # an invalid block that was not kept
            parent = self.tree.head
        ancestors = fork_choice.ancestors_of(self.tree, parent)
        state, median = self.state_after(parent), spec_blocks.median_time_of(ancestors)
        height = self.tree.headers[parent].height + 1
        transactions = self.transactions(state, median)
        for tx in transactions:
            self.seen_transactions[tx.txid] = tx
        miner = self.random.choice(KEYS).key_hash
        subsidy = transition.subsidy_of(state, self.params, KeyHash(miner), BlockHeight(height))
        fees = sum(tx.fee for tx in transactions)
        coinbase = Transaction(
            Kind.COINBASE, self.params.chain_id, height, (subsidy + fees) % 2**64, 0, ZERO20, miner,
            deadline=self.random.getrandbits(64),
        )  # fmt: skip
        time = max(self.now, median + 1)
        return Draft(parent, height, time, next_target(self.params, ancestors), transactions, coinbase)

    def transactions(self, state: values.State, median: int) -> list[Transaction]:
        """Some transactions on a state, most of them valid one after the other."""
        scratch = state.copy()
        made: list[Transaction] = []
        for _ in range(self.random.choice((0, 1, 1, 2, 3, 5, 8))):
            if self.seen_transactions and self.random.random() < 0.03:
                tx = self.random.choice(list(self.seen_transactions.values()))
                if self.random.random() < 0.3:
                    tx = self.spoil(tx, scratch)
            else:
                tx = self.transaction(scratch, median)
                if self.random.random() < 0.06:
                    tx = self.spoil(tx, scratch)
            made.append(tx)
            self.foresee(scratch, tx, median)
        return made

    @staticmethod
    def foresee(scratch: values.State, tx: Transaction, median: int) -> None:
        """Carry a transaction's effects on, as far as it is valid, so that the next can build on them."""
        record = values.SignedRecord.read(tx.body, tx.witness.encode())
        later = BlockHeight(1)
        for act in (
            lambda: (
                transition.make_lock(scratch, record, UnixSeconds(median), later)
                if tx.kind == Kind.HTLC_LOCK
                else None
            ),
            lambda: (
                transition.spend_lock(scratch, record, UnixSeconds(median), later)
                if tx.kind in (Kind.HTLC_CLAIM, Kind.HTLC_REFUND, Kind.HTLC_COOPERATIVE_REFUND)
                else None
            ),
            lambda: transition.move_coins(scratch, record),
        ):
            verdict_of(act)

    def transaction(self, state: values.State, median: int) -> Transaction:
        pick = self.random
        key, other = pick.choice(KEYS), pick.choice(KEYS)
        account = state.account(KeyHash(key.key_hash))
        fee = pick.choice((0, 1, 1_000, COIN, account.balance % 10**6))
        amount = pick.choice((1, COIN, max(account.balance - fee, 1), account.balance // 2 + 1))
        preimage = pick.choice(PREIMAGES)
        kind = pick.choice((2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7))
        basics: dict[str, Any] = {
            "chain_id": self.params.chain_id,
            "nonce": account.nonce,
            "sender": key.key_hash,
            "fee": fee,
        }
        if kind == Kind.TRANSFER:
            recipient = pick.choice((other.key_hash, KeyHash(sha256(pick.randbytes(2))[:20])))
            return sign(key, Transaction(kind, amount=amount, recipient=recipient, **basics))
        if kind == Kind.ANCHOR:
            return sign(key, Transaction(kind, amount=pick.choice((0, 9)), hash=sha256(preimage), **basics))
        open_locks = [lock for lock in state.locks.items() if lock[1].state is LockState.OPEN]
        if kind == Kind.HTLC_LOCK or not (open_locks or (state.locks and pick.random() < 0.1)):
            deadline = median + pick.choice((0, 1, 1, 2, 60, 60, 60, 600, 600))
            terms: dict[str, Any] = {"hash": sha256(preimage), "deadline": max(deadline, 0)}
            terms["recipient"] = other.key_hash
            return sign(key, Transaction(Kind.HTLC_LOCK, amount=amount, **terms, **basics))
        spent, lock = pick.choice(
            open_locks if open_locks and pick.random() < 0.95 else [*state.locks.items()]
        )
        return self.spend(Kind(kind), spent, lock, key, basics)

    def spend(self, kind: Kind, spent: LockId, lock: Lock, key: Key, basics: dict[str, Any]) -> Transaction:
        payee = lock.recipient if kind is Kind.HTLC_CLAIM else lock.sender
        amount = lock.amount
        if self.random.random() < 0.15:
            amount, payee = self.random.choice(
                (
                    ((amount - 1) % 2**64, payee),
                    ((amount + 1) % 2**64, payee),
                    (amount, lock.sender),
                    (amount, lock.recipient),
                )
            )
        tx = Transaction(kind, amount=amount, recipient=payee, hash=spent, **basics)
        if kind is Kind.HTLC_CLAIM:
            known = PREIMAGE_OF.get(lock.hashlock, b"?")
            return sign(key, tx, known if self.random.random() < 0.92 else self.random.choice(PREIMAGES))
        if kind is Kind.HTLC_REFUND or (key.key_hash == lock.recipient and self.random.random() < 0.5):
            return sign(key, tx)
        owner = next((owner for owner in KEYS if owner.key_hash == lock.recipient), KEYS[0])
        signer = owner if self.random.random() < 0.85 else self.random.choice(KEYS)
        return sign(key, tx, consent_to_refund(signer, spent))

    # spoiling -----------------------------------------------------------------------------------------

    def spoil(self, tx: Transaction, state: values.State) -> Transaction:
        """Break one thing in a transaction, most often under a good signature."""
        pick = self.random
        balance = state.account(KeyHash(tx.sender)).balance
        aux = tx.witness.aux
        fields: list[dict[str, Any]] = [
            {"nonce": tx.nonce + 1}, {"nonce": (tx.nonce - 1) % 2**64}, {"nonce": tx.nonce + 2**32},
            {"amount": 0}, {"amount": MAX_AMOUNT}, {"amount": MAX_AMOUNT + 1}, {"amount": 2**64 - 1},
            {"amount": tx.amount + 1}, {"amount": max(tx.amount - 1, 0)}, {"amount": balance + 1 & 2**64 - 1},
            {"fee": MAX_AMOUNT}, {"fee": MAX_AMOUNT + 1}, {"fee": balance}, {"fee": balance + 1},
            {"chain_id": tx.chain_id + 1}, {"chain_id": 1},
            {"kind": pick.choice((0, 8, 9, 255, *range(1, 8)))}, {"kind": pick.choice(range(1, 8))},
            {"recipient": ZERO20}, {"recipient": pick.choice(KEYS).key_hash}, {"recipient": tx.sender},
            {"hash": bytes(32)}, {"hash": pick.randbytes(32)}, {"hash": bytes(31) + b"\x01"},
            {"deadline": 1}, {"deadline": 0}, {"deadline": 2**64 - 1}, {"sender": pick.choice(KEYS).key_hash},
            {"sender": ZERO20},
        ]  # fmt: skip
        auxes = [
            b"", b"x", bytes(64), bytes(65), bytes(96), bytes(97), aux[:-1],
            aux + b"\0" if len(aux) < 97 else b"", PREIMAGES[2],
            consent_to_refund(pick.choice(KEYS), tx.lock_id),
            consent_to_refund(pick.choice(KEYS), LockId(sha256(tx.hash))),
        ]  # fmt: skip
        choice = pick.random()
        key = next((key for key in KEYS if key.key_hash == tx.sender), KEYS[0])
        if choice < 0.55:
            changed = replace(tx, **pick.choice(fields))
            owner = next((key for key in KEYS if key.key_hash == changed.sender), key)
            return changed.with_witness(Witness(owner.sign(changed.txid), owner.public_key, aux))
        if choice < 0.75:
            return tx.with_witness(Witness(key.sign(tx.txid), key.public_key, pick.choice(auxes)))
        r, s = tx.witness.signature[:32], int.from_bytes(tx.witness.signature[32:], "big")
        thief = pick.choice(KEYS)
        return tx.with_witness(
            pick.choice(
                (
                    Witness(thief.sign(tx.txid), thief.public_key, aux),
                    Witness(thief.sign(tx.txid), key.public_key, aux),
                    Witness(r + (CURVE_ORDER - s).to_bytes(32, "big"), key.public_key, aux),
                    Witness(key.sign(sha256(tx.body)), key.public_key, aux),
                    Witness(bytes(64), key.public_key, aux),
                    Witness(pick.randbytes(64), key.public_key, aux),
                    Witness(tx.witness.signature, bytes(33), aux),
                    Witness(tx.witness.signature, b"\x04" + key.public_key[1:], aux),
                )
            )
        )

    def spoil_block(self, draft: Draft) -> None:
        """Break something in a block, three times in ten."""
        pick = self.random
        if pick.random() < 0.7:
            return
        median = spec_blocks.median_time_of(fork_choice.ancestors_of(self.tree, draft.parent))
        pick.choice((self.spoil_header, self.spoil_coinbase, self.spoil_order, self.spoil_bits))(
            draft, median
        )

    def spoil_header(self, draft: Draft, median: int) -> None:
        pick = self.random
        latest = self.now + FUTURE_LIMIT
        field, value = pick.choice(
            (
                ("parent", BlockId(pick.randbytes(32))),
                ("parent", pick.choice([*sorted(self.tree.invalid), draft.parent])),
                ("height", draft.height + 1), ("height", max(draft.height - 1, 0)),
                ("version", 0), ("version", 2), ("version", 65_535),
                ("target", 0x207FFFFF), ("target", draft.target - 1), ("target", draft.target + 1),
                ("time", median), ("time", max(median - 1, 0)), ("time", median + 1),
                ("time", latest), ("time", latest + 1), ("time", MAX_TIME),
                ("solved", False), ("root", pick.randbytes(32)), ("commitment", pick.randbytes(32)),
            )
        )  # fmt: skip
        setattr(draft, field, value)
        if field == "target":
            draft.solved = value != draft.target - 1  # cheap unless it is a much harder one

    def spoil_coinbase(self, draft: Draft, _: int) -> None:
        pick, coinbase = self.random, draft.coinbase
        changes: list[dict[str, Any]] = [
            {"amount": (coinbase.amount + 1) % 2**64}, {"amount": max(coinbase.amount - 1, 0)},
            {"amount": 0}, {"amount": MAX_AMOUNT + 1}, {"nonce": coinbase.nonce + 1}, {"nonce": 0},
            {"fee": 1}, {"sender": KEYS[0].key_hash}, {"recipient": ZERO20}, {"kind": Kind.TRANSFER},
            {"chain_id": 9}, {"fee": 1, "amount": coinbase.amount + 1 & 2**64 - 1},
            {"witness": Witness(aux=b"x")}, {"witness": Witness(b"\x01" + bytes(63))},
            {"recipient": sha256(b"new miner")[:20]},
        ]  # fmt: skip
        draft.coinbase = replace(coinbase, **pick.choice(changes))

    def spoil_order(self, draft: Draft, _: int) -> None:
        """Repeat, drop, swap or add transactions: the coinbase's amount fits what was there before."""
        pick = self.random
        ways: list[Callable[[Sequence[int]], list[int]]] = [
            lambda rows: [*rows, rows[-1]], lambda rows: list(rows[1:]), lambda rows: list(rows[::-1]),
            lambda rows: [rows[0], *rows], lambda _: [], lambda rows: list(rows[:-1]) or list(rows),
        ]  # fmt: skip
        rows = pick.choice(ways)(range(1 + len(draft.transactions)))
        if pick.random() < 0.12:
            rows = [0] * (MAX_BLOCK_TRANSACTIONS + pick.choice((0, 1)))
        if pick.random() < 0.06:
            sender, fee = KEYS[1], MAX_AMOUNT
            rich = Transaction(
                Kind.TRANSFER, self.params.chain_id, 0, 1, fee, sender.key_hash, sender.key_hash
            )
            draft.transactions, rows = [sign(sender, rich)] * 16, list(range(17))
        draft.change_after_root = pick.random() < 0.2
        draft.change_arrays.append(lambda bodies, witnesses: (bodies[rows], witnesses[rows]))

    def spoil_bits(self, draft: Draft, _: int) -> None:
        """Flip one bit anywhere."""
        pick = self.random
        in_body, row = pick.random() < 0.6, pick.randrange(1 + len(draft.transactions))
        word = pick.randrange(BODY_WORDS if in_body else WITNESS_WORDS)
        bit = np.uint64(1 << pick.choice((0, 8, 9, 16, 31, 40, 63, pick.randrange(64))))

        def flip(bodies: U64Array, witnesses: U64Array) -> tuple[U64Array, U64Array]:
            (bodies if in_body else witnesses)[row, word] ^= bit
            return bodies, witnesses

        draft.change_after_root = pick.random() < 0.2
        draft.change_arrays.append(flip)


# the compiled functions by themselves -----------------------------------------------------------------


def random_records(pick: random.Random, count: int) -> tuple[U64Array, U64Array]:
    """Records that are valid by themselves but for a few fields at their limits or beyond."""
    transactions = []
    fees = (MAX_AMOUNT,) if pick.random() < 0.2 else (0, 1_000, MAX_AMOUNT)
    for place in range(count):
        kind = Kind.COINBASE if place == 0 and pick.random() < 0.7 else Kind(pick.randint(2, 7))
        aux = pick.choice((0, 1, 64)) if kind is Kind.HTLC_CLAIM else 0
        aux = pick.choice((0, AUX_BYTES)) if kind is Kind.HTLC_COOPERATIVE_REFUND else aux
        coinbase, anchor = kind is Kind.COINBASE, kind is Kind.ANCHOR
        witness = (
            Witness() if coinbase else Witness(pick.randbytes(64), pick.randbytes(33), pick.randbytes(aux))
        )
        tx = Transaction(
            kind, 3, nonce=7, amount=pick.choice((1, COIN, MAX_AMOUNT)),
            fee=0 if coinbase else pick.choice(fees),
            sender=ZERO20 if coinbase else KeyHash(pick.randbytes(20)),
            recipient=ZERO20 if anchor else KeyHash(pick.randbytes(20)),
            hash=bytes(32) if kind is Kind.TRANSFER else pick.randbytes(32),
            deadline=pick.getrandbits(64) if kind in (Kind.HTLC_LOCK, Kind.COINBASE) else 0, witness=witness,
        )  # fmt: skip
        if pick.random() < 0.25:
            changes: list[dict[str, Any]] = [
                {"kind": pick.choice((0, 1, 8, 255, *range(1, 8)))},
                {"chain_id": pick.choice((0, 2, 2**32 - 1))},
                {"nonce": 8}, {"amount": pick.choice((0, MAX_AMOUNT + 1, 2**64 - 1))},
                {"fee": pick.choice((1, MAX_AMOUNT + 1, 2**64 - 1))},
                {"recipient": pick.choice((ZERO20, b"\x01" + bytes(19), bytes(19) + b"\x01"))},
                {"recipient": bytes(4) + b"\x01" + bytes(15)}, {"recipient": bytes(12) + b"\x01" + bytes(7)},
                {"sender": pick.choice((ZERO20, b"\x01" + bytes(19), bytes(19) + b"\x01"))},
                {"hash": pick.choice((bytes(32), b"\x01" + bytes(31), bytes(31) + b"\x01"))},
                {"deadline": pick.choice((0, 1, 2**64 - 1))},
                {"witness": replace(witness, aux=pick.randbytes(pick.randint(0, AUX_BYTES)))},
                {"witness": Witness()},
            ]  # fmt: skip
            tx = replace(tx, **pick.choice(changes))
        transactions.append(tx)
    bodies, witnesses = pack_transactions(transactions)
    if count and pick.random() < 0.3:
        rows: Any = pick.choice((bodies.view(np.uint8), witnesses.view(np.uint8)))
        rows[pick.randrange(count), pick.randrange(rows.shape[1])] = pick.choice((0, 1, 65, 97, 98, 255))
    return bodies, witnesses


def compare_records(pick: random.Random) -> Verdict:
    """Hold the compiled check of records against the specification's on one random list."""
    bodies, witnesses = random_records(pick, pick.choice((0, 1, 1, 2, 3, 18)))
    height = pick.choice((None, 7, 7, 7))
    found: list[int] = []
    fast = verdict_of(lambda: found.append(compiled.check_records(bodies, witnesses, 3, height)))
    records = [
        values.SignedRecord.read(body.tobytes(), witness.tobytes())
        for body, witness in zip(bodies, witnesses, strict=True)
    ]
    spec = verdict_of(lambda: found.append(spec_blocks.check_records(records, 3, height)))
    assert fast == spec, f"compiled {fast}, specification {spec}"
    assert len(set(found)) <= 1, f"sums of fees {found}"
    return spec


def compare_coins(pick: random.Random) -> Verdict:
    """Hold the compiled movement of coins against the specification's, with balances near 2⁶⁴ too."""
    addresses = [KeyHash(pick.randbytes(20)) for _ in range(4)]
    rich = (0, 1, 10, MAX_AMOUNT, 2**64 - 1, 2**64 - MAX_AMOUNT, 2**63)
    state = values.State(
        {
            address: Account(pick.choice(rich), pick.choice((0, 0, 5)), pick.choice((0, 3)), 0)
            for address in addresses
        }
    )
    nonces = {address: account.nonce for address, account in state.accounts.items()}
    in_block = pick.random() < 0.7
    transactions = []
    for place in range(pick.choice((1, 1, 2, 4, 8))):
        kind = Kind.COINBASE if in_block and place == 0 else Kind(pick.randint(2, 7))
        sender = KeyHash(ZERO20) if kind is Kind.COINBASE else pick.choice(addresses)
        nonce = nonces.get(sender, 0) + (pick.choice((1, 2**64 - 1)) if pick.random() < 0.05 else 0)
        recipient = ZERO20 if kind is Kind.ANCHOR else pick.choice(addresses)
        amount, fee = pick.choice((1, 9, 10, MAX_AMOUNT)), pick.choice((0, 0, 1, MAX_AMOUNT))
        transactions.append(Transaction(kind, 3, nonce % 2**64, amount, fee, sender, recipient))
        nonces[sender] = nonces.get(sender, 0) + 1
    bodies, witnesses = pack_transactions(transactions)
    keys, senders, recipients = compiled.index_accounts(bodies)
    rows = [KeyHash(row.tobytes()) for row in keys]
    accounts = np.array(
        [[a.balance, a.nonce, a.blocks_mined, a.anchors_carried] for a in map(state.account, rows)], np.uint64
    )
    fast = verdict_of(
        lambda: compiled.apply_accounts(bodies, senders, recipients, accounts, in_block=in_block)
    )
    records = [
        values.SignedRecord.read(body.tobytes(), witness.tobytes())
        for body, witness in zip(bodies, witnesses, strict=True)
    ]

    def move() -> None:
        for index, tx in list(enumerate(records))[1 if in_block else 0 :]:
            with values.at_fault(index):
                transition.move_coins(state, tx)
        if in_block:
            carries = any(tx.kind == Kind.ANCHOR for tx in records)
            transition.pay_coinbase(state, records[0], carries)

    spec = verdict_of(move)
    assert fast == spec, f"compiled {fast}, specification {spec}"
    if spec is None:
        got = {key: Account(*map(int, row)) for key, row in zip(rows, accounts, strict=True)}
        assert got == {key: state.account(key) for key in rows}
    return spec
