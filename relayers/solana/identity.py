"""Whose an endpoint is: its cluster's genesis, and the HTLC program there, byte by byte. Asked of each one.

One endpoint's word for the program would be the word of that one alone: another one may be of a cluster where
somebody else's program stands at the same address.
"""

from __future__ import annotations

import base64
from typing import Any

from solders.pubkey import Pubkey

from bridge.chains.endpoints.json_rpc import Call, Identity, OneEndpoint, record
from bridge.chains.errors import PortError
from relayers.solana import deployed
from relayers.solana.rpc import value_of
from relayers.solana.settings import SolanaSettings

_ACCOUNT = {"commitment": "confirmed", "encoding": "base64"}


def identity_of(settings: SolanaSettings) -> Identity:
    """Return what refuses endpoints of other clusters than the settings name, and those where the HTLC
    program is missing, is another one, or can be changed."""
    at = Pubkey.from_string(settings.program)
    usual, _ = Pubkey.find_program_address([bytes(at)], deployed.UPGRADEABLE)

    async def check(endpoint: OneEndpoint) -> None:
        accounts = [Call("getAccountInfo", (str(key), _ACCOUNT)) for key in (at, usual)]
        genesis, program, code = await endpoint.all(Call("getGenesisHash"), *accounts)
        if settings.genesis_hash and genesis != settings.genesis_hash:
            raise PortError("the Solana RPC is of another cluster", "correct the RPC URL or genesis_hash")
        found = _account(program)
        if found is None or not found["executable"]:
            raise PortError(f"there is no program at {at}", "deploy it (docs/chains/solana.md) or correct it")
        holder = deployed.code_account(found["owner"], _data(found))
        if holder is None:
            deployed.check_code(_data(found))
            return
        if holder != usual:
            code = await endpoint.call("getAccountInfo", str(holder), _ACCOUNT)
        held = _account(code)
        deployed.check_code(deployed.code_of(b"" if held is None else _data(held)))

    return check


def _account(answer: Any) -> dict[str, Any] | None:
    found = value_of(answer)
    return None if found is None else record(found)


def _data(account: dict[str, Any]) -> bytes:
    return base64.b64decode(account["data"][0])
