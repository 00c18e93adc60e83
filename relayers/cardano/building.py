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

from bridge.chains.errors import InsufficientFundsError
from bridge.protocol.types import LockTerms
from relayers.cardano.htlc import canonical, datum_of
from relayers.cardano.pycardano_logging import silence_pycardano
from relayers.cardano.script import HtlcDatum, HtlcRedeemer, OutputTag, validator, validator_hash

silence_pycardano()

LEAST_TOKEN_DEPOSIT = 2_000_000
"""Lovelace in a lock of native tokens: more than any such output must hold. It goes with the tokens."""
FIRST_MEMORY, FIRST_STEPS = 1_000_000, 400_000_000
"""What a spend is given before it is evaluated: above every cost in build/bench/cardano.json."""
COLLATERAL_LEAST = 6_000_000
"""Lovelace: what the outputs at stake in a spend must hold together. A failing script costs less."""

_SOME_DEADLINE = 2_000_000_000_000
"""Milliseconds: encoded as long as every deadline of this age of the world."""


@dataclass(frozen=True)
class BuildContext:
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


class PycardanoContext(ChainContext):
    """A view as pycardano's builder wants to see it."""

    def __init__(self, context: BuildContext) -> None:
        self._context = context

    @property
    def network(self) -> AddressNetwork:
        """What addresses begin with."""
        return self._context.network

    @property
    def last_block_slot(self) -> int:
        """The newest slot."""
        return self._context.slot

    @property
    def protocol_param(self) -> ProtocolParameters:
        """The protocol parameters."""
        return self._context.parameters

    def _utxos(self, address: str) -> list[UTxO]:  # noqa: ARG002 - inputs are given, never looked up
        return []


def locked_value(context: BuildContext, terms: LockTerms) -> Value:
    """Return what a lock's output holds: the ada, or the tokens and the deposit that must go with them."""
    if not terms.asset.contract:
        return Value(terms.amount)
    value = Value(LEAST_TOKEN_DEPOSIT, token(terms.asset.contract, terms.amount))
    least = min_lovelace(PycardanoContext(context), _lock_output(terms, value))
    return Value(max(LEAST_TOKEN_DEPOSIT, least), value.multi_asset)


def least_lock(context: BuildContext, terms: LockTerms) -> int:
    """Return the lovelace that the lock's output must hold at least."""
    return int(min_lovelace(PycardanoContext(context), _lock_output(terms, locked_value(context, terms))))


def least_ada(parameters: ProtocolParameters, network: AddressNetwork) -> int:
    """Return the lovelace that any lock of ada must hold at least: all have outputs of the same size."""
    place = Address(validator_hash(), network=network)
    datum = HtlcDatum(bytes(28), bytes(28), bytes(32), _SOME_DEADLINE)
    context = BuildContext(parameters, 0, network, place, ())
    output = TransactionOutput(place, Value(LEAST_TOKEN_DEPOSIT), datum=datum)
    return int(min_lovelace(PycardanoContext(context), output))


def token(unit: str, amount: int) -> MultiAsset:
    """Return an amount of one native token, named by policy and name in hex."""
    raw = bytes.fromhex(unit)
    return MultiAsset({ScriptHash(raw[:28]): TokenBundle({AssetName(raw[28:]): amount})})


def lock(context: BuildContext, terms: LockTerms, ttl: int) -> Draft:
    """Build a lock. Raises `InsufficientFundsError`."""
    builder = TransactionBuilder(PycardanoContext(context))
    value = locked_value(context, terms)
    builder.add_output(_lock_output(terms, value))
    builder.ttl = ttl
    deposit = value.coin if terms.asset.contract else 0
    return _finish(context, builder, ttl, deposit)


def spend(
    context: BuildContext,
    spends: Sequence[Spend],
    reference: UTxO | None,
    ttl: int,
    *,
    signers: Sequence[bytes] = (),
    start: int | None = None,
) -> Draft:
    """Build a transaction that claims or refunds locks, several at once if need be.

    What belongs to the payer goes to its change; everybody else is paid an output of their own, tagged with
    the lock. `start` is the first slot at which it is valid. Raises `InsufficientFundsError`.
    """
    builder = TransactionBuilder(PycardanoContext(context))
    payer = _payment_key(context.payer)
    required = {*signers}
    for part in spends:
        redeemer = Redeemer(part.redeemer, ExecutionUnits(part.memory, part.steps))
        builder.add_script_input(part.lock, reference or validator(), part.datum, redeemer)
        if part.owner == payer:
            required.add(payer)
        else:
            builder.add_output(_payment(context, part))
    builder.validity_start = max(0, context.slot - 1) if start is None else start
    builder.ttl = ttl
    builder.required_signers = [VerificationKeyHash(key) for key in sorted(required)]
    builder.collaterals = _collateral(context)
    return _finish(context, builder, ttl, 0)


