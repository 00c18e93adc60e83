"""The devnet's ERC-20: contracts/ethereum/DemoToken.sol, compiled, and how to deploy and mint it.

`demo_token.json` is what solc makes of the source; a test rebuilds and compares it.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from eth_abi.abi import encode
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from bridge.protocol.types import Asset, ChainId
from relayers.evm.artifacts import DEPLOYER
from relayers.evm.settings import ETHEREUM

_SALT = bytes(32)


@cache
def creation_code() -> bytes:
    """Return the bytes that deploy the token; it takes no arguments."""
    raw = json.loads((files(__package__) / "demo_token.json").read_text())
    return bytes.fromhex(raw["creation_code"][2:])


@cache
def address() -> str:
    """Return the token's address when deployed through the deterministic deployer (EIP-1014)."""
    digest = keccak(b"\xff" + bytes.fromhex(DEPLOYER[2:]) + _SALT + keccak(creation_code()))
    return str(to_checksum_address(digest[12:]))


def asset(chain: ChainId = ETHEREUM) -> Asset:
    """Return the token as an asset of one instance; its address is the same on all."""
    return Asset(chain, "DEMO", 6, address())


def deployment_calldata() -> str:
    """Return what to send to `DEPLOYER`."""
    return "0x" + (_SALT + creation_code()).hex()


def mint(to: str, amount: int) -> str:
    """Return the calldata of mint(address,uint256); anyone may call it."""
    return "0x40c10f19" + encode(["address", "uint256"], [to, amount]).hex()
