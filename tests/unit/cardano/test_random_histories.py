"""Random histories of locks, claims, refunds, theft and roll-backs on the ledger: the validator holds exactly
what is locked, and nobody but the owner is ever paid."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pycardano import TransactionOutput, UTxO

from bridge.protocol.types import Amount, Asset, LockTerms, UnixSeconds
from relayers.cardano import building
from relayers.cardano.devnet import DEMO_TOKEN
from relayers.cardano.devnet.ledger import TxRejectedError
from relayers.cardano.devnet.records import TxRecord
from relayers.cardano.htlc import is_ours
from relayers.cardano.script import ClaimRedeemer, GiveBackRedeemer, HtlcRedeemer, RefundRedeemer
from relayers.cardano.settings import ADA
from tests.unit.cardano.world import ALICE, BOB, CAROL, FAR, CardanoWorld, Person

PEOPLE = (ALICE, BOB, CAROL)
PREIMAGES = [bytes([number]) * number for number in (0, 1, 32, 64)]
VALIDATOR = "validator"
people = st.sampled_from(PEOPLE)
Holdings = Counter[tuple[str, str]]
"""(owner, unit) → amount, where lovelace has the unit ""."""


@dataclass(frozen=True)
class Lock:
    """A lock as the model knows it; open while its transaction is on the chain and nothing spends it."""

    terms: LockTerms
    sender: Person
    recipient: Person
    preimage: bytes
    utxo: UTxO


def holdings_of(owner: str, output: TransactionOutput) -> Holdings:
    found: Holdings = Counter({(owner, ""): output.amount.coin})
    for policy, assets in (output.amount.multi_asset or {}).items():
        for name, amount in assets.items():
            found[(owner, policy.payload.hex() + name.payload.hex())] += amount
    return found


class Histories(RuleBasedStateMachine):
    """The model: what each transaction did to whom; those on the chain add up to the present."""

    def __init__(self, world: CardanoWorld) -> None:
        super().__init__()
        self.world = world
        world.again()
        self.base_height = world.chain.head.height
        self.base = self._on_chain()
        self.effects: dict[str, Holdings] = {}
        self.locks: dict[tuple[str, int], Lock] = {}

    # ------------------------------------------------------------------ what people do

    @rule(
        sender=people,
        recipient=people,
        asset=st.sampled_from([ADA, DEMO_TOKEN]),
        amount=st.integers(2_000_000, 4_000_000),
        preimage=st.sampled_from(PREIMAGES),
        lifetime=st.integers(5, 60),
    )
    def lock(
        self,
        sender: Person,
        recipient: Person,
        asset: Asset,
        amount: int,
        preimage: bytes,
        lifetime: int,
    ) -> None:
        world = self.world
        amount = amount if asset == ADA else amount % 100 + 1
        deadline = world.chain.time_of(world.slot) + lifetime
        terms = LockTerms(
            ADA.chain,
            world.terms().contract,
            sender.address,
            recipient.address,
            asset,
            Amount(amount),
            hashlib.sha256(preimage).digest(),
            UnixSeconds(deadline),
        )
        draft = building.lock(world.view(sender), terms, world.slot + FAR)
        record = world.send(draft, sender)
        utxo = world.utxo((record.id, 0))
        self._note(record, [(sender, VALIDATOR, utxo.output)], sender)
        self.locks[(record.id, 0)] = Lock(terms, sender, recipient, preimage, utxo)

    @precondition(lambda self: self.open())
    @rule(data=st.data(), payer=people)
    def claim(self, data: st.DataObject, payer: Person) -> None:
        lock = data.draw(st.sampled_from(self.open()), "lock")
        self._settle([lock], ClaimRedeemer(lock.preimage), lock.recipient, payer)

    @precondition(lambda self: self.open())
    @rule(data=st.data(), payer=people)
    def claim_all_with_the_same_preimage(self, data: st.DataObject, payer: Person) -> None:
        first = data.draw(st.sampled_from(self.open()), "lock")
        same = [
            lock
            for lock in self.open()
            if (lock.preimage, lock.recipient) == (first.preimage, first.recipient)
        ]
        self._settle(same[:4], ClaimRedeemer(first.preimage), first.recipient, payer)

    @precondition(lambda self: self.open())
    @rule(data=st.data(), payer=people)
    def refund(self, data: st.DataObject, payer: Person) -> None:
        lock = data.draw(st.sampled_from(self.open()), "lock")
        at = self.world.slot_at(lock.terms.deadline)
        if self.world.slot >= at:
            self._settle([lock], RefundRedeemer(), lock.sender, payer, start=at)
        else:
            self._refused([lock], RefundRedeemer(), lock.sender, payer, start=self.world.slot)

    @precondition(lambda self: self.open())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        lock = data.draw(st.sampled_from(self.open()), "lock")
        by = lock.recipient
        self._settle([lock], GiveBackRedeemer(), lock.sender, by, signers=[by])

    # ------------------------------------------------------------------ what thieves try

    @precondition(lambda self: self.open())
    @rule(data=st.data(), thief=people, redeemer=st.sampled_from(["claim", "refund", "give back", "guess"]))
    def steal(self, data: st.DataObject, thief: Person, redeemer: str) -> None:
        lock = data.draw(st.sampled_from(self.open()), "lock")
        late = self.world.slot >= self.world.slot_at(lock.terms.deadline)
        owners = {
            "claim": {lock.recipient.address},
            "refund": {lock.sender.address} if late else set(),
            # Who is both sender and recipient may do as it likes.
            "give back": {lock.sender.address} & {lock.recipient.address},
            "guess": set(),
        }[redeemer]
        if thief.address in owners:
            return
        ways: dict[str, HtlcRedeemer] = {
            "claim": ClaimRedeemer(lock.preimage),
            "refund": RefundRedeemer(),
            "give back": GiveBackRedeemer(),
            "guess": ClaimRedeemer(b"guess"),
        }
        self._refused([lock], ways[redeemer], thief, thief, start=self.world.slot)

    # ------------------------------------------------------------------ what the chain does

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.world.chain.advance(seconds)

    @rule(depth=st.integers(1, 4), data=st.data())
    def roll_back(self, depth: int, data: st.DataObject) -> None:
        chain = self.world.chain
        depth = min(depth, chain.head.height - self.base_height)
        if depth == 0:
            return
        undone = [tx.id for block in chain.blocks[-depth:] for tx in block.txs]
        dropped = data.draw(st.sets(st.sampled_from(undone)), "dropped") if undone else set()
        chain.rollback(depth, dropped)

    # ------------------------------------------------------------------ what must always be true

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        expected = Counter(self.base)
        for tx_id, effect in self.effects.items():
            if tx_id in self.world.chain.places:
                expected.update(effect)
        assert +self._on_chain() == +expected

    @invariant()
    def the_validator_holds_the_sum_of_the_open_locks(self) -> None:
        expected: Holdings = Counter()
        for lock in self.open():
            expected.update(holdings_of(VALIDATOR, lock.utxo.output))
        found = {key: amount for key, amount in self._on_chain().items() if key[0] == VALIDATOR and amount}
        assert found == dict(expected)

    # ------------------------------------------------------------------ helpers

    def open(self) -> list[Lock]:
        return [lock for ref, lock in self.locks.items() if ref in self.world.chain.utxos]

    def _on_chain(self) -> Holdings:
        found: Holdings = Counter()
        names: dict[str, str] = {person.address: person.address for person in PEOPLE}
        for output in self.world.chain.utxos.values():
            address = str(output.address)
            owner = VALIDATOR if is_ours(address) and output.script is None else names.get(address)
            if owner is not None:
                found.update(holdings_of(owner, output))
        return found

    def _settle(
        self, locks: list[Lock], redeemer: HtlcRedeemer, owner: Person, payer: Person, **more: object
    ) -> None:
        draft = self.world.spend([lock.utxo for lock in locks], redeemer, owner, payer, **more)  # type: ignore[arg-type]
        record = self.world.send(draft, payer)
        self._note(record, [(VALIDATOR, owner, lock.utxo.output) for lock in locks], payer)

    def _refused(
        self, locks: list[Lock], redeemer: HtlcRedeemer, owner: Person, payer: Person, **more: object
    ) -> None:
        draft = self.world.spend([lock.utxo for lock in locks], redeemer, owner, payer, **more)  # type: ignore[arg-type]
        try:
            self.world.send(draft, payer)
        except TxRejectedError:
            return
        raise AssertionError(f"{redeemer} paid {owner.address} what is not its own")

    def _note(
        self,
        record: TxRecord,
        moved: list[tuple[Person | str, Person | str, TransactionOutput]],
        payer: Person,
    ) -> None:
        effect: Holdings = Counter({(payer.address, ""): -record.body.fee})
        for source, target, output in moved:
            effect.subtract(holdings_of(_name(source), output))
            effect.update(holdings_of(_name(target), output))
        self.effects[record.id] = effect


def _name(who: Person | str) -> str:
    return who if isinstance(who, str) else who.address


def test_value_at_the_validator_is_what_is_open_and_only_owners_are_paid(shared_world: CardanoWorld) -> None:
    run_state_machine_as_test(
        lambda: Histories(shared_world),  # type: ignore[arg-type]
        settings=settings(
            max_examples=8,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        ),
    )