def reference(context: BuildContext, ttl: int) -> Draft:
    """Build the output that carries the validator for reference, as the transaction's output 0.

    It lies at the validator's own address without a datum, where nobody can ever spend it: it stays for good,
    and so does the ada in it. Raises `InsufficientFundsError`.
    """
    builder = TransactionBuilder(PycardanoContext(context))
    place = Address(validator_hash(), network=context.network)
    output = TransactionOutput(place, Value(LEAST_TOKEN_DEPOSIT), script=validator())
    least = int(min_lovelace(PycardanoContext(context), output))
    output.amount = Value(least)
    builder.add_output(output)
    builder.ttl = ttl
    return _finish(context, builder, ttl, least)


def _lock_output(terms: LockTerms, value: Value) -> TransactionOutput:
    return TransactionOutput(Address.from_primitive(terms.contract), value, datum=datum_of(terms))


def _payment(context: BuildContext, part: Spend) -> TransactionOutput:
    lock_input = part.lock.input
    tag = OutputTag(bytes(lock_input.transaction_id.payload), lock_input.index)
    owner = Address.from_primitive(canonical(part.owner, context.network))
    return TransactionOutput(owner, part.lock.output.amount, datum=tag)


def _payment_key(address: Address) -> bytes:
    return bytes(address.payment_part.payload)


def _collateral(context: BuildContext) -> list[UTxO]:
    """Return outputs to put at stake: as few as possible, at most as many as allowed, confirmed ones if they
    suffice."""
    for pool in (context.confirmed, [*context.confirmed, *context.unconfirmed]):
        chosen: list[UTxO] = []
        richest = sorted(pool, key=lambda utxo: -utxo.output.amount.coin)
        for utxo in richest[: context.parameters.max_collateral_inputs]:
            chosen.append(utxo)
            if sum(held.output.amount.coin for held in chosen) >= COLLATERAL_LEAST:
                return chosen
    raise InsufficientFundsError(
        f"the account needs {COLLATERAL_LEAST} lovelace as collateral for a claim or refund",
        "send ada to the account, in one piece",
    )


def _finish(context: BuildContext, builder: TransactionBuilder, ttl: int, deposit: int) -> Draft:
    """Choose inputs, confirmed ones if they suffice, and balance."""
    builder.utxo_selectors = [LargestFirstSelector()]
    outputs, inputs = list(builder.outputs), list(builder.inputs)
    pools = [list(context.confirmed)]
    if context.unconfirmed:
        pools.append([*context.confirmed, *context.unconfirmed])
    problem: Exception | None = None
    for pool in pools:
        # A failed attempt leaves nothing behind but what it had chosen.
        builder.outputs[:], builder.inputs[:] = outputs, inputs
        builder.potential_inputs[:] = sorted(pool, key=_order)
        try:
            body = builder.build(context.payer, auto_required_signers=False)
        except (
            UTxOSelectionException,
            InsufficientUTxOBalanceException,
            TransactionBuilderException,
        ) as error:
            problem = error
            continue
        except InvalidTransactionException as error:
            raise InsufficientFundsError(
                "the transaction would be too large", "merge the account's outputs"
            ) from error
        tx = Transaction(body, builder.build_witness_set())
        mine = {_key(utxo.input) for utxo in context.unconfirmed}
        spends = frozenset(_key(spent) for spent in body.inputs)
        used = spends | {_key(spent) for spent in body.collateral or []}
        at_stake = body.total_collateral or 0
        cost = max(body.fee, at_stake) + deposit
        return Draft(tx, body.fee, cost, ttl, bool(used & mine), spends, len(inputs))
    raise InsufficientFundsError(
        "the Cardano account has too little for this and its fee",
        "send ada (and the tokens to be locked) to the account, or wait for what is under way",
    ) from problem


def _order(utxo: UTxO) -> tuple[int, str, int]:
    return (-utxo.output.amount.coin, *_key(utxo.input))


def _key(spent: TransactionInput) -> tuple[str, int]:
    return spent.transaction_id.payload.hex(), spent.index
