"""An EVM with the HTLC on it, and a readable way to use it."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_abi.grammar import parse
from eth_account import Account
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from relayers.evm import artifacts
from relayers.evm.htlc import COIN, Call, EvmLockTerms, HtlcLog, decode_log, encode_is_open
from scripts.solidity import CONTRACTS, EVM_VERSION, ROOT, compile_sources
from tests.unit.ethereum_contract.anvil_evm import GENESIS_TIME, AnvilEvm, EvmError, Log

CHAIN_ID = 31337
ETHER = 10**18


class RevertedError(Exception):
    """The EVM reverted; `error` is the name of our error, or the raw revert data as hex."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.error = error_names().get(data[:4], data.hex())
        super().__init__(self.error)


@cache
def error_names() -> dict[bytes, str]:
    """Selector → name, for every error in the HTLC's ABI (none has arguments)."""
    errors = [item["name"] for item in artifacts.load().abi if item["type"] == "error"]
    return {keccak(f"{name}()".encode())[:4]: name for name in errors}


@cache
def compiled() -> dict[str, tuple[bytes, bytes]]:
    """Name → (creation code, runtime code) of contracts/ethereum/test/."""
    sources = {f"test/{path.name}": path.read_text() for path in sorted((CONTRACTS / "test").glob("*.sol"))}
    sources["RainbowHtlc.sol"] = (CONTRACTS / "RainbowHtlc.sol").read_text()
    key = keccak("".join(sources.values()).encode()).hex()
    cache_file = ROOT / "build" / "test-contracts" / f"{key}.json"
    if not cache_file.exists():
        codes = {
            name: [output["evm"][kind]["object"] for kind in ("bytecode", "deployedBytecode")]
            for file, contracts in compile_sources(sources, {"evmVersion": EVM_VERSION}).items()
            if file.startswith("test/")
            for name, output in contracts.items()
        }
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        part = cache_file.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(codes))
        part.replace(cache_file)
    return {
        name: (bytes.fromhex(creation), bytes.fromhex(runtime))
        for name, (creation, runtime) in json.loads(cache_file.read_text()).items()
    }


def call(signature: str, *values: Any, value: int = 0) -> Call:
    """Calldata for a Solidity signature such as `approve(address,uint256)`."""
    arguments = signature[signature.index("(") :]
    types = [] if arguments == "()" else [item.to_type_str() for item in parse(arguments).components]
    return Call(data=keccak(signature.encode())[:4] + encode(types, values), value=value)


def htlc_code() -> bytes:
    """The creation code under test: the committed one, or the mutant of scripts/mutate_ethereum.py."""
    mutant = os.environ.get("RAINBOW_HTLC_MUTANT")
    return bytes.fromhex(Path(mutant).read_text()) if mutant else artifacts.load().creation_code


class Party:
    """An account with a key."""

    def __init__(self, name: str) -> None:
        self.account = Account.from_key(keccak(name.encode()))
        self.address: str = self.account.address

    def sign(self, typed_data: dict[str, Any]) -> bytes:
        return bytes(self.account.sign_typed_data(full_message=typed_data).signature)


class Chain:
    """One EVM; `htlc` is the HTLC under test."""

    def __init__(self, chain_id: int = CHAIN_ID) -> None:
        self.evm = AnvilEvm(chain_id)
        self.chain_id = chain_id
        self.now = GENESIS_TIME
        self._logs: list[Log] = []
        self.warp(0)
        self.alice, self.bob, self.carol = (Party(name) for name in ("alice", "bob", "carol"))
        self.parties = (self.alice, self.bob, self.carol)
        for party in self.parties:
            self.evm.set_balance(party.address, 1000 * ETHER)
        self.htlc = self.deploy(htlc_code())

    def warp(self, seconds: int) -> None:
        self.now += seconds
        self.evm.set_time(self.now)

    def deploy(self, code: bytes) -> str:
        created, _ = self.evm.transact("0x" + "de" * 20, None, code)
        assert created is not None
        return str(to_checksum_address(created))

    def deploy_test(self, name: str) -> str:
        return self.deploy(compiled()[name][0])

    def put_code(self, address: str, runtime: bytes) -> None:
        self.evm.set_code(address, runtime)

    def raw(self, sender: str | Party, to: str, message: Call, gas: int | None = None) -> bytes:
        """One transaction; returns what the call returned, raises Reverted."""
        caller = sender.address if isinstance(sender, Party) else sender
        try:
            returned = self.evm.call(caller, to, message.data, message.value, gas)
            _, self._logs = self.evm.transact(caller, to, message.data, message.value, gas)
        except EvmError as error:
            raise RevertedError(error.data or str(error).encode()) from None
        return returned

    def read(self, to: str, message: Call) -> bytes:
        """A call that changes nothing; returns what it returned, raises Reverted."""
        try:
            return self.evm.call(self.carol.address, to, message.data)
        except EvmError as error:
            raise RevertedError(error.data or str(error).encode()) from None

    def send(self, sender: str | Party, message: Call, gas: int | None = None) -> list[HtlcLog]:
        """One transaction to the HTLC; returns its decoded logs."""
        self.raw(sender, self.htlc, message, gas)
        return self.logs()

    def logs(self) -> list[HtlcLog]:
        """The HTLC's logs of the last transaction."""
        found = []
        for log in self._logs:
            if log.address.lower() == self.htlc.lower():
                event = decode_log({"topics": log.topics, "data": log.data})
                assert event is not None
                found.append(event)
        return found

    def is_open(self, terms: EvmLockTerms) -> bool:
        return int.from_bytes(self.read(self.htlc, encode_is_open(terms)), "big") == 1

    def balance(self, who: str | Party, token: str = COIN) -> int:
        address = who.address if isinstance(who, Party) else who
        if token == COIN:
            return int(self.evm.get_balance(address))
        return int.from_bytes(self.read(token, call("balanceOf(address)", address)), "big")

    def token(self, name: str = "TestToken") -> str:
        """A token of contracts/ethereum/test/, with 1000 for each party, approved for the HTLC."""
        token = self.deploy_test(name)
        for party in self.parties:
            self.raw(party, token, call("mint(address,uint256)", party.address, 1000 * ETHER))
            self.raw(party, token, call("approve(address,uint256)", self.htlc, 2**256 - 1))
        return token
