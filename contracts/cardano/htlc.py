"""The Rainbow Bridge's HTLC on Cardano: a Plutus V3 spending validator in opshin.

One unspent output at this script is one lock. Its whole value, ada and native tokens, goes to the recipient,
who knows the preimage of the hashlock, or from the deadline on back to the sender. Anyone may submit either:
who is not the owner of the money must pay it out in full. The rules: docs/chains/cardano.md.

opshin compiles this file, so it is written in opshin's part of Python: `make cardano-validator` builds
plutus.json from it, byte for byte the same on every machine.
"""

from opshin.prelude import *
from opshin.std.builtins import *
from opshin.std.integrity import check_integrity


@dataclass(unsafe_hash=True)
class Htlc(PlutusData):
    """The datum: the terms of a lock. Asset and amount are the value of the output itself."""

    CONSTR_ID = 0
    sender: PubKeyHash
    recipient: PubKeyHash
    hashlock: bytes  # SHA-256 of the preimage
    deadline: POSIXTime  # milliseconds


@dataclass(unsafe_hash=True)
class Claim(PlutusData):
    """Pays the recipient, with the preimage, at any time: there is no upper bound."""

    CONSTR_ID = 0
    preimage: bytes


@dataclass(unsafe_hash=True)
class Refund(PlutusData):
    """Pays the sender, from the deadline on."""

    CONSTR_ID = 1


@dataclass(unsafe_hash=True)
class GiveBack(PlutusData):
    """Pays the sender, with the recipient's signature, at any time."""

    CONSTR_ID = 2


@dataclass(unsafe_hash=True)
class SomeHtlc(PlutusData):
    """The datum as the ledger hands it over, whether it was inline or given by its hash."""

    CONSTR_ID = 0
    terms: Htlc


@dataclass(unsafe_hash=True)
class SpendingHtlc(PlutusData):
    """Plutus V3's script info of a spent output: opshin's own `Spending` leaves out the datum."""

    CONSTR_ID = 1
    own_ref: TxOutRef
    datum: SomeHtlc


def locked_value(inputs: List[TxInInfo], own_ref: TxOutRef) -> Value:
    return [spent.resolved.value for spent in inputs if spent.out_ref == own_ref][0]


def is_paid(tx: TxInfo, own_ref: TxOutRef, owner: PubKeyHash) -> bool:
    # Exactly one shape is a payment: the whole value, at the owner's address without a stake part, without a
    # reference script, and tagged with the lock it pays for. The tag differs for each lock, so that no output
    # pays for two of them, while one transaction may still settle many.
    payment = TxOut(
        Address(PubKeyCredential(owner), NoStakingCredential()),
        locked_value(tx.inputs, own_ref),
        SomeOutputDatum(own_ref),
        NoScriptHash(),
    )
    return any([output == payment for output in tx.outputs])


def validator(context: ScriptContext) -> None:
    tx = context.transaction
    script_info: Anything = context.purpose
    purpose: Union[SpendingHtlc, Minting] = script_info
    assert isinstance(purpose, SpendingHtlc), "only for spending"
    terms = purpose.datum.terms
    redeemer: Union[Claim, Refund, GiveBack] = context.redeemer
    check_integrity(redeemer)

    owner = terms.sender
    if isinstance(redeemer, Claim):
        assert len(redeemer.preimage) <= 64, "preimage too long"
        assert sha2_256(redeemer.preimage) == terms.hashlock, "wrong preimage"
        owner = terms.recipient
    elif isinstance(redeemer, Refund):
        start = tx.validity_range.lower_bound.limit
        assert isinstance(start, FinitePOSIXTime), "no validity start"
        assert start.time >= terms.deadline, "before the deadline"
    else:
        assert terms.recipient in tx.signatories, "not signed by the recipient"

    assert owner in tx.signatories or is_paid(tx, purpose.own_ref, owner), (
        "the owner neither signs nor is paid"
    )
