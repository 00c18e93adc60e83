"""The EVM networks that are known by their chain id, from the profiles in `relayers/evm/profiles.py`."""

from __future__ import annotations

from bridge.chains.network import Network
from relayers.evm.profiles import KNOWN, EvmProfile, FeeModel
from scripts.reference.markdown import table

_FEES = {
    FeeModel.EIP1559: "gas",
    FeeModel.OP_STACK: "gas and data (L1)",
    FeeModel.ARBITRUM: "gas for data too",
}


def networks() -> str:
    """Return a table of every known network."""
    rows = [
        _row(network, chain_id, profile)
        for network in (Network.MAIN, Network.TEST)
        for chain_id, profile in KNOWN[network].items()
    ]
    heads = ("chain id", "network", "coin", "a block", "small amounts", "all else", "fees")
    return table(heads, rows)


def _row(network: Network, chain_id: int, profile: EvmProfile) -> tuple[str, ...]:
    finalized = f" and `finalized` (≤ {profile.finalized_after} s)" if profile.finalized_after else ""
    small = f"up to {profile.finalized_above} {profile.native_symbol}: {profile.depth} blocks"
    return (
        str(chain_id),
        f"{profile.name}{' (test)' if network is Network.TEST else ''}",
        profile.native_symbol,
        f"{profile.block_interval:g} s",
        small,
        f"{profile.finalized_depth} blocks{finalized}",
        _FEES[profile.fee_model],
    )
