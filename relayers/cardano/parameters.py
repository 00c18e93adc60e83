"""Protocol parameters, from Blockfrost's and Ogmios' form to pycardano's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from pycardano import ProtocolParameters

_OUR_LANGUAGE = "PlutusV3"
_TIER_BYTES = 25_600
_TIER_MULTIPLIER = 1.2
_MAX_REFERENCE_BYTES = 204_800
"""Reference scripts are priced in tiers of 25 KiB, each 1.2 times the one before, to a most of 200 KiB
(Conway ledger rules); the parameters name only the first tier's price."""


def parse_parameters(raw: Mapping[str, Any]) -> ProtocolParameters:
    """Return /epochs/latest/parameters as pycardano takes them. Raises KeyError or ValueError."""
    return ProtocolParameters(
        min_fee_constant=int(raw["min_fee_b"]),
        min_fee_coefficient=int(raw["min_fee_a"]),
        max_block_size=int(raw["max_block_size"]),
        max_tx_size=int(raw["max_tx_size"]),
        max_block_header_size=int(raw["max_block_header_size"]),
        key_deposit=int(raw["key_deposit"]),
        pool_deposit=int(raw["pool_deposit"]),
        pool_influence=_fraction(raw["a0"]),
        monetary_expansion=_fraction(raw["rho"]),
        treasury_expansion=_fraction(raw["tau"]),
        decentralization_param=_fraction(raw["decentralisation_param"]),
        extra_entropy="",
        protocol_major_version=int(raw["protocol_major_ver"]),
        protocol_minor_version=int(raw["protocol_minor_ver"]),
        min_utxo=int(raw["min_utxo"]),
        min_pool_cost=int(raw["min_pool_cost"]),
        price_mem=_fraction(raw["price_mem"]),
        price_step=_fraction(raw["price_step"]),
        max_tx_ex_mem=int(raw["max_tx_ex_mem"]),
        max_tx_ex_steps=int(raw["max_tx_ex_steps"]),
        max_block_ex_mem=int(raw["max_block_ex_mem"]),
        max_block_ex_steps=int(raw["max_block_ex_steps"]),
        max_val_size=int(raw["max_val_size"]),
        collateral_percent=int(raw["collateral_percent"]),
        max_collateral_inputs=int(raw["max_collateral_inputs"]),
        coins_per_utxo_word=int(raw["coins_per_utxo_word"]),
        coins_per_utxo_byte=int(raw["coins_per_utxo_size"]),
        cost_models={
            name: _in_order(costs)
            for name, costs in (raw.get("cost_models_raw") or _listed(raw["cost_models"])).items()
        },
        maximum_reference_scripts_size={"bytes": _MAX_REFERENCE_BYTES},
        min_fee_reference_scripts={
            "base": float(raw["min_fee_ref_script_cost_per_byte"]),
            "range": float(_TIER_BYTES),
            "multiplier": _TIER_MULTIPLIER,
        },
    )


def from_ogmios(raw: Mapping[str, Any]) -> ProtocolParameters:
    """Return queryLedgerState/protocolParameters as pycardano takes them. Raises KeyError or ValueError."""
    prices, most = raw["scriptExecutionPrices"], raw["maxExecutionUnitsPerTransaction"]
    in_block = raw["maxExecutionUnitsPerBlock"]
    tiers = raw["minFeeReferenceScripts"]
    return ProtocolParameters(
        min_fee_constant=_lovelace(raw["minFeeConstant"]),
        min_fee_coefficient=int(raw["minFeeCoefficient"]),
        max_block_size=int(raw["maxBlockBodySize"]["bytes"]),
        max_tx_size=int(raw["maxTransactionSize"]["bytes"]),
        max_block_header_size=int(raw["maxBlockHeaderSize"]["bytes"]),
        key_deposit=_lovelace(raw["stakeCredentialDeposit"]),
        pool_deposit=_lovelace(raw["stakePoolDeposit"]),
        pool_influence=_fraction(raw["stakePoolPledgeInfluence"]),
        monetary_expansion=_fraction(raw["monetaryExpansion"]),
        treasury_expansion=_fraction(raw["treasuryExpansion"]),
        decentralization_param=Fraction(0),  # no more since Babbage
        extra_entropy="",
        protocol_major_version=int(raw["version"]["major"]),
        protocol_minor_version=int(raw["version"]["minor"]),
        min_utxo=int(raw["minUtxoDepositCoefficient"]),
        min_pool_cost=_lovelace(raw["minStakePoolCost"]),
        price_mem=_fraction(prices["memory"]),
        price_step=_fraction(prices["cpu"]),
        max_tx_ex_mem=int(most["memory"]),
        max_tx_ex_steps=int(most["cpu"]),
        max_block_ex_mem=int(in_block["memory"]),
        max_block_ex_steps=int(in_block["cpu"]),
        max_val_size=int(raw["maxValueSize"]["bytes"]),
        collateral_percent=int(raw["collateralPercentage"]),
        max_collateral_inputs=int(raw["maxCollateralInputs"]),
        coins_per_utxo_word=int(raw["minUtxoDepositCoefficient"]),
        coins_per_utxo_byte=int(raw["minUtxoDepositCoefficient"]),
        cost_models={
            f"PlutusV{name[-1]}": _in_order(costs) for name, costs in raw["plutusCostModels"].items()
        },
        maximum_reference_scripts_size={"bytes": int(raw["maxReferenceScriptsSize"]["bytes"])},
        min_fee_reference_scripts={
            "base": float(tiers["base"]),
            "range": float(tiers["range"]),
            "multiplier": float(tiers["multiplier"]),
        },
    )


def _in_order(costs: Sequence[int]) -> dict[str, int]:
    """Return a cost model as pycardano takes it: it sorts the keys, so they are numbers of three digits."""
    return {f"{index:03d}": int(cost) for index, cost in enumerate(costs)}


def _listed(models: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return cost models as the ledger has them: lists. Services without the lists themselves show mappings,
    whose order says nothing: by number they can be put in order, by name they cannot.

    Raises ValueError if the one that the validator needs cannot be.
    """
    found: dict[str, list[int]] = {}
    for name, costs in models.items():
        if isinstance(costs, list):
            found[name] = costs
        elif costs and all(key.isdigit() for key in costs):
            ordered = sorted(costs, key=int)
            if [int(key) for key in ordered] in (list(range(len(costs))), list(range(1, len(costs) + 1))):
                found[name] = [costs[key] for key in ordered]
    if _OUR_LANGUAGE not in found:
        raise ValueError("the cost model of Plutus V3 is shown without its order")
    return found


def _lovelace(value: Mapping[str, Any]) -> int:
    return int(value["ada"]["lovelace"])


def _fraction(value: Any) -> Fraction:
    """Read a JSON number exactly as it is written: 0.0577 and "577/10000" are the same."""
    return Fraction(str(value))
