"""Random calls: locks of several assets by several people, claims right and wrong, refunds, time, archival.

After each call the sum of what the contract holds must be the sum of the open locks.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from stellar_sdk import Asset, Keypair, scval, xdr

from relayers.stellar.devnet.soroban.ledger_xdr import data_key
from scripts.soroban_vectors.world import I128, ISSUER, RECIPIENT, SENDER, STRANGER, XLM, A, B, World

PEOPLE = (SENDER, RECIPIENT, STRANGER)
CALLS = 90


@dataclass
class Open:
    """A lock that is open."""

    id: xdr.SCVal
    preimage: bytes
    asset: str
    amount: int
    deadline: int


def _held(world: World, asset: str) -> int:
    key = scval.to_vec([scval.to_symbol("Balance"), A(world.contract)])
    found = world.judge.get(data_key(asset, key))
    if found is None or found[0].data.contract_data is None:
        return 0
    return scval.from_int128(scval.from_map(found[0].data.contract_data.val)[scval.to_symbol("amount")])


class _Game:
    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.open: list[Open] = []
        self.assets: list[str] = []

    def start(self) -> None:
        self.world.begin()
        self.assets = [self.world.xlm]
        for code in ("ONE", "TWENTYTWO"):
            asset = Asset(code, ISSUER.public_key)
            for key in PEOPLE:
                self.world.put_line(key, asset, 1_000 * XLM)
            self.assets.append(self.world.deploy_asset(asset))

    def people(self) -> list[Keypair]:
        return self.dice.sample(PEOPLE, self.dice.randint(0, 3))

    def play(self, note: str, function: str, *arguments: xdr.SCVal) -> bool:
        verdict = self.world.play(
            self.world.invocation(function, arguments),
            note=note,
            source=self.dice.choice(PEOPLE),
            signers=self.people(),
            upgraded=self.dice.random() < 0.7,
        )
        self.world.done += not verdict.error
        self.world.refused += bool(verdict.error)
        return not verdict.error

    def lock(self) -> None:
        preimage = self.dice.randbytes(self.dice.choice((0, 1, 31, 32, 33, 64, 65)))
        sender, recipient = self.dice.choice(PEOPLE), self.dice.choice(PEOPLE)
        asset = self.dice.choice(self.assets)
        amount = self.dice.choice((1, 7, XLM, 10 * XLM, 5_000 * XLM))
        seconds = self.dice.choice((-5, 5, 6, 60, 86_400, 200 * 86_400))
        terms = self.world.terms(preimage, amount, seconds, sender.public_key, recipient.public_key, asset)
        if self.play("random lock", "lock", *terms):
            end = self.world.time - 5 + seconds
            self.open.append(Open(self.world.lock_id(terms), preimage, asset, amount, end))

    def close(self) -> None:
        lock = self.dice.choice(self.open) if self.open and self.dice.random() < 0.9 else None
        ident = lock.id if lock is not None else B(self.dice.randbytes(32))
        preimage = lock.preimage if lock is not None and self.dice.random() < 0.8 else self.dice.randbytes(32)
        kind = self.dice.choice(("claim", "claim", "claim_for", "refund", "refund_coop", "get"))
        arguments = [ident]
        if kind.startswith("claim"):
            arguments.append(B(preimage))
        if kind == "claim_for":
            fee = self.dice.choice((0, 1, XLM, 6 * XLM))
            arguments += [I128(fee), A(self.dice.choice(PEOPLE).public_key)]
        done = self.play(f"random {kind}", kind, *arguments)
        if done and kind != "get" and lock is not None:
            self.open.remove(lock)

    def wait(self) -> None:
        ledgers = self.dice.choice((1, 20, 17_280, 700_000, 2_100_000))
        self.world.sequence += ledgers
        self.world.time += 5 * ledgers

    def run(self) -> None:
        self.start()
        for _ in range(CALLS):
            self.dice.choices((self.lock, self.close, self.wait), (5, 7, 1))[0]()
            for asset in self.assets:
                owed = sum(each.amount for each in self.open if each.asset == asset)
                self.world.check(_held(self.world, asset) == owed, "the contract holds what is locked")


def play(world: World) -> None:
    """Play a random sequence."""
    _Game(world, 1).run()


def play_again(world: World) -> None:
    """Play another."""
    _Game(world, 2).run()
