"""The rules of the sample chain: signed transactions, blocks, accounts and locks. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

SYMBOL, DECIMALS = "SMP", 6
MIN_FEE = 1_000
"""Smallest units: what any transaction pays at least."""
REPLACEMENT_PERCENT = 110
"""A transaction takes the place of a waiting one with its sequence if it bids this much of its fee."""
MAX_AMOUNT = 2**63 - 1


class InvalidError(Exception):
    """A transaction breaks a rule. `funds`: only because its sender has too little."""

    def __init__(self, reason: str, *, funds: bool = False) -> None:
        super().__init__(reason)
        self.funds = funds


class Tx(msgspec.Struct, frozen=True):
    """A transaction: `kind` is transfer, lock, claim, refund, give_back or anchor. `hashlock`, `preimage`,
    `lock_id`, `note` and `signature` are hex, `deadline` is in Unix seconds."""

    sender: str
    sequence: int
    fee: int
    kind: str
    recipient: str = ""
    amount: int = 0
    hashlock: str = ""
    deadline: int = 0
    lock_id: str = ""
    preimage: str = ""
    note: str = ""
    signature: str = ""

    def body(self) -> bytes:
        """Return what is signed: everything but the signature."""
        return b"sample transaction:" + msgspec.json.encode(msgspec.structs.replace(self, signature=""))

    @property
    def tx_id(self) -> str:
        """The id: a hash of what is signed, so that nobody can change it by another signature."""
        return hashlib.sha256(self.body()).hexdigest()

    def signed(self, key: bytes) -> Tx:
        """Return it with the signature of an ed25519 seed."""
        return msgspec.structs.replace(self, signature=SigningKey(key).sign(self.body()).signature.hex())

    def check_signature(self) -> None:
        """Raise `InvalidError` unless the sender signed it."""
        try:
            VerifyKey(public_key(self.sender)).verify(self.body(), bytes.fromhex(self.signature))
        except (BadSignatureError, ValueError):
            raise InvalidError("the signature is not the sender's") from None


def address_of(key: bytes) -> str:
    """Return the address of an ed25519 seed: its public key and a checksum, hex."""
    public = bytes(SigningKey(key).verify_key)
    return f"smp1{public.hex()}{hashlib.sha256(public).hexdigest()[:8]}"


def public_key(address: str) -> bytes:
    """Return the public key in an address. Raises ValueError for text that is none."""
    found = re.fullmatch(r"smp1([0-9a-f]{64})([0-9a-f]{8})", address)
    if found is None or hashlib.sha256(bytes.fromhex(found[1])).hexdigest()[:8] != found[2]:
        raise ValueError("no address of the sample chain")
    return bytes.fromhex(found[1])


def lock_id_of(sender: str, recipient: str, amount: int, hashlock: str, deadline: int) -> str:
    """Return the id of a lock: a hash of all of its terms."""
    terms = msgspec.json.encode([sender, recipient, amount, hashlock, deadline])
    return hashlib.sha256(b"sample lock:" + terms).hexdigest()


class Block(msgspec.Struct, frozen=True):
    """A block. `branch` counts the reorgs, so that another branch has other ids."""

    height: int
    parent: str
    time: int
    branch: int
    txs: tuple[Tx, ...] = ()

    @property
    def id(self) -> str:
        """A hash of the header, which names every transaction."""
        header = [self.height, self.parent, self.time, self.branch, [tx.tx_id for tx in self.txs]]
        return hashlib.sha256(b"sample block:" + msgspec.json.encode(header)).hexdigest()


class Lock(msgspec.Struct):
    """A lock's terms and whether it is open, claimed or refunded."""

    sender: str
    recipient: str
    amount: int
    hashlock: str
    deadline: int
    status: str = "open"


@dataclass
class Ledger:
    """What stands after a block: smallest units and next sequences by address, locks by id."""

    balances: dict[str, int] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    locks: dict[str, Lock] = field(default_factory=dict)

    def apply(self, tx: Tx, now: int) -> None:
        """Take a transaction in. `now` is the time of the block before: deadlines are compared with it.

        Raises `InvalidError` and then changes nothing: what is invalid is in no block.
        """
        if tx.sequence != self.sequences.get(tx.sender, 0):
            raise InvalidError("it is not the sender's next sequence")
        self.check(tx, now)
        self._add(tx.sender, -tx.fee)
        self.sequences[tx.sender] = tx.sequence + 1
        match tx.kind:
            case "transfer":
                self._add(tx.sender, -tx.amount)
                self._add(tx.recipient, tx.amount)
            case "lock":
                self._add(tx.sender, -tx.amount)
                lock = Lock(tx.sender, tx.recipient, tx.amount, tx.hashlock, tx.deadline)
                self.locks[_id_of_lock_in(tx)] = lock
            case "claim" | "refund" | "give_back":
                lock = self.locks[tx.lock_id]
                self._add(lock.recipient if tx.kind == "claim" else lock.sender, lock.amount)
                lock.status = "claimed" if tx.kind == "claim" else "refunded"

    def check(self, tx: Tx, now: int) -> None:
        """Raise `InvalidError` where the transaction breaks a rule, apart from its sequence and signature."""
        if tx.fee < MIN_FEE or not 0 <= tx.amount <= MAX_AMOUNT:
            raise InvalidError("the fee or the amount is out of range")
        match tx.kind:
            case "transfer" | "lock":
                self._check_payment(tx)
                if tx.kind == "lock":
                    self._check_lock(tx, now)
            case "claim" | "refund" | "give_back":
                self._check_spend(tx, now)
            case "anchor":
                pass
            case _:
                raise InvalidError(f"there is no {tx.kind!r} on this chain")
        paid = tx.amount if tx.kind in ("transfer", "lock") else 0
        if self.balances.get(tx.sender, 0) < tx.fee + paid:
            raise InvalidError(f"the sender has less than {tx.fee + paid}", funds=True)

    def _check_payment(self, tx: Tx) -> None:
        try:
            public_key(tx.recipient)
        except ValueError as error:
            raise InvalidError(str(error)) from None

    def _check_lock(self, tx: Tx, now: int) -> None:
        if tx.amount == 0 or not re.fullmatch(r"[0-9a-f]{64}", tx.hashlock):
            raise InvalidError("a lock needs an amount and a hashlock of 32 bytes")
        if tx.deadline <= now:
            raise InvalidError("the deadline has passed")
        if _id_of_lock_in(tx) in self.locks:
            raise InvalidError("there is a lock with these terms")

    def _check_spend(self, tx: Tx, now: int) -> None:
        lock = self.locks.get(tx.lock_id)
        if lock is None or lock.status != "open":
            raise InvalidError("there is no such lock" if lock is None else f"the lock is {lock.status}")
        if tx.kind == "claim":
            preimage = bytes.fromhex(tx.preimage)
            if len(preimage) > 64 or hashlib.sha256(preimage).hexdigest() != lock.hashlock:
                raise InvalidError("the preimage does not open the lock")
        elif tx.kind == "refund" and now < lock.deadline:
            raise InvalidError("the deadline has not passed")
        elif tx.kind == "give_back" and tx.sender != lock.recipient:
            raise InvalidError("only the recipient can give a lock back early")

    def _add(self, address: str, amount: int) -> None:
        self.balances[address] = self.balances.get(address, 0) + amount


def _id_of_lock_in(tx: Tx) -> str:
    return lock_id_of(tx.sender, tx.recipient, tx.amount, tx.hashlock, tx.deadline)
