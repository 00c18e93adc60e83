"""The compiled HTLC that the package ships, and the address it has on every chain.

`RainbowHtlc.json` is written by `scripts/build_contracts.py`; a test rebuilds and compares it.
The contract has no constructor arguments and no immutables, so creation code, runtime code and, through
CREATE2 and the standard deterministic deployer, its address are the same on every chain.
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from kernels.errors import RainbowError

#: The deterministic deployment proxy (github.com/Arachnid/deterministic-deployment-proxy): calldata is
#: salt (32 bytes) + creation code. On nearly every public chain, and predeployed by anvil.
DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C"

#: Zero: there is one RainbowHtlc per creation code, and the code is what gives it its address.
SALT = bytes(32)


class Artifact(msgspec.Struct, frozen=True):
    """A compiled contract; codes are bytes, `abi` is the usual JSON form."""

    contract: str
    abi: list[dict[str, Any]]
    creation_code: bytes
    runtime_code: bytes
    runtime_keccak: bytes


@cache
def load() -> Artifact:
    """The HTLC's artifact."""
    raw = json.loads((files(__package__) / "RainbowHtlc.json").read_text())
    return Artifact(
        contract=raw["contract"],
        abi=raw["abi"],
        creation_code=bytes.fromhex(raw["creation_code"][2:]),
        runtime_code=bytes.fromhex(raw["runtime_code"][2:]),
        runtime_keccak=bytes.fromhex(raw["runtime_keccak"][2:]),
    )


def deployed_address() -> str:
    """The HTLC's address on every chain where it was deployed through `DEPLOYER` (EIP-1014), checksummed."""
    code_hash = keccak(load().creation_code)
    digest = keccak(b"\xff" + bytes.fromhex(DEPLOYER[2:]) + SALT + code_hash)
    return str(to_checksum_address(digest[12:]))


def deployment_calldata() -> bytes:
    """What to send to `DEPLOYER` (value 0) to deploy the HTLC. Where it is deployed already, that reverts."""
    return SALT + load().creation_code


class Deployment(msgspec.Struct, frozen=True):
    """Where the HTLC is on one network: `scripts/deploy.py` writes it, the relayer's config names it."""

    network: str
    chain_id: int
    address: str
    #: Where to start looking for logs: no log of the HTLC is older.
    block: int
    transaction: str | None
    runtime_keccak: str


class DeploymentError(RainbowError, ValueError):
    """A deployment record that is missing, malformed or of other code than this package's."""


def read_deployment(path: Path) -> Deployment:
    """A record of `scripts/deploy.py`. Raises DeploymentError."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Deployment)
    except FileNotFoundError as error:
        raise DeploymentError(f"{path} does not exist: deploy with `ape run deploy`") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DeploymentError(f"{path} is not a deployment record: {error}") from error
    if record.runtime_keccak != "0x" + load().runtime_keccak.hex():
        raise DeploymentError(f"{path} is of another version of the HTLC: deploy this one")
    return record


def contract_address(text: str, chain_id: int) -> str:
    """The HTLC's address as a configuration gives it: itself, or the path of a deployment record (….json).

    Raises DeploymentError, also for a record of another chain.
    """
    if not text.endswith(".json"):
        return text
    record = read_deployment(Path(text))
    if record.chain_id != chain_id:
        raise DeploymentError(f"{text} is of chain id {record.chain_id}, not {chain_id}")
    return record.address


def write_deployment(path: Path, record: Deployment) -> None:
    """Write a record, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
