"""The devnet's protocol parameters (Conway, as on mainnet) and genesis, in Blockfrost's form."""

from __future__ import annotations

from typing import Any

from relayers.cardano.devnet.ledger import cost_models

EPOCH_SLOTS = 432_000


def protocol_parameters(epoch: int) -> dict[str, Any]:
    """Return the answer of /epochs/{epoch}/parameters: the values that scalus has built in."""
    return {
        "epoch": epoch,
        "min_fee_a": 44,
        "min_fee_b": 155381,
        "max_block_size": 90112,
        "max_tx_size": 16384,
        "max_block_header_size": 1100,
        "key_deposit": "2000000",
        "pool_deposit": "500000000",
        "e_max": 18,
        "n_opt": 500,
        "a0": 0.3,
        "rho": 0.003,
        "tau": 0.2,
        "decentralisation_param": 0,
        "extra_entropy": None,
        "protocol_major_ver": 10,
        "protocol_minor_ver": 0,
        "min_utxo": "4310",
        "min_pool_cost": "170000000",
        "nonce": "0" * 64,
        "cost_models": {
            name: {f"{index:03d}": cost for index, cost in enumerate(costs)}
            for name, costs in cost_models().items()
        },
        "cost_models_raw": cost_models(),
        "price_mem": 0.0577,
        "price_step": 0.0000721,
        "max_tx_ex_mem": "16500000",
        "max_tx_ex_steps": "10000000000",
        "max_block_ex_mem": "72000000",
        "max_block_ex_steps": "20000000000",
        "max_val_size": "5000",
        "collateral_percent": 150,
        "max_collateral_inputs": 3,
        "coins_per_utxo_size": "4310",
        "coins_per_utxo_word": "4310",
        "min_fee_ref_script_cost_per_byte": 15,
    }


def genesis(zero_time: int, magic: int) -> dict[str, Any]:
    """Return the answer of /genesis."""
    return {
        "active_slots_coefficient": 0.05,
        "update_quorum": 5,
        "max_lovelace_supply": "45000000000000000",
        "network_magic": magic,
        "epoch_length": EPOCH_SLOTS,
        "system_start": zero_time,
        "slots_per_kes_period": 129600,
        "slot_length": 1,
        "max_kes_evolutions": 62,
        "security_param": 2160,
    }
