"""What an endpoint must show before it is used: our network, and our contract's own code."""

from __future__ import annotations

from stellar_sdk import scval

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.errors import ActionRefusedError, PortError
from relayers.stellar import contract
from relayers.stellar.accounts import read_entries
from relayers.stellar.ledgers import UNREADABLE
from relayers.stellar.rpc import ask
from relayers.stellar.settings import StellarSettings
from relayers.stellar.simulation import view


async def identify(one: OneEndpoint, settings: StellarSettings) -> None:
    """Raise `PortError` for an endpoint of another network, or one where our address is another contract."""
    served = str((await ask(one, "getNetwork"))["passphrase"])
    if served != settings.passphrase:
        raise PortError(
            f"the RPC serves the network {served!r}, not {settings.passphrase!r}",
            "correct the RPC URL or the passphrase",
        )
    code = await _code_of(one, settings)
    if code is None:
        raise PortError(
            f"there is no contract at {settings.contract} on {settings.chain}",
            "deploy the HTLC contract or correct its address; a new node may still be synchronising",
        )
    if code != contract.code_hash():
        raise PortError(
            f"the contract at {settings.contract} on {settings.chain} is not this version's HTLC",
            "correct the address, or deploy this version's contract",
        )


async def _code_of(one: OneEndpoint, settings: StellarSettings) -> bytes | None:
    """Return the hash of the code at our address, b"" for code that the network has built in, None where
    there is no contract."""
    (instance,) = (await read_entries(one, [contract.instance_key(settings.contract)])).found
    if instance is None:
        # It may be archived, and must not stop us then: a call restores it. What a call reads is its code.
        try:
            called = await view(
                one, settings.contract, "get", [scval.to_bytes(bytes(32))], settings.passphrase
            )
        except ActionRefusedError:
            return None
        footprint = called.data.resources.footprint
        keys = [key.contract_code for key in (*footprint.read_only, *footprint.read_write)]
        named = [key.hash.hash for key in keys if key is not None]
        return named[0] if len(named) == 1 else None
    try:
        data = instance.data.contract_data
        executable = data.val.instance.executable  # type: ignore[union-attr]
        code = executable.wasm_hash.hash if executable.wasm_hash is not None else b""
    except (AttributeError, *UNREADABLE) as error:
        raise EndpointError(
            f"{one.name} gave a contract that cannot be read", "use another endpoint", kind=Answer.WRONG
        ) from error
    return bytes(code)
