"""What an endpoint must show before it is used: our network, and our contract's own code."""

from __future__ import annotations

from eth_hash.auto import keccak

from bridge.chains.errors import PortError, PortUnavailableError
from relayers.evm import artifacts
from relayers.evm.rpc import Call, OneEndpoint, quantity
from relayers.evm.settings import EvmSettings


async def check_network(endpoint: OneEndpoint, settings: EvmSettings) -> None:
    """Raise `PortError` for an endpoint of another network."""
    chain_id = quantity(await endpoint.call("eth_chainId"))
    if chain_id != settings.chain_id:
        raise PortError(
            f"the RPC serves chain id {chain_id}; {settings.chain} is {settings.chain_id}",
            "correct the RPC URL or the chain id",
        )


async def check_contract(endpoint: OneEndpoint, settings: EvmSettings, contract: str) -> None:
    """Raise `PortError` for an endpoint of another network, or one without this version's contract."""
    await check_network(endpoint, settings)
    (code,) = await endpoint.all(Call("eth_getCode", (contract, "latest")))
    where = f"{contract} on {settings.chain}, chain id {settings.chain_id}"
    if code in {"0x", None}:
        raise PortError(
            f"there is no contract at {where}",
            "deploy the HTLC contract or correct its address; a new node may still be synchronising",
        )
    if not isinstance(code, str) or keccak(_bytes(code)) != artifacts.load().runtime_keccak:
        raise PortError(
            f"the contract at {where} is not this version's HTLC",
            "correct the address, or deploy this version's contract",
        )


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise PortUnavailableError("the RPC sent malformed code", "use another endpoint") from None
