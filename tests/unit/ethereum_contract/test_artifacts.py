"""The committed artifact is what the source compiles to, and says where it is deployed."""

import re

from eth_hash.auto import keccak

from relayers.evm import artifacts
from relayers.evm.htlc import Call
from scripts.build_contracts import ARTIFACTS, build, render
from scripts.solidity import CONTRACTS
from tests.unit.ethereum_contract.evm import Chain


def test_the_committed_artifact_is_what_the_source_compiles_to() -> None:
    assert (ARTIFACTS / "RainbowHtlc.json").read_text() == render(build()), "run `make contracts`"


def test_the_artifact_tells_the_truth_about_itself() -> None:
    artifact = artifacts.load()
    assert artifact.runtime_keccak == keccak(artifact.runtime_code)
    assert artifact.creation_code.endswith(artifact.runtime_code)
    chain = Chain()
    deployed = chain.evm.get_code(chain.htlc)
    assert deployed is not None
    assert bytes(deployed).rstrip(b"\0") == artifact.runtime_code.rstrip(b"\0")


def test_the_errors_that_assembly_reverts_with_are_those_of_the_abi() -> None:
    source = (CONTRACTS / "RainbowHtlc.sol").read_text()
    constants = dict(re.findall(r"uint256 private constant ([A-Z0-9_]+) = 0x([0-9a-f]{8});", source))
    errors = {item["name"] for item in artifacts.load().abi if item["type"] == "error"}
    by_constant = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper(): name for name in errors}
    assert len(constants) == 7
    for constant, selector in constants.items():
        assert keccak(f"{by_constant[constant]}()".encode())[:4].hex() == selector


def test_the_address_is_the_one_that_the_deployer_gives() -> None:
    """EIP-1014, checked by running CREATE2 itself: the deployer's code on the EVM."""
    chain = Chain()
    # github.com/Arachnid/deterministic-deployment-proxy, as it is on every chain
    proxy = (
        "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe036"
        "01600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
    )
    chain.put_code(artifacts.DEPLOYER, bytes.fromhex(proxy))
    made = chain.raw(chain.alice, artifacts.DEPLOYER, Call(artifacts.deployment_calldata()))
    assert "0x" + made.hex() == artifacts.deployed_address().lower()
    deployed = chain.evm.get_code(artifacts.deployed_address())
    assert deployed is not None
    assert bytes(deployed).rstrip(b"\0") == artifacts.load().runtime_code.rstrip(b"\0")


def test_the_hot_functions_come_first_in_the_dispatcher() -> None:
    """The compiler compares selectors in order, 22 gas each; the names were chosen for it."""

    def signature(kind: dict[str, object]) -> str:
        def type_of(item: dict[str, object]) -> str:
            if not str(item["type"]).startswith("tuple"):
                return str(item["type"])
            inner = ",".join(type_of(part) for part in item["components"])  # type: ignore[attr-defined]
            return f"({inner}){str(item['type'])[5:]}"

        return f"{kind['name']}({','.join(type_of(item) for item in kind['inputs'])})"  # type: ignore[attr-defined]

    functions = [signature(item) for item in artifacts.load().abi if item["type"] == "function"]
    order = [name.split("(")[0] for name in sorted(functions, key=lambda one: keccak(one.encode())[:4])]
    assert order[:5] == ["refundNative", "claimNative", "lockERC20", "claimNativeBatch", "claimERC20"]
