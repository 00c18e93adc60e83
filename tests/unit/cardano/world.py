"""A chain in this very process, its ledger, and people who build on it without any adapter or server."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pycardano import (
    Address,
    Network,
    PaymentSigningKey,
    Transaction,
    TransactionId,
    TransactionInput,
    TransactionOutput,
    TransactionWitnessSet,
    UTxO,
    VerificationKeyWitness,
)
from pycardano.serialization import NonEmptyOrderedSet

from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, Asset, LockTerms, UnixSeconds
from relayers.cardano import building
from relayers.cardano.building import BuildContext, Draft, Spend
from relayers.cardano.devnet import treasury
from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.ledger import ScalusLedger
from relayers.cardano.devnet.parameters import protocol_parameters
from relayers.cardano.devnet.raw_body import OutRef
from relayers.cardano.devnet.records import TxRecord
from relayers.cardano.htlc import canonical
from relayers.cardano.parameters import parse_parameters
from relayers.cardano.script import HtlcRedeemer, validator_address
from relayers.cardano.settings import ADA
from tests import instances

PREIMAGE = b"the preimage of all these tests."
HASHLOCK = hashlib.sha256(PREIMAGE).digest()
PARAMETERS = parse_parameters(protocol_parameters(0))
START = 1_800_000_000
LIFETIME = 1_000
FAR = 10_000


class Person:
    def __init__(self, name: str) -> None:
        self.signing = PaymentSigningKey(devnet_key(f"cardano tests/{name}"))
        self.key = bytes(self.signing.to_verification_key().hash().payload)
        self.address = canonical(self.key, Network.TESTNET)


ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")
"""The sender, the recipient, and a stranger."""


class CardanoWorld:
    def __init__(self, directory: Path) -> None:
        self.ledger = ScalusLedger(directory / "ledger.log")
        self.now = float(START)
        self.chain = DevChain(
            self.ledger, treasury.genesis(), directory / "chain.jsonl", now=lambda: self.now
        )
        for person in (ALICE, BOB, CAROL):
            for unit, amount in (("", 500_000_000), ("", 50_000_000), (treasury.DEMO_TOKEN.contract, 10_000)):
                treasury.fund(self.chain, person.address, unit, amount)
                self.chain.mine()
        self._base = self.chain.head.height

    def stop(self) -> None:
        self.ledger.stop()

    def again(self) -> None:
        """Go back to how it was before the first test."""
        self.chain._undo(self._base)
        self.chain._offset = 0

    @property
    def slot(self) -> int:
        return self.chain.head.slot

    @property
    def reference(self) -> UTxO:
        spent, output = treasury.genesis()[0]
        return UTxO(spent, output)

    def go_to(self, time: int) -> None:
        """Move the chain's clock to a Unix second."""
        self.chain.advance(time - self.chain.time_of(self.slot))

    def view(self, person: Person, address: Address | None = None) -> BuildContext:
        own = [self.utxo(ref) for ref, out in self.chain.utxos.items() if str(out.address) == person.address]
        payer = address or Address.from_primitive(person.address)
        return BuildContext(PARAMETERS, self.slot, Network.TESTNET, payer, own)

    def utxo(self, ref: OutRef) -> UTxO:
        spent = TransactionInput(TransactionId(bytes.fromhex(ref[0])), ref[1])
        return UTxO(spent, self.chain.utxos[ref])

    def terms(self, amount: int = 10_000_000, asset: Asset = ADA, hashlock: bytes = HASHLOCK) -> LockTerms:
        deadline = self.chain.time_of(self.slot) + LIFETIME
        contract = validator_address(Network.TESTNET)
        return LockTerms(
            instances.CARDANO,
            contract,
            ALICE.address,
            BOB.address,
            asset,
            Amount(amount),
            hashlock,
            UnixSeconds(deadline),
        )

    def send(self, tx: Transaction | Draft, *signers: Person) -> TxRecord:
        """Sign, submit and mine."""
        record = self.chain.submit(signed(tx, *signers).to_cbor())
        self.chain.mine()
        assert record.id in self.chain.places
        return record

    def lock(self, *terms: LockTerms) -> list[UTxO]:
        found = []
        for one in terms:
            record = self.send(building.lock(self.view(ALICE), one, self.slot + FAR), ALICE)
            found.append(self.utxo((record.id, 0)))
        return found

    def spend(
        self,
        locks: Sequence[UTxO],
        redeemer: HtlcRedeemer,
        owner: Person,
        payer: Person,
        *,
        start: int | None = None,
        signers: Sequence[Person] = (),
        by_reference: bool = True,
        budget: tuple[int, int] = (building.FIRST_MEMORY, building.FIRST_STEPS),
    ) -> Draft:
        spends = [Spend(lock, redeemer, owner.key, *budget) for lock in locks]
        reference = self.reference if by_reference else None
        keys = [person.key for person in signers]
        ttl = self.slot + FAR
        return building.spend(self.view(payer), spends, reference, ttl, signers=keys, start=start)

    def slot_at(self, time: int) -> int:
        return time - self.chain.zero_time

    def owned(self, person: Person) -> list[TransactionOutput]:
        return [out for out in self.chain.utxos.values() if str(out.address) == person.address]


def signed(tx: Transaction | Draft, *signers: Person) -> Transaction:
    """The transaction with exactly these people's witnesses."""
    built = tx.tx if isinstance(tx, Draft) else tx
    digest = built.transaction_body.hash()
    witnesses = [
        VerificationKeyWitness(one.signing.to_verification_key(), one.signing.sign(digest)) for one in signers
    ]
    held: TransactionWitnessSet = built.transaction_witness_set
    held.vkey_witnesses = NonEmptyOrderedSet(witnesses) if witnesses else None
    return Transaction(built.transaction_body, held, built.valid, built.auxiliary_data)
