"""Transactions of the HTLC, unsigned, from a view of the chain. Pure: the same view gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pycardano import (
    Address,
    AssetName,
    ChainContext,
    ExecutionUnits,
    LargestFirstSelector,
    MultiAsset,
    ProtocolParameters,
    Redeemer,
    ScriptHash,
    Transaction,
    TransactionBuilder,
    TransactionInput,
    TransactionOutput,
    UTxO,
    Value,
    VerificationKeyHash,
    min_lovelace,
)
from pycardano import Asset as TokenBundle
from pycardano import Network as AddressNetwork
from pycardano.exception import (
    InsufficientUTxOBalanceException,
    InvalidTransactionException,
    TransactionBuilderException,
    UTxOSelectionException,
)

from bridge.chains.errors import InsufficientFunds
from bridge.protocol.types import LockTerms
from relayers.cardano.htlc import canonical, datum_of
from relayers.cardano.pycardano_logging import silence
from relayers.cardano.script import HtlcDatum, HtlcRedeemer, OutputTag, validator, validator_hash

silence()

LEAST_TOKEN_DEPOSIT = 2_000_000
"""Lovelace in a lock of native tokens: more than any such output must hold. It goes with the tokens."""
FIRST_MEMORY, FIRST_STEPS = 1_000_000, 400_000_000
"""What a spend is given before it is evaluated: above every cost in build/bench/cardano.json."""
COLLATERAL_LEAST = 6_000_000
"""Lovelace: what the outputs at stake in a spend must hold together. A failing script costs less."""

_SOME_DEADLINE = 2_000_000_000_000
"""Milliseconds: encoded as long as every deadline of this age of the world."""


@dataclass(frozen=True)
class View:
    """What a transaction is built from: parameters, the newest slot, and the payer's own outputs.

    `confirmed` are in blocks, `unconfirmed` are made by transactions that wait in the mempool.
    """

    parameters: ProtocolParameters
    slot: int
    network: AddressNetwork
    payer: Address
    confirmed: Sequence[UTxO]
    unconfirmed: Sequence[UTxO] = ()


@dataclass(frozen=True)
class Draft:
    """An unsigned transaction with what is known of it. `chained`: it spends unconfirmed outputs. `locks`:
    how many it spends."""

    tx: Transaction
    fee: int
    max_cost: int
    ttl: int
    chained: bool
    spends: frozenset[tuple[str, int]] = field(default_factory=frozenset)
    locks: int = 0


@dataclass(frozen=True)
class Spend:
    """One lock to be spent: its output, the redeemer, whom it pays, its budget, and its datum if the output
    has only the datum's hash."""

    lock: UTxO
    redeemer: HtlcRedeemer
    owner: bytes
    memory: int = FIRST_MEMORY
    steps: int = FIRST_STEPS
    datum: HtlcDatum | None = None


class _Context(ChainContext):
    """A view as pycardano's builder wants to see it."""

    def __init__(self, view: View) -> None:
        self._view = view

    @property
    def network(self) -> AddressNetwork:
        return self._view.network

    @property
    def last_block_slot(self) -> int:
        return self._view.slot

    @property
    def protocol_param(self) -> ProtocolParameters:
        return self._view.parameters

    def _utxos(self, address: str) -> list[UTxO]:  # noqa: ARG002 - inputs are given, never looked up
        return []


def locked_value(view: View, terms: LockTerms) -> Value:
    """Return what a lock's output holds: the ada, or the tokens and the deposit that must go with them."""
    if not terms.asset.contract:
        return Value(terms.amount)
    value = Value(LEAST_TOKEN_DEPOSIT, token(terms.asset.contract, terms.amount))
    least = min_lovelace(_Context(view), _lock_output(terms, value))
    return Value(max(LEAST_TOKEN_DEPOSIT, least), value.multi_asset)


def least_lock(view: View, terms: LockTerms) -> int:
    """Return the lovelace that the lock's output must hold at least."""
    return int(min_lovelace(_Context(view), _lock_output(terms, locked_value(view, terms))))


def least_ada(parameters: ProtocolParameters, network: AddressNetwork) -> int:
    """Return the lovelace that any lock of ada must hold at least: all have outputs of the same size."""
    place = Address(validator_hash(), network=network)
    datum = HtlcDatum(bytes(28), bytes(28), bytes(32), _SOME_DEADLINE)
    view = View(parameters, 0, network, place, ())
    output = TransactionOutput(place, Value(LEAST_TOKEN_DEPOSIT), datum=datum)
    return int(min_lovelace(_Context(view), output))


def token(unit: str, amount: int) -> MultiAsset:
    """Return an amount of one native token, named by policy and name in hex."""
    raw = bytes.fromhex(unit)
    return MultiAsset({ScriptHash(raw[:28]): TokenBundle({AssetName(raw[28:]): amount})})


def lock(view: View, terms: LockTerms, ttl: int) -> Draft:
    """Build a lock. Raises `InsufficientFunds`."""
    builder = TransactionBuilder(_Context(view))
    value = locked_value(view, terms)
    builder.add_output(_lock_output(terms, value))
    builder.ttl = ttl
    deposit = value.coin if terms.asset.contract else 0
    return _finish(view, builder, ttl, deposit)


