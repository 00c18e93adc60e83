"""Blocks, transactions and parameters as Ogmios v6 writes them. Pure."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import msgspec
from pycardano import TransactionOutput

from relayers.cardano.cbor_items import Item, read_whole
from relayers.cardano.devnet import parameters
from relayers.cardano.devnet.raw_body import NativeScript, OutRef, list_json, native_json
from relayers.cardano.devnet.records import DevBlock, TxRecord, datum_of

Json = dict[str, Any]

_KEY = "00" * 32


def protocol_parameters() -> Json:
    """Return the devnet's protocol parameters in Ogmios' form."""
    raw = parameters.protocol_parameters(0)

    def lovelace(name: str) -> Json:
        return {"ada": {"lovelace": int(raw[name])}}

    def ratio(name: str) -> str:
        value = Fraction(str(raw[name]))
        return f"{value.numerator}/{value.denominator}"

    def size(name: str) -> Json:
        return {"bytes": int(raw[name])}

    return {
        "minFeeCoefficient": raw["min_fee_a"],
        "minFeeConstant": {"ada": {"lovelace": raw["min_fee_b"]}},
        "minFeeReferenceScripts": {
            "range": 25_600,
            "base": raw["min_fee_ref_script_cost_per_byte"],
            "multiplier": 1.2,
        },
        "minUtxoDepositCoefficient": int(raw["coins_per_utxo_size"]),
        "minUtxoDepositConstant": {"ada": {"lovelace": 0}},
        "maxBlockBodySize": size("max_block_size"),
        "maxBlockHeaderSize": size("max_block_header_size"),
        "maxTransactionSize": size("max_tx_size"),
        "maxValueSize": size("max_val_size"),
        "maxReferenceScriptsSize": {"bytes": 204_800},
        "stakeCredentialDeposit": lovelace("key_deposit"),
        "stakePoolDeposit": lovelace("pool_deposit"),
        "stakePoolRetirementEpochBound": raw["e_max"],
        "stakePoolPledgeInfluence": ratio("a0"),
        "minStakePoolCost": lovelace("min_pool_cost"),
        "desiredNumberOfStakePools": raw["n_opt"],
        "monetaryExpansion": ratio("rho"),
        "treasuryExpansion": ratio("tau"),
        "collateralPercentage": raw["collateral_percent"],
        "maxCollateralInputs": raw["max_collateral_inputs"],
        "plutusCostModels": {f"plutus:v{name[-1]}": costs for name, costs in raw["cost_models_raw"].items()},
        "scriptExecutionPrices": {"memory": ratio("price_mem"), "cpu": ratio("price_step")},
        "maxExecutionUnitsPerTransaction": {
            "memory": int(raw["max_tx_ex_mem"]),
            "cpu": int(raw["max_tx_ex_steps"]),
        },
        "maxExecutionUnitsPerBlock": {
            "memory": int(raw["max_block_ex_mem"]),
            "cpu": int(raw["max_block_ex_steps"]),
        },
        "version": {"major": raw["protocol_major_ver"], "minor": raw["protocol_minor_ver"]},
    }


def utc(time: int) -> str:
    """Return a Unix time as Ogmios writes it."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def point(block: DevBlock) -> Json | str:
    """Return what names a block."""
    return {"slot": block.slot, "id": block.id} if block.height else "origin"


def tip(block: DevBlock) -> Json | str:
    """Return what names a block, with its height."""
    return {"slot": block.slot, "id": block.id, "height": block.height} if block.height else "origin"


def reference(ref: OutRef) -> Json:
    """Return what names an output."""
    return {"transaction": {"id": ref[0]}, "index": ref[1]}


def validity(body: Any) -> Json:
    """Return the slots between which a transaction body is valid, those that are given."""
    bounds = {"invalidBefore": body.validity_start, "invalidAfter": body.ttl}
    return {name: slot for name, slot in bounds.items() if slot is not None}


def block_json(block: DevBlock) -> Json:
    """Return a block with its transactions."""
    return {
        "type": "praos",
        "era": "conway",
        "id": block.id,
        "ancestor": block.parent if block.height > 1 else "genesis",
        "height": block.height,
        "slot": block.slot,
        "size": {"bytes": sum(len(tx.raw) for tx in block.txs)},
        "transactions": [transaction_json(tx) for tx in block.txs],
        "protocol": {"version": {"major": 10, "minor": 0}},
        "issuer": {
            "verificationKey": _KEY,
            "vrfVerificationKey": _KEY,
            "operationalCertificate": {"count": 0, "kes": {"period": 0, "verificationKey": _KEY}},
            "leaderValue": {"proof": "00", "output": "00"},
        },
    }


def transaction_json(tx: TxRecord) -> Json:
    """Return a transaction."""
    body = tx.body
    found: Json = {
        "id": tx.id,
        "spends": "inputs" if tx.valid else "collaterals",
        "inputs": [reference(ref) for ref in tx.inputs],
        "outputs": [output_json(output) for output in body.outputs],
        "fee": {"ada": {"lovelace": body.fee}},
        "validityInterval": validity(body),
        "signatories": [{"key": key.hex(), "signature": signature.hex()} for key, signature in body.keys],
    }
    if tx.references:
        found["references"] = [reference(ref) for ref in tx.references]
    if tx.collateral:
        found["collaterals"] = [reference(ref) for ref in tx.collateral]
    if body.total_collateral is not None:
        found["totalCollateral"] = {"ada": {"lovelace": body.total_collateral}}
    if body.collateral_return is not None:
        found["collateralReturn"] = output_json(body.collateral_return)
    if tx.redeemers:
        found["redeemers"] = [
            {
                "redeemer": redeemer.data.hex(),
                "executionUnits": {"memory": redeemer.memory, "cpu": redeemer.steps},
                "validator": {"purpose": redeemer.tag, "index": redeemer.index},
            }
            for redeemer in tx.redeemers
        ]
    if body.required_signers:
        found["requiredExtraSignatories"] = [key.hex() for key in body.required_signers]
    if body.datums:
        found["datums"] = {_datum_hash(datum): datum.hex() for datum in body.datums}
    if body.native_scripts:
        found["scripts"] = {
            f"{place:056x}": {"language": "native", "json": msgspec.Raw(native_json(script))}
            for place, script in enumerate(body.native_scripts)
        }
    if body.metadata:
        labels = {str(label): _metadatum(item, raw) for label, item, raw in body.metadata}
        found["metadata"] = {"hash": "00" * 32, "labels": labels}
    return found


def _datum_hash(datum: bytes) -> str:
    return hashlib.blake2b(datum, digest_size=32).hexdigest()


def _metadatum(item: Item, raw: bytes) -> Json:
    text = list_json(item)
    return {"cbor": raw.hex()} if text is None else {"json": msgspec.Raw(text)}


def output_json(output: TransactionOutput) -> Json:
    """Return an output."""
    value: Json = {"ada": {"lovelace": output.amount.coin}}
    for policy, assets in (output.amount.multi_asset or {}).items():
        value[policy.payload.hex()] = {name.payload.hex(): amount for name, amount in assets.items()}
    found: Json = {"address": str(output.address.encode()), "value": value}
    datum = datum_of(output)
    if datum is not None:
        found["datum"] = datum.hex()
    elif output.datum_hash is not None:
        found["datumHash"] = output.datum_hash.payload.hex()
    if isinstance(output.script, NativeScript):
        shown = msgspec.Raw(native_json(read_whole(output.script)))
        found["script"] = {"language": "native", "json": shown}
    elif output.script is not None:
        found["script"] = {"language": "plutus:v3", "cbor": bytes(output.script).hex()}
    return found
