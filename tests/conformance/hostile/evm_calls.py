"""Calls of the HTLC contract in odd but accepted encodings, and every way in which a contract can make
them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from eth_abi.abi import encode
from eth_hash.auto import keccak

from relayers.evm.htlc import (
    COIN,
    Call,
    EvmLockTerms,
    encode_claim,
    encode_claim_batch,
    encode_lock,
    encode_refund,
)

_TERMS = "(address,address,address,uint256,bytes32,uint64,uint32)"
_STEPS = "(address,uint256,bytes)[]"
_CLAIM_BYTES = keccak(f"claimBytes(bytes,{_TERMS})".encode())[:4]
_HEAD = 8 * 32
"""Of claimBytes: where its byte string is, and the seven words of the terms."""


@dataclass(frozen=True)
class Locked:
    """What a transaction makes: a lock."""

    terms: EvmLockTerms


@dataclass(frozen=True)
class Claimed:
    """What a transaction makes: a claim."""

    terms: EvmLockTerms
    preimage: bytes


@dataclass(frozen=True)
class Refunded:
    """What a transaction makes: a refund."""

    terms: EvmLockTerms


Effect = Locked | Claimed | Refunded


@dataclass(frozen=True)
class Step:
    """One call, and what it makes when it succeeds. `shows`: secrets in its calldata."""

    to: str
    call: Call
    effects: tuple[Effect, ...] = ()
    shows: tuple[bytes, ...] = ()
    fails: bool = False


@dataclass(frozen=True)
class Sending:
    """One transaction. `to` None makes a contract. `succeeds`: what becomes of it."""

    sender: str
    to: str | None
    data: bytes
    value: int
    effects: tuple[Effect, ...]
    shows: tuple[bytes, ...] = ()
    succeeds: bool = True
    how: str = ""


# ---------------------------------------------------------------------- encodings of one call


def claim_bytes(terms: EvmLockTerms, preimage: bytes, rng: random.Random) -> bytes:
    """Return `claimBytes` with its byte string anywhere, and junk before and behind it."""
    gap = rng.randbytes(rng.choice((0, 0, 1, 31, 32, 100)))
    tail = rng.randbytes(rng.choice((0, 0, 5, 32, 64)))
    head = (_HEAD + len(gap)).to_bytes(32, "big") + encode([_TERMS], [terms.plain()])
    padding = bytes(-len(preimage) % 32) if rng.random() < 0.5 else b""
    return _CLAIM_BYTES + head + gap + len(preimage).to_bytes(32, "big") + preimage + padding + tail


def claim(terms: EvmLockTerms, preimage: bytes, rng: random.Random) -> bytes:
    """Return a claim by any of the entries that take this preimage."""
    if len(preimage) == 32 and rng.random() < 0.6:
        return encode_claim(terms, preimage).data + rng.randbytes(rng.choice((0, 0, 1, 32, 77)))
    return claim_bytes(terms, preimage, rng)


def batch(claims: list[tuple[EvmLockTerms, bytes]], rng: random.Random) -> bytes:
    """Return a batch of claims whose array may begin later than it need."""
    data = encode_claim_batch(claims).data
    words = 1 if claims[0][0].token == COIN else 2
    gap = rng.randbytes(rng.choice((0, 0, 1, 32, 45)))
    at = 4 + 32 * (words - 1)
    begins = int.from_bytes(data[at : at + 32], "big")
    moved = data[:at] + (begins + len(gap)).to_bytes(32, "big") + data[at + 32 : 4 + begins]
    return moved + gap + data[4 + begins :] + rng.randbytes(rng.choice((0, 9)))


# ---------------------------------------------------------------------- ways to make calls


@dataclass
class Ways:
    """Wraps steps into one transaction. `contracts` are accounts of `Hostile.sol`, `born` is the code of
    `Born`, `strangers` send."""

    htlc: str
    contracts: list[str]
    born: bytes
    strangers: list[str]
    rng: random.Random
    used: dict[str, int] = field(default_factory=dict)

    def claim(self, terms: EvmLockTerms, preimage: bytes) -> Step:
        """Return a claim in some encoding."""
        data = claim(terms, preimage, self.rng)
        return Step(self.htlc, Call(data), (Claimed(terms, preimage),), (preimage,))

    def refund(self, terms: EvmLockTerms) -> Step:
        """Return a refund at the deadline."""
        tail = self.rng.randbytes(self.rng.choice((0, 0, 40)))
        return Step(self.htlc, Call(encode_refund(terms).data + tail), (Refunded(terms),))

    def lock(self, terms: EvmLockTerms) -> Step:
        """Return a lock; only `terms.sender` can make it."""
        return Step(self.htlc, encode_lock(terms), (Locked(terms),))

    def wrapped(self, steps: list[Step], by: str | None = None) -> Sending:
        """Return one transaction that does these steps; `by` is the contract that has to do them."""
        single = len(steps) == 1 and by is None and not steps[0].fails
        ways = ["run", "nest", "lax"]
        if single:
            ways += ["direct", "direct", "direct", "borrow"]
        if by is None and not any(step.fails for step in steps):
            ways.append("born")
        if any(step.fails for step in steps):
            ways = ["lax", "lax nest"]
        return self.by(self.rng.choice(ways), steps, by)

    def by(self, how: str, steps: list[Step], by: str | None = None) -> Sending:
        """Return one transaction that does these steps in this way."""
        self.used[how] = self.used.get(how, 0) + 1
        effects = tuple(effect for step in steps if not step.fails for effect in step.effects)
        shows = tuple(secret for step in steps for secret in step.shows)
        account = by or self.rng.choice(self.contracts)
        value = sum(step.call.value for step in steps)
        plain = [(step.to, step.call.value, step.call.data) for step in steps]
        sender = self.rng.choice(self.strangers)
        to: str | None = account
        match how:
            case "direct":
                to, data, value = steps[0].to, steps[0].call.data, steps[0].call.value
            case "borrow":
                other = next(one for one in self.contracts if one != account)
                run = _call(f"run({_STEPS},bool)", [_STEPS, "bool"], [plain, True])
                data = _call("borrow(address,bytes)", ["address", "bytes"], [other, run])
            case "born":
                to, data = None, self.born + encode([_STEPS], [plain])
            case "run" | "lax":
                data = _call(f"run({_STEPS},bool)", [_STEPS, "bool"], [plain, how == "run"])
            case "undo":
                data, effects = _call(f"undo({_STEPS})", [_STEPS], [plain]), ()
            case _:
                depth = self.rng.randint(1, 5)
                values = [depth, plain, how == "nest"]
                data = _call(f"nest(uint256,{_STEPS},bool)", ["uint256", _STEPS, "bool"], values)
                # Each level calls itself with no coins: those come from the account's own.
        return Sending(sender, to, data, value, effects, shows, how=how)


def _call(signature: str, types: list[str], values: list[object]) -> bytes:
    return keccak(signature.encode())[:4] + encode(types, values)
