"""The validator on a ledger: the one meaning of an HTLC, and nothing beside it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pycardano import (
    Address,
    DatumHash,
    MultiAsset,
    PlutusData,
    TransactionBuilder,
    TransactionOutput,
    UTxO,
    Value,
    VerificationKeyHash,
    datum_hash,
)
from pycardano.serialization import ByteString

from bridge.chains.errors import InsufficientFundsError
from relayers.cardano import building
from relayers.cardano.building import BuildContext, Spend, token
from relayers.cardano.devnet.ledger import TxRejectedError
from relayers.cardano.devnet.treasury import DEMO_TOKEN
from relayers.cardano.htlc import datum_of
from relayers.cardano.script import ClaimRedeemer, GiveBackRedeemer, OutputTag, RefundRedeemer
from tests.unit.cardano.world import ALICE, BOB, CAROL, FAR, LIFETIME, PREIMAGE, CardanoWorld, Person

CLAIM = ClaimRedeemer(PREIMAGE)
BOB_KEY, CAROL_KEY = VerificationKeyHash(BOB.key), VerificationKeyHash(CAROL.key)


@dataclass
class OtherRedeemer(PlutusData):
    CONSTR_ID = 7


@dataclass
class LongClaim(PlutusData):
    CONSTR_ID = 0
    preimage: ByteString


@dataclass
class LongRefund(PlutusData):
    CONSTR_ID = 1
    more: int


def test_the_recipient_claims_with_the_preimage(world: CardanoWorld) -> None:
    (lock,) = world.lock(world.terms())
    world.send(world.spend([lock], CLAIM, BOB, BOB), BOB)


def test_a_claim_by_a_stranger_pays_the_recipient_everything(world: CardanoWorld) -> None:
    (lock,) = world.lock(world.terms(5, DEMO_TOKEN))
    world.send(world.spend([lock], CLAIM, BOB, CAROL), CAROL)
    paid = [out for out in world.owned(BOB) if out.datum is not None]
    assert [out.amount for out in paid] == [lock.output.amount]


def test_one_transaction_claims_several_locks(world: CardanoWorld) -> None:
    locks = world.lock(*(world.terms(10_000_000 + i) for i in range(4)))
    world.send(world.spend(locks, CLAIM, BOB, CAROL), CAROL)
    assert len([out for out in world.owned(BOB) if out.datum is not None]) == 4


def test_a_claim_is_good_long_after_the_deadline(world: CardanoWorld) -> None:
    (lock,) = world.lock(world.terms())
    world.chain.advance(100 * LIFETIME)
    world.send(world.spend([lock], CLAIM, BOB, BOB), BOB)


def test_a_claim_needs_no_upper_bound(world: CardanoWorld) -> None:
    (lock,) = world.lock(world.terms())
    draft = world.spend([lock], CLAIM, BOB, BOB)
    draft.tx.transaction_body.ttl = None
    draft.tx.transaction_body.validity_start = None
    world.send(draft, BOB)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 64])
def test_preimages_of_up_to_64_bytes_open_a_lock(world: CardanoWorld, size: int) -> None:
    preimage = bytes(range(size))
    (lock,) = world.lock(world.terms(hashlock=hashlib.sha256(preimage).digest()))
    world.send(world.spend([lock], ClaimRedeemer(preimage), BOB, BOB), BOB)


def test_a_preimage_of_65_bytes_opens_nothing(world: CardanoWorld) -> None:
    preimage = bytes(65)
    (lock,) = world.lock(world.terms(hashlock=hashlib.sha256(preimage).digest()))
    refused(world, world.spend([lock], LongClaim(ByteString(preimage)), BOB, BOB), BOB)


def test_a_refund_is_good_from_the_very_second_of_the_deadline(world: CardanoWorld) -> None:
    terms = world.terms()
    (lock,) = world.lock(terms)
    world.go_to(terms.deadline)
    at = world.slot_at(terms.deadline)
    early = world.spend([lock], RefundRedeemer(), ALICE, ALICE, start=at - 1)
    refused(world, early, ALICE)
    world.send(world.spend([lock], RefundRedeemer(), ALICE, ALICE, start=at), ALICE)


def test_the_ledger_itself_holds_back_a_refund_whose_time_has_not_come(world: CardanoWorld) -> None:
    terms = world.terms()
    (lock,) = world.lock(terms)
    draft = world.spend([lock], RefundRedeemer(), ALICE, ALICE, start=world.slot_at(terms.deadline))
    refused(world, draft, ALICE, why=INTERVAL)


def test_a_refund_without_a_validity_start_is_refused(world: CardanoWorld) -> None:
    terms = world.terms()
    (lock,) = world.lock(terms)
    world.go_to(terms.deadline + 10)
    draft = world.spend([lock], RefundRedeemer(), ALICE, ALICE)
    draft.tx.transaction_body.validity_start = None
    refused(world, draft, ALICE)


def test_a_refund_by_a_stranger_pays_the_sender_everything(world: CardanoWorld) -> None:
    terms = world.terms(7, DEMO_TOKEN)
    (lock,) = world.lock(terms)
    world.go_to(terms.deadline + 1)
    start = world.slot_at(terms.deadline)
    world.send(world.spend([lock], RefundRedeemer(), ALICE, CAROL, start=start), CAROL)
    paid = [out for out in world.owned(ALICE) if out.datum is not None]
    assert [out.amount for out in paid] == [lock.output.amount]


def test_the_recipient_gives_a_lock_back_before_the_deadline(world: CardanoWorld) -> None:
    (lock,) = world.lock(world.terms())
    world.send(world.spend([lock], GiveBackRedeemer(), ALICE, BOB, signers=[BOB]), BOB)
    assert [out.amount for out in world.owned(ALICE) if out.datum is not None] == [lock.output.amount]


@pytest.mark.parametrize("thief", [ALICE, CAROL], ids=["the sender", "a stranger"])
def test_nobody_but_the_recipient_gives_a_lock_back(world: CardanoWorld, thief: Person) -> None:
    (lock,) = world.lock(world.terms())
    refused(world, world.spend([lock], GiveBackRedeemer(), ALICE, thief), thief)


def test_the_recipient_cannot_give_a_lock_back_to_itself(world: CardanoWorld) -> None:
    (lock,) = world.lock(world.terms())
    refused(world, world.spend([lock], GiveBackRedeemer(), BOB, BOB, signers=[BOB]), BOB)


@pytest.mark.parametrize("wrong", [b"", bytes(32), PREIMAGE[:-1], PREIMAGE + b"\0"])
def test_a_wrong_preimage_is_refused(world: CardanoWorld, wrong: bytes) -> None:
    (lock,) = world.lock(world.terms())
    refused(world, world.spend([lock], ClaimRedeemer(wrong), BOB, BOB), BOB)


@pytest.mark.parametrize("thief", [ALICE, CAROL], ids=["the sender", "a stranger"])
def test_a_preimage_pays_nobody_but_the_recipient(world: CardanoWorld, thief: Person) -> None:
    (lock,) = world.lock(world.terms())
    refused(world, world.spend([lock], CLAIM, thief, thief), thief)


def test_the_recipient_gets_no_refund(world: CardanoWorld) -> None:
    terms = world.terms()
    (lock,) = world.lock(terms)
    world.go_to(terms.deadline)
    draft = world.spend([lock], RefundRedeemer(), BOB, BOB, start=world.slot_at(terms.deadline))
    refused(world, draft, BOB)


def test_one_payment_does_not_stand_for_two_locks(world: CardanoWorld) -> None:
    locks = world.lock(
        world.terms(), msgspec.structs.replace(world.terms(), deadline=world.terms().deadline + 5)
    )
    for tags in ([0], [0, 0]):
        refused(world, paying(world, locks, [(locks[tag], {}) for tag in tags]), CAROL)


ODD_PAYMENTS: dict[str, dict[str, Any]] = {
    "a lovelace short": {"coin": -1},
    "a lovelace more": {"coin": 1},
    "a token short": {"tokens": 4},
    "without the tokens": {"tokens": 0},
    "untagged": {"tag": None},
    "tagged with another output": {"tag": OutputTag(bytes(32), 0)},
    "with somebody's stake part": {"address": Address(BOB_KEY, CAROL_KEY)},
    "to somebody else": {"address": Address(CAROL_KEY)},
}


@pytest.mark.parametrize("how", ODD_PAYMENTS)
def test_a_payment_by_a_stranger_must_be_exact(world: CardanoWorld, how: str) -> None:
    (lock,) = world.lock(world.terms(5, DEMO_TOKEN))
    refused(world, paying(world, [lock], [(lock, ODD_PAYMENTS[how])]), CAROL)


def test_an_exact_payment_by_a_stranger_is_taken(world: CardanoWorld) -> None:
    (lock,) = world.lock(world.terms(5, DEMO_TOKEN))
    world.send(paying(world, [lock], [(lock, {})]), CAROL)


def test_a_payment_may_not_carry_a_reference_script(world: CardanoWorld) -> None:
    terms = world.terms(20_000_000)
    (lock,) = world.lock(terms)
    refused(world, paying(world, [lock], [(lock, {"script": world.reference.output.script})]), CAROL)


@pytest.mark.parametrize(
    "redeemer", [OtherRedeemer(), LongRefund(1)], ids=["unknown", "with a field too many"]
)
def test_a_malformed_redeemer_is_refused(world: CardanoWorld, redeemer: PlutusData) -> None:
    terms = world.terms()
    (lock,) = world.lock(terms)
    world.go_to(terms.deadline + 1)
    draft = world.spend([lock], redeemer, ALICE, ALICE, start=world.slot_at(terms.deadline))
    refused(world, draft, ALICE)


def test_the_validator_is_put_on_chain_for_reference_where_nobody_can_spend_it(world: CardanoWorld) -> None:
    record = world.send(building.reference(world.view(ALICE), world.slot + FAR), ALICE)
    reference = world.utxo((record.id, 0))
    (lock,) = world.lock(world.terms())
    spends = [Spend(lock, CLAIM, BOB.key)]
    world.send(building.spend(world.view(BOB), spends, reference, world.slot + FAR), BOB)
    bare = UTxO(reference.input, TransactionOutput(reference.output.address, reference.output.amount))
    for redeemer in (RefundRedeemer(), GiveBackRedeemer(), CLAIM):
        theft = [Spend(bare, redeemer, ALICE.key)]
        draft = building.spend(world.view(ALICE), theft, world.reference, world.slot + FAR, start=world.slot)
        # The ledger also charges for the script in the output that is spent; the builder does not know.
        draft.tx.transaction_body.fee += 50_000
        draft.tx.transaction_body.outputs[-1].amount.coin -= 50_000
        refused(world, draft, ALICE, why="head of empty list")  # there is no datum to read


def test_a_lock_with_a_datum_hash_is_refundable_by_who_knows_the_datum(world: CardanoWorld) -> None:
    terms = world.terms()
    datum = datum_of(terms)
    builder = TransactionBuilder(building.PycardanoContext(world.view(ALICE)))
    output = TransactionOutput(
        Address.from_primitive(terms.contract),
        Value(10_000_000),
        datum_hash=DatumHash(datum_hash(datum).payload),
    )
    builder.add_output(output)
    builder.potential_inputs[:] = world.view(ALICE).confirmed
    builder.ttl = world.slot + FAR
    draft = building._finish(world.view(ALICE), builder, world.slot + FAR, 0)
    record = world.send(draft, ALICE)
    lock = world.utxo((record.id, 0))
    world.go_to(terms.deadline)
    refund = building.spend(
        world.view(ALICE),
        [Spend(lock, RefundRedeemer(), ALICE.key, datum=datum)],
        world.reference,
        world.slot + FAR,
        start=world.slot_at(terms.deadline),
    )
    world.send(refund, ALICE)


SCRIPT, INTERVAL = "Error evaluated", "alidity interval"


def refused(world: CardanoWorld, draft: building.Draft, *signers: Person, why: str = SCRIPT) -> None:
    """The ledger refuses it, for this reason, and nothing is spent."""
    before = dict(world.chain.utxos)
    with pytest.raises(TxRejectedError) as refusal:
        world.send(draft, *signers)
    assert why in str(refusal.value), refusal.value
    assert world.chain.utxos == before


def paying(
    world: CardanoWorld, locks: list[UTxO], payments: list[tuple[UTxO, dict[str, Any]]]
) -> building.Draft:
    """A claim by Carol with these payments, each for a lock, with what is odd about it."""
    view = world.view(CAROL)
    claims = [Spend(lock, CLAIM, BOB.key) for lock in locks]
    claim = building.spend(view, claims, world.reference, world.slot + FAR)
    body = claim.tx.transaction_body
    change = body.outputs[-1]
    for exact in body.outputs[: len(locks)]:
        change.amount += exact.amount
    del body.outputs[: len(locks)]
    for lock, odd in payments:
        value = lock.output.amount
        amount = Value(value.coin + odd.get("coin", 0), value.multi_asset)
        if "tokens" in odd:
            amount = Value(
                value.coin, token(DEMO_TOKEN.contract, odd["tokens"]) if odd["tokens"] else MultiAsset()
            )
        tag = odd.get("tag", OutputTag(bytes(lock.input.transaction_id.payload), lock.input.index))
        address = odd.get("address", Address(BOB_KEY))
        address = Address(address.payment_part, address.staking_part, network=view.network)
        body.outputs.append(TransactionOutput(address, amount, datum=tag, script=odd.get("script")))
        change.amount -= amount
    body.fee += 200_000
    change.amount.coin -= 200_000
    return claim


def test_collateral_may_be_unconfirmed_when_what_is_confirmed_does_not_suffice(world: CardanoWorld) -> None:
    (lock,) = world.lock(world.terms())
    view = world.view(BOB)
    rich, *_ = sorted(view.confirmed, key=lambda one: -one.output.amount.coin)
    crumb = UTxO(rich.input, TransactionOutput(rich.output.address, Value(1_500_000)))
    waiting = BuildContext(view.parameters, view.slot, view.network, view.payer, [crumb], [rich])
    draft = building.spend(waiting, [Spend(lock, CLAIM, BOB.key)], world.reference, world.slot + FAR)
    assert draft.chained
    alone = BuildContext(view.parameters, view.slot, view.network, view.payer, [crumb])
    with pytest.raises(InsufficientFundsError, match="collateral"):
        building.spend(alone, [Spend(lock, CLAIM, BOB.key)], world.reference, world.slot + FAR)
