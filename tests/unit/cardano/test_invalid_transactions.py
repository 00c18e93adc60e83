"""The devnet's ledger refuses what Cardano refuses, and says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pycardano import (
    Address,
    CostModels,
    ExecutionUnits,
    Network,
    ScriptDataHash,
    Transaction,
    TransactionId,
    TransactionInput,
    TransactionOutput,
    Value,
    VerificationKeyHash,
    script_data_hash,
)

from relayers.cardano import building
from relayers.cardano.building import token
from relayers.cardano.devnet.ledger import TxRejectedError, cost_models
from relayers.cardano.devnet.treasury import DEMO_TOKEN
from relayers.cardano.script import ClaimRedeemer
from tests.unit.cardano.world import ALICE, BOB, CAROL, FAR, PREIMAGE, CardanoWorld, Person, signed

Change = Callable[[CardanoWorld, Transaction], None]


def a_lock(world: CardanoWorld) -> Transaction:
    return building.lock(world.view(BOB), world.terms(), world.slot + FAR).tx


def a_claim(world: CardanoWorld, *, by_reference: bool = True) -> Transaction:
    (lock,) = world.lock(world.terms())
    return world.spend([lock], ClaimRedeemer(PREIMAGE), BOB, BOB, by_reference=by_reference).tx


def raise_fee(tx: Transaction, amount: int = 100_000) -> None:
    """Leave room for what is changed next."""
    tx.transaction_body.fee += amount
    tx.transaction_body.outputs[-1].amount.coin -= amount


def set_body(**values: object) -> Change:
    def change(_: CardanoWorld, tx: Transaction) -> None:
        raise_fee(tx)
        for name, value in values.items():
            setattr(tx.transaction_body, name, value)

    return change


def lower_fee(_: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx, -60_000)


def more_out(_: CardanoWorld, tx: Transaction) -> None:
    tx.transaction_body.outputs[-1].amount.coin += 1


def less_out(_: CardanoWorld, tx: Transaction) -> None:
    tx.transaction_body.outputs[-1].amount.coin -= 1


def tokens_from_nowhere(_: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx)
    tx.transaction_body.outputs[-1].amount += Value(0, token(DEMO_TOKEN.contract, 1))


def dust(_: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx)
    tx.transaction_body.outputs.insert(0, TransactionOutput(Address.from_primitive(CAROL.address), 1_000))
    tx.transaction_body.outputs[-1].amount.coin -= 1_000


def other_network(_: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx)
    address = Address(VerificationKeyHash(CAROL.key), network=Network.MAINNET)
    tx.transaction_body.outputs.insert(0, TransactionOutput(address, 2_000_000))
    tx.transaction_body.outputs[-1].amount.coin -= 2_000_000


def expired(world: CardanoWorld, tx: Transaction) -> None:
    tx.transaction_body.ttl = world.slot - 1


def too_early(world: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx)
    tx.transaction_body.validity_start = world.slot + 500


def unknown_input(_: CardanoWorld, tx: Transaction) -> None:
    tx.transaction_body.inputs = [TransactionInput(TransactionId(b"\x77" * 32), 0)]


def no_inputs(_: CardanoWorld, tx: Transaction) -> None:
    tx.transaction_body.inputs = []


def strangers_input(world: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx)
    (richest, *_) = sorted(world.view(CAROL).confirmed, key=lambda one: -one.output.amount.coin)
    tx.transaction_body.inputs = [richest.input]


def too_large(_: CardanoWorld, tx: Transaction) -> None:
    many = [TransactionOutput(Address.from_primitive(CAROL.address), 980_000) for _ in range(470)]
    tx.transaction_body.outputs[:0] = many
    tx.transaction_body.outputs[-1].amount.coin -= 470 * 980_000 + 700_000
    tx.transaction_body.fee += 700_000


def rehash(tx: Transaction) -> None:
    models = CostModels({2: dict(enumerate(cost_models()["PlutusV3"]))})
    witnesses = tx.transaction_witness_set
    tx.transaction_body.script_data_hash = script_data_hash(witnesses.redeemer, [], models)


def budget(memory: int, steps: int) -> Change:
    def change(_: CardanoWorld, tx: Transaction) -> None:
        for one in tx.transaction_witness_set.redeemer.values():
            one.ex_units = ExecutionUnits(memory, steps)
        rehash(tx)

    return change


def wrong_preimage(_: CardanoWorld, tx: Transaction) -> None:
    for one in tx.transaction_witness_set.redeemer.values():
        one.data = ClaimRedeemer(bytes(32))
    rehash(tx)


def failing_marked_valid(world: CardanoWorld, tx: Transaction) -> None:
    wrong_preimage(world, tx)


def succeeding_marked_invalid(_: CardanoWorld, tx: Transaction) -> None:
    tx.valid = False


def no_redeemer(_: CardanoWorld, tx: Transaction) -> None:
    tx.transaction_witness_set.redeemer = None
    tx.transaction_body.script_data_hash = None


def no_script(_: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx)
    tx.transaction_body.reference_inputs = None


def reference_is_spent(world: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx)
    tx.transaction_body.reference_inputs = list(tx.transaction_body.inputs)


def little_collateral(_: CardanoWorld, tx: Transaction) -> None:
    body = tx.transaction_body
    body.collateral_return.amount.coin += body.total_collateral - 1_000
    body.total_collateral = 1_000


def wrong_collateral_total(_: CardanoWorld, tx: Transaction) -> None:
    tx.transaction_body.total_collateral -= 1


def collateral_at_a_script(_: CardanoWorld, tx: Transaction) -> None:
    raise_fee(tx)
    tx.transaction_body.collateral = list(tx.transaction_body.inputs)
    tx.transaction_body.collateral_return = None
    tx.transaction_body.total_collateral = None


NO_COLLATERAL = set_body(collateral=None, collateral_return=None, total_collateral=None)

PLAIN: dict[str, Change] = {
    "a fee too low": lower_fee,
    "a lovelace too much": more_out,
    "a lovelace too little": less_out,
    "a token from nowhere": tokens_from_nowhere,
    "an output below the least": dust,
    "an output on another network": other_network,
    "another network's number": set_body(network_id=Network.MAINNET),
    "an expired transaction": expired,
    "one that is not valid yet": too_early,
    "an input that does not exist": unknown_input,
    "no input at all": no_inputs,
    "a stranger's input": strangers_input,
    "one larger than 16 KiB": too_large,
    "a required signer who has not signed": set_body(required_signers=[VerificationKeyHash(ALICE.key)]),
}
SMART: dict[str, Change] = {
    "a wrong script data hash": set_body(script_data_hash=ScriptDataHash(bytes(32))),
    "no script data hash": set_body(script_data_hash=None),
    "no collateral": NO_COLLATERAL,
    "too little collateral": little_collateral,
    "a wrong total of collateral": wrong_collateral_total,
    "collateral at a script": collateral_at_a_script,
    "too little memory": budget(1_000, 400_000_000),
    "too few steps": budget(1_000_000, 1_000),
    "more memory than a transaction may use": budget(99_000_000, 400_000_000),
    "no redeemer": no_redeemer,
    "no script": no_script,
    "a reference to what is spent": reference_is_spent,
    "a failing script said to succeed": failing_marked_valid,
    "a succeeding script said to fail": succeeding_marked_invalid,
}
WITNESSES: dict[str, tuple[Person, ...]] = {"no signature": (), "somebody else's signature": (CAROL,)}


def test_there_are_more_than_25_ways_to_be_refused() -> None:
    assert len(PLAIN) + len(SMART) + len(WITNESSES) + 2 > 25


@pytest.mark.parametrize("how", PLAIN)
def test_a_plain_transaction_is_refused_with(world: CardanoWorld, how: str) -> None:
    tx = a_lock(world)
    PLAIN[how](world, tx)
    expect_refusal(world, signed(tx, BOB))


@pytest.mark.parametrize("how", SMART)
def test_a_claim_is_refused_with(world: CardanoWorld, how: str) -> None:
    tx = a_claim(world)
    SMART[how](world, tx)
    expect_refusal(world, signed(tx, BOB))


@pytest.mark.parametrize("how", WITNESSES)
def test_a_transaction_is_refused_with(world: CardanoWorld, how: str) -> None:
    expect_refusal(world, signed(a_lock(world), *WITNESSES[how]))


def test_a_corrupt_signature_is_refused(world: CardanoWorld) -> None:
    tx = signed(a_lock(world), BOB)
    tx.transaction_witness_set.vkey_witnesses[0].signature = bytes(64)
    expect_refusal(world, tx)


def test_nothing_is_spent_twice(world: CardanoWorld) -> None:
    tx = signed(a_claim(world), BOB)
    world.send(tx, BOB)
    expect_refusal(world, tx)


def test_unchanged_they_are_taken(world: CardanoWorld) -> None:
    world.send(a_lock(world), BOB)
    world.send(a_claim(world), BOB)
    world.send(a_claim(world, by_reference=False), BOB)


def test_a_failing_script_said_to_fail_costs_its_collateral_alone(world: CardanoWorld) -> None:
    tx = a_claim(world)
    wrong_preimage(world, tx)
    tx.valid = False
    lock = tx.transaction_body.inputs[0]
    before = sum(out.amount.coin for out in world.owned(BOB))
    record = world.send(tx, BOB)
    assert not record.valid
    assert world.chain.utxos[(lock.transaction_id.payload.hex(), lock.index)]
    lost = before - sum(out.amount.coin for out in world.owned(BOB))
    assert lost == tx.transaction_body.total_collateral


def expect_refusal(world: CardanoWorld, tx: Transaction) -> None:
    before = dict(world.chain.utxos)
    with pytest.raises(TxRejectedError) as refusal:
        world.chain.submit(tx.to_cbor())
    assert len(str(refusal.value)) > 10
    assert "no reason given" not in str(refusal.value)
    world.chain.mine()
    assert world.chain.utxos == before
