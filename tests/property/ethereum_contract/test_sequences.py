"""Random sequences of calls, against a model: the contract holds exactly what its open locks say."""

import hashlib
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from relayers.evm.htlc import (
    COIN,
    Call,
    EvmLockTerms,
    claim_for_typed_data,
    cooperative_refund_typed_data,
    encode_claim,
    encode_claim_batch,
    encode_claim_for,
    encode_cooperative_refund,
    encode_lock,
    encode_lock_batch,
    encode_refund,
    lane_is_free,
    lane_slot,
)
from tests.unit.ethereum_contract.evm import Chain, RevertedError

SECRETS = [b"", b"\x07", b"s" * 32, b"t" * 32, b"u" * 64]
AMOUNTS = [1, 2, 10**18, 10**20]
LANES = [0, 0, 1, 2]

parties = st.integers(0, 2)
secrets = st.integers(0, len(SECRETS) - 1)
picks = st.integers(0, 10**6)


class HtlcMachine(RuleBasedStateMachine):
    """Three parties, the coin and a token; few values on purpose, since repeats and clashes matter."""

    @initialize()
    def start(self) -> None:
        self.chain = Chain()
        self.assets = [COIN, self.chain.token()]
        self.locks: list[tuple[EvmLockTerms, bytes]] = []
        self.open: set[EvmLockTerms] = set()
        self.nonce = 0
        self.wealth = [
            {party.address: self.chain.balance(party, asset) for party in self.chain.parties}
            for asset in self.assets
        ]

    def terms(self, sender: int, recipient: int, asset: int, secret: int, pick: int) -> EvmLockTerms:
        return EvmLockTerms(
            sender=self.chain.parties[sender].address,
            recipient=self.chain.parties[recipient].address,
            token=self.assets[asset],
            amount=AMOUNTS[pick % len(AMOUNTS)],
            hashlock=hashlib.sha256(SECRETS[secret]).digest(),
            deadline=self.chain.now - self.chain.now % 100 + 100 * (1 + pick % 3),
            lane=LANES[pick // 12 % len(LANES)],
        )

    def blocked(self, terms: EvmLockTerms) -> bool:
        same_lane = [
            lock
            for lock in self.open
            if terms.lane and (lock.sender, lock.lane) == (terms.sender, terms.lane)
        ]
        return terms in self.open or bool(same_lane)

    def attempt(self, sender: int, message: Call) -> bool:
        try:
            self.chain.send(self.chain.parties[sender], message)
        except RevertedError:
            return False
        return True

    def move(self, terms: EvmLockTerms, who: str, amount: int) -> None:
        self.wealth[self.assets.index(terms.token)][who] += amount

    def opened(self, terms: EvmLockTerms, secret: bytes) -> None:
        self.open.add(terms)
        self.locks.append((terms, secret))
        self.move(terms, terms.sender, -terms.amount)

    def spent(self, terms: EvmLockTerms, who: str) -> None:
        self.open.remove(terms)
        self.move(terms, who, terms.amount)

    def any_lock(self, pick: int) -> tuple[EvmLockTerms, bytes] | None:
        return self.locks[pick % len(self.locks)] if self.locks else None

    @rule(sender=parties, recipient=parties, asset=st.integers(0, 1), secret=secrets, pick=picks)
    def lock(self, sender: int, recipient: int, asset: int, secret: int, pick: int) -> None:
        terms = self.terms(sender, recipient, asset, secret, pick)
        rich = self.wealth[asset][terms.sender] >= terms.amount
        done = self.attempt(sender, encode_lock(terms))
        assert done == (rich and not self.blocked(terms))
        if done:
            self.opened(terms, SECRETS[secret])

    @rule(
        sender=parties,
        asset=st.integers(0, 1),
        choices=st.lists(st.tuples(parties, secrets, picks), max_size=4),
    )
    def lock_batch(self, sender: int, asset: int, choices: list[tuple[int, int, int]]) -> None:
        batch = [
            (self.terms(sender, to, asset, secret, pick), SECRETS[secret]) for to, secret, pick in choices
        ]
        if not batch:
            return
        lanes = [terms.lane for terms, _ in batch if terms.lane]
        clash = len({terms for terms, _ in batch}) < len(batch) or len(set(lanes)) < len(lanes)
        total = sum(terms.amount for terms, _ in batch)
        rich = self.wealth[asset][batch[0][0].sender] >= total
        done = self.attempt(sender, encode_lock_batch([terms for terms, _ in batch]))
        assert done == (rich and not clash and not any(self.blocked(terms) for terms, _ in batch))
        if done:
            for terms, secret in batch:
                self.opened(terms, secret)

    @rule(by=parties, pick=picks, guess=secrets, honest=st.booleans())
    def claim(self, by: int, pick: int, guess: int, honest: bool) -> None:
        chosen = self.any_lock(pick)
        if chosen is None:
            return
        terms, secret = chosen
        shown = secret if honest else SECRETS[guess]
        done = self.attempt(by, encode_claim(terms, shown))
        assert done == (terms in self.open and shown == secret)
        if done:
            self.spent(terms, terms.recipient)

    @rule(by=parties, picked=st.lists(picks, min_size=1, max_size=5))
    def claim_batch(self, by: int, picked: list[int]) -> None:
        first = self.any_lock(picked[0])
        if first is None:
            return
        batch = [
            lock
            for lock in (self.locks[pick % len(self.locks)] for pick in picked)
            if len(lock[1]) == 32
            and (lock[0].recipient, lock[0].token) == (first[0].recipient, first[0].token)
        ]
        if not batch:
            return
        expected = {terms for terms, _ in batch} & self.open
        done = self.attempt(by, encode_claim_batch(batch))
        assert done == bool(expected)
        for terms in expected:
            self.spent(terms, terms.recipient)

    @rule(by=parties, pick=picks)
    def refund(self, by: int, pick: int) -> None:
        chosen = self.any_lock(pick)
        if chosen is None:
            return
        terms, _ = chosen
        done = self.attempt(by, encode_refund(terms))
        assert done == (terms in self.open and self.chain.now >= terms.deadline)
        if done:
            self.spent(terms, terms.sender)

    @rule(by=parties, signer=parties, pick=picks, reuse=st.booleans())
    def cooperative_refund(self, by: int, signer: int, pick: int, reuse: bool) -> None:
        chosen = self.any_lock(pick)
        if chosen is None:
            return
        terms, _ = chosen
        typed = cooperative_refund_typed_data(
            self.chain.chain_id, self.chain.htlc, terms, nonce=self.nonce, expiry=2**40
        )
        party = self.chain.parties[signer]
        message = encode_cooperative_refund(
            terms, nonce=self.nonce, expiry=2**40, signature=party.sign(typed)
        )
        done = self.attempt(by, message)
        assert done == (terms in self.open and party.address == terms.recipient)
        if done:
            self.nonce += 1
            self.spent(terms, terms.sender)
            assert not reuse or not self.attempt(by, message)

    @rule(by=parties, signer=parties, pick=picks, fee=st.sampled_from([0, 1, 10**18]))
    def claim_for(self, by: int, signer: int, pick: int, fee: int) -> None:
        chosen = self.any_lock(pick)
        if chosen is None:
            return
        terms, secret = chosen
        relayer, party = self.chain.parties[by], self.chain.parties[signer]
        values: dict[str, Any] = {"max_fee": 10**18, "nonce": self.nonce, "expiry": 2**40}
        typed = claim_for_typed_data(
            self.chain.chain_id, self.chain.htlc, terms, relayer=relayer.address, **values
        )
        if fee > terms.amount:
            return
        message = encode_claim_for(terms, secret, fee=fee, signature=party.sign(typed), **values)
        done = self.attempt(by, message)
        assert done == (terms in self.open and party.address == terms.recipient)
        if done:
            self.nonce += 1
            self.spent(terms, terms.recipient)
            self.move(terms, terms.recipient, -fee)
            self.move(terms, relayer.address, fee)

    @rule(seconds=st.sampled_from([1, 50, 99, 100]))
    def wait(self, seconds: int) -> None:
        self.chain.warp(seconds)

    @invariant()
    def the_contract_holds_exactly_what_is_open(self) -> None:
        for asset in self.assets:
            owed = sum(terms.amount for terms in self.open if terms.token == asset)
            assert self.chain.balance(self.chain.htlc, asset) == owed

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        for asset, wealth in zip(self.assets, self.wealth, strict=True):
            for address, amount in wealth.items():
                assert self.chain.balance(address, asset) == amount

    @invariant()
    def the_contract_agrees_on_what_is_open(self) -> None:
        for terms, _ in self.locks[-6:]:
            assert self.chain.is_open(terms) == (terms in self.open)
        for party in self.chain.parties:
            for lane in (1, 2):
                slot = int.from_bytes(lane_slot(party.address, lane), "big")
                value = int(self.chain.evm.storage(self.chain.htlc, slot)).to_bytes(32, "big")
                busy = any((lock.sender, lock.lane) == (party.address, lane) for lock in self.open)
                assert lane_is_free(value) == (not busy)


HtlcMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestHtlcSequences = HtlcMachine.TestCase
