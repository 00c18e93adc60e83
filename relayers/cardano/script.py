"""The validator and the data it reads, as contracts/cardano/htlc.py defines them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

from pycardano import Address, Network, PlutusData, PlutusV3Script, ScriptHash, plutus_script_hash

from bridge.protocol.types import Address as AddressText


@dataclass
class HtlcDatum(PlutusData):
    """The terms of a lock; the deadline is in milliseconds."""

    CONSTR_ID = 0
    sender: bytes
    recipient: bytes
    hashlock: bytes
    deadline: int


@dataclass
class ClaimRedeemer(PlutusData):
    """Pays the recipient."""

    CONSTR_ID = 0
    preimage: bytes

    def __repr__(self) -> str:
        return "ClaimRedeemer(<redacted>)"


@dataclass
class RefundRedeemer(PlutusData):
    """Pays the sender, from the deadline on."""

    CONSTR_ID = 1


@dataclass
class GiveBackRedeemer(PlutusData):
    """Pays the sender, with the recipient's signature."""

    CONSTR_ID = 2


@dataclass
class OutputTag(PlutusData):
    """The datum of a payment: the lock that it pays for."""

    CONSTR_ID = 0
    tx_id: bytes
    index: int


HtlcRedeemer = ClaimRedeemer | RefundRedeemer | GiveBackRedeemer


@cache
def validator() -> PlutusV3Script:
    """Return the compiled validator."""
    blueprint = json.loads(resources.files(__package__).joinpath("plutus.json").read_text())
    (spend,) = blueprint["validators"]
    script = PlutusV3Script(bytes.fromhex(spend["compiledCode"]))
    if plutus_script_hash(script).payload.hex() != spend["hash"]:
        raise ValueError("plutus.json is damaged: its code does not have its hash")
    return script


@cache
def validator_hash() -> ScriptHash:
    """Return the validator's hash: the payment part of every lock's address."""
    return plutus_script_hash(validator())


def validator_address(network: Network) -> AddressText:
    """Return the address of locks: the validator without a stake part."""
    return AddressText(str(Address(validator_hash(), network=network).encode()))