def spend(
    view: View,
    spends: Sequence[Spend],
    reference: UTxO | None,
    ttl: int,
    *,
    signers: Sequence[bytes] = (),
    start: int | None = None,
) -> Draft:
    """Build a transaction that claims or refunds locks, several at once if need be.

    What belongs to the payer goes to its change; everybody else is paid an output of their own, tagged with
    the lock. `start` is the first slot at which it is valid. Raises `InsufficientFunds`.
    """
    builder = TransactionBuilder(_Context(view))
    payer = _payment_key(view.payer)
    required = {*signers}
    for one in spends:
        redeemer = Redeemer(one.redeemer, ExecutionUnits(one.memory, one.steps))
        builder.add_script_input(one.lock, reference or validator(), one.datum, redeemer)
        if one.owner == payer:
            required.add(payer)
        else:
            builder.add_output(_payment(view, one))
    builder.validity_start = max(0, view.slot - 1) if start is None else start
    builder.ttl = ttl
    builder.required_signers = [VerificationKeyHash(key) for key in sorted(required)]
    builder.collaterals = _collateral(view)
    return _finish(view, builder, ttl, 0)


def reference(view: View, ttl: int) -> Draft:
    """Build the output that carries the validator for reference, as the transaction's output 0.

    It lies at the validator's own address without a datum, where nobody can ever spend it: it stays for good,
    and so does the ada in it. Raises `InsufficientFunds`.
    """
    builder = TransactionBuilder(_Context(view))
    place = Address(validator_hash(), network=view.network)
    output = TransactionOutput(place, Value(LEAST_TOKEN_DEPOSIT), script=validator())
    least = int(min_lovelace(_Context(view), output))
    output.amount = Value(least)
    builder.add_output(output)
    builder.ttl = ttl
    return _finish(view, builder, ttl, least)


def _lock_output(terms: LockTerms, value: Value) -> TransactionOutput:
    return TransactionOutput(Address.from_primitive(terms.contract), value, datum=datum_of(terms))


def _payment(view: View, one: Spend) -> TransactionOutput:
    lock_input = one.lock.input
    tag = OutputTag(bytes(lock_input.transaction_id.payload), lock_input.index)
    owner = Address.from_primitive(canonical(one.owner, view.network))
    return TransactionOutput(owner, one.lock.output.amount, datum=tag)


def _payment_key(address: Address) -> bytes:
    return bytes(address.payment_part.payload)


def _collateral(view: View) -> list[UTxO]:
    """Return outputs to put at stake: as few as possible, at most as many as allowed, confirmed ones if they
    suffice."""
    for pool in (view.confirmed, [*view.confirmed, *view.unconfirmed]):
        chosen: list[UTxO] = []
        richest = sorted(pool, key=lambda one: -one.output.amount.coin)
        for one in richest[: view.parameters.max_collateral_inputs]:
            chosen.append(one)
            if sum(utxo.output.amount.coin for utxo in chosen) >= COLLATERAL_LEAST:
                return chosen
    raise InsufficientFunds(
        f"the account needs {COLLATERAL_LEAST} lovelace as collateral for a claim or refund",
        "send ada to the account, in one piece",
    )


def _finish(view: View, builder: TransactionBuilder, ttl: int, deposit: int) -> Draft:
    """Choose inputs, confirmed ones if they suffice, and balance."""
    builder.utxo_selectors = [LargestFirstSelector()]
    outputs, inputs = list(builder.outputs), list(builder.inputs)
    pools = [list(view.confirmed)]
    if view.unconfirmed:
        pools.append([*view.confirmed, *view.unconfirmed])
    problem: Exception | None = None
    for pool in pools:
        # A failed attempt leaves nothing behind but what it had chosen.
        builder.outputs[:], builder.inputs[:] = outputs, inputs
        builder.potential_inputs[:] = sorted(pool, key=_order)
        try:
            body = builder.build(view.payer, auto_required_signers=False)
        except (
            UTxOSelectionException,
            InsufficientUTxOBalanceException,
            TransactionBuilderException,
        ) as error:
            problem = error
            continue
        except InvalidTransactionException as error:
            raise InsufficientFunds(
                "the transaction would be too large", "merge the account's outputs"
            ) from error
        tx = Transaction(body, builder.build_witness_set())
        mine = {_key(one.input) for one in view.unconfirmed}
        spends = frozenset(_key(one) for one in body.inputs)
        used = spends | {_key(one) for one in body.collateral or []}
        at_stake = body.total_collateral or 0
        cost = max(body.fee, at_stake) + deposit
        return Draft(tx, body.fee, cost, ttl, bool(used & mine), spends, len(inputs))
    raise InsufficientFunds(
        "the Cardano account has too little for this and its fee",
        "send ada (and the tokens to be locked) to the account, or wait for what is under way",
    ) from problem


def _order(one: UTxO) -> tuple[int, str, int]:
    return (-one.output.amount.coin, *_key(one.input))


def _key(spent: TransactionInput) -> tuple[str, int]:
    return spent.transaction_id.payload.hex(), spent.index
