"""Gas of the HTLC on anvil, beside the best peer's; `make bench-gas` → build/bench/gas.json.

`measure()` is also what the gas test compares with contracts/ethereum/gas-snapshot.json. `--update` rewrites
that snapshot. The peer is the npm package boltz-core, AGPL: it is fetched into the ignored build/ and used as
it is; none of it belongs to this project. `--no-peer` leaves it out.

All amounts are 1 ETH or 10**18 of the token, preimages and addresses are ordinary bytes, the party that pays
for gas is the one that is paid (a warm address), the HTLC and the recipient already hold something.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from eth_abi.abi import encode
from eth_account import Account
from eth_hash.auto import keccak

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not as a module

from relayers.evm import access, artifacts, htlc
from relayers.evm.htlc import COIN, EvmLockTerms
from scripts.anvil import Anvil, anvil
from scripts.solidity import CONTRACTS, ROOT, compile_sources, node

SNAPSHOT = CONTRACTS / "gas-snapshot.json"
PEER = "boltz-core@4.0.1"
ETHER = 10**18

#: What the project set out to reach.
TARGETS = {
    "native lock": 46_500,
    "native claim": 31_500,
    "native refund": 31_000,
    "native lane lock": 30_500,
    "native lane claim": 36_500,
    "token lock": 66_500,
    "token claim": 41_500,
    "token lane lock": 49_500,
    "token lane claim": 46_000,
    "native claim batch of 10": 95_000,
}


class Bench:
    """Accounts, a token and the HTLC on an anvil."""

    def __init__(self, chain: Anvil) -> None:
        self.chain = chain
        self.alice, self.bob, self.carol = chain.rpc("eth_accounts")[:3]
        self.chain_id = int(chain.rpc("eth_chainId"), 16)
        chain.send(self.alice, artifacts.DEPLOYER, artifacts.deployment_calldata())
        self.htlc = artifacts.deployed_address()
        source = {"TestToken.sol": (CONTRACTS / "test" / "TestToken.sol").read_text()}
        token = compile_sources(source)["TestToken.sol"]["TestToken"]["evm"]["bytecode"]["object"]
        self.token: str = self.deploy(bytes.fromhex(token))
        self.call(self.alice, self.token, "mint(address,uint256)", self.alice, 10**6 * ETHER)
        self.prepare(self.token, self.htlc)
        chain.rpc("anvil_setBalance", self.htlc, hex(ETHER))

    def deploy(self, code: bytes) -> str:
        return str(self.chain.send(self.alice, None, code)["contractAddress"])

    def call(self, sender: str, to: str, signature: str, *values: Any, value: int = 0) -> int:
        """Send a call and return the gas it used."""
        types = signature[signature.index("(") + 1 : -1].split(",")
        data = keccak(signature.encode())[:4] + encode(types, values)
        return int(self.chain.send(sender, to, data, value)["gasUsed"], 16)

    def prepare(self, token: str, contract: str) -> None:
        """An unlimited allowance, and balances that are not zero before and after."""
        self.call(self.alice, token, "approve(address,uint256)", contract, 2**256 - 1)
        for holder in (contract, self.bob):
            self.call(self.alice, token, "transfer(address,uint256)", holder, ETHER)

    def send(self, sender: str, message: htlc.Call) -> int:
        return int(self.chain.send(sender, self.htlc, message.data, message.value)["gasUsed"], 16)

    def send_listed(self, sender: str, message: htlc.Call) -> int:
        """Send with the access list of `relayers.evm.access`."""
        request = {
            "from": sender,
            "to": self.htlc,
            "data": "0x" + message.data.hex(),
            "value": hex(message.value),
        }
        found = self.chain.rpc("eth_createAccessList", request, "latest")
        entries = access.worthwhile(found, sender, self.htlc)
        receipt = self.chain.send(
            sender, self.htlc, message.data, message.value, [entry.to_rpc() for entry in entries]
        )
        return int(receipt["gasUsed"], 16)

    def fund(self, holder: str, token: str) -> None:
        """Give it something to hold: the first balance of an account costs more."""
        if token == COIN:
            self.chain.rpc("anvil_setBalance", holder, hex(ETHER))
        else:
            self.call(self.alice, token, "transfer(address,uint256)", holder, ETHER)

    def use_lane(self, token: str, lane: int) -> None:
        """Lock and claim in a lane, so that the lane is not new."""
        first = _terms(self, token, lane, 0)
        self.send(self.alice, htlc.encode_lock(first))
        self.send(self.bob, htlc.encode_claim(first, preimage(0)))

    def now(self) -> int:
        return int(self.chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def wait_until(self, when: int) -> None:
        self.chain.rpc("evm_setNextBlockTimestamp", when)
        self.chain.rpc("evm_mine")


def preimage(index: int) -> bytes:
    return hashlib.sha256(b"benchmark %d" % index).digest()


def hashlock(index: int) -> bytes:
    return hashlib.sha256(preimage(index)).digest()


def measure() -> dict[str, int]:
    """Gas of each operation of the HTLC, on a fresh anvil with a fixed clock."""
    with anvil("--timestamp", "1800000000") as chain:
        bench = Bench(chain)
        gas: dict[str, int] = {}
        for asset, token in (("native", COIN), ("token", bench.token)):
            for kind, lane in (("", 0), ("lane ", 1 if token == COIN else 2)):
                gas |= _one_by_one(bench, f"{asset} {kind}", token, lane)
            gas |= _batches(bench, asset, token)
        for asset, token in (("native", COIN), ("token", bench.token)):
            gas |= _claim_batches(bench, asset, token)
            for kind, lane in (("", 0), ("lane ", 3 if token == COIN else 4)):
                gas |= _signed_claims(bench, f"{asset} {kind}", token, lane)
                gas |= _with_access_lists(bench, f"{asset} {kind}", token, lane)
        creation = {"from": bench.alice, "data": "0x" + artifacts.load().creation_code.hex()}
        gas["deployment"] = int(chain.rpc("eth_estimateGas", creation), 16)
        return gas


def _terms(bench: Bench, token: str, lane: int, index: int) -> EvmLockTerms:
    return EvmLockTerms(
        sender=bench.alice,
        recipient=bench.bob,
        token=token,
        amount=ETHER,
        hashlock=hashlock(index),
        deadline=bench.now() // 100_000 * 100_000 + 276_543,
        lane=lane,
    )


def _one_by_one(bench: Bench, name: str, token: str, lane: int) -> dict[str, int]:
    gas = {}
    if lane:  # the first lock of a lane pays for its slot
        first = _terms(bench, token, lane, 0)
        gas[f"{name}first lock"] = bench.send(bench.alice, htlc.encode_lock(first))
        bench.send(bench.bob, htlc.encode_claim(first, preimage(0)))
    lock = _terms(bench, token, lane, 1)
    gas[f"{name}lock"] = bench.send(bench.alice, htlc.encode_lock(lock))
    gas[f"{name}claim"] = bench.send(bench.bob, htlc.encode_claim(lock, preimage(1)))
    lock = _terms(bench, token, lane, 2)
    bench.send(bench.alice, htlc.encode_lock(lock))
    gas[f"{name}claim by a stranger"] = bench.send(bench.carol, htlc.encode_claim(lock, preimage(2)))
    lock = _terms(bench, token, lane, 3)
    bench.send(bench.alice, htlc.encode_lock(lock))
    bench.wait_until(lock.deadline)
    gas[f"{name}refund"] = bench.send(bench.alice, htlc.encode_refund(lock))
    return gas


def _batches(bench: Bench, asset: str, token: str) -> dict[str, int]:
    locks = [(_terms(bench, token, 0, index), preimage(index)) for index in range(10, 20)]
    return {
        f"{asset} lock batch of 10": bench.send(
            bench.alice, htlc.encode_lock_batch([lock for lock, _ in locks])
        ),
        f"{asset} claim batch of 10": bench.send(bench.bob, htlc.encode_claim_batch(locks)),
    }


def _claim_batches(bench: Bench, asset: str, token: str) -> dict[str, int]:
    gas = {}
    for size in (2, 5, 20):
        locks = [(_terms(bench, token, 0, index), preimage(index)) for index in range(30, 30 + size)]
        bench.send(bench.alice, htlc.encode_lock_batch([lock for lock, _ in locks]))
        gas[f"{asset} claim batch of {size}"] = bench.send(bench.bob, htlc.encode_claim_batch(locks))
    return gas


def _signed_claims(bench: Bench, name: str, token: str, lane: int) -> dict[str, int]:
    """claimFor for a recipient who has nothing yet, for another one, and with a later nonce of its slot."""
    gas = {}
    newcomer, known = (Account.from_key(keccak(f"{who} {name}".encode())) for who in ("newcomer", "known"))
    for holder in (known.address, bench.carol):
        bench.fund(holder, token)
    for index, (kind, recipient) in enumerate(
        (("signed claim of a newcomer", newcomer), ("signed claim", known), ("later signed claim", known))
    ):
        if lane:
            bench.use_lane(token, lane)
        lock = msgspec.structs.replace(_terms(bench, token, lane, index), recipient=recipient.address)
        bench.send(bench.alice, htlc.encode_lock(lock))
        signed = {"max_fee": ETHER // 1000, "nonce": 256 * 7 + index, "expiry": lock.deadline}
        typed = htlc.claim_for_typed_data(bench.chain_id, bench.htlc, lock, relayer=bench.carol, **signed)
        signature = bytes(recipient.sign_typed_data(full_message=typed).signature)
        claim = htlc.encode_claim_for(lock, preimage(index), fee=ETHER // 1001, signature=signature, **signed)
        gas[f"{name}{kind}"] = bench.send(bench.carol, claim)
    return gas


def _with_access_lists(bench: Bench, name: str, token: str, lane: int) -> dict[str, int]:
    """What the same calls use with the access list that the adapter would add."""
    if lane:
        bench.use_lane(token, lane)
    gas = {}
    lock = _terms(bench, token, lane, 1)
    if token != COIN:
        gas[f"{name}lock with access list"] = bench.send_listed(bench.alice, htlc.encode_lock(lock))
    else:
        bench.send(bench.alice, htlc.encode_lock(lock))
    by = f"{name}claim by a stranger with access list"
    gas[by] = bench.send_listed(bench.carol, htlc.encode_claim(lock, preimage(1)))
    lock = _terms(bench, token, lane, 2)
    bench.send(bench.alice, htlc.encode_lock(lock))
    bench.wait_until(lock.deadline)
    if token != COIN:
        gas[f"{name}refund with access list"] = bench.send_listed(bench.alice, htlc.encode_refund(lock))
    return gas


# ---------------------------------------------------------------------- the peer


def fetch_peer() -> Path:
    """The unpacked npm package, in the ignored build/."""
    folder = ROOT / "build" / "peers"
    package = folder / "package"
    if not package.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        path = f"{Path(node()).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["npm", "pack", PEER, "--silent"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PATH": path},
        )
        with tarfile.open(folder / done.stdout.strip()) as archive:
            archive.extractall(folder, filter="data")
    return package


def _peer_code(package: Path, *candidates: str) -> bytes:
    for candidate in candidates:
        path = package / candidate
        if path.exists():
            return bytes.fromhex(json.loads(path.read_text())["bytecode"]["object"][2:])
    raise FileNotFoundError(f"{PEER} has none of {candidates}")


def measure_peer(package: Path) -> dict[str, dict[str, int]]:
    """The peer's gas for the same operations; and both with the peer's own test token (OpenZeppelin's)."""
    with anvil("--timestamp", "1800000000") as chain:
        bench = Bench(chain)
        ether = bench.deploy(_peer_code(package, "dist/out/EtherSwap.sol/EtherSwap.json"))
        erc20 = bench.deploy(_peer_code(package, "dist/out/ERC20Swap.sol/ERC20Swap.json"))
        chain.rpc("anvil_setBalance", ether, hex(ETHER))
        token_code = _peer_code(package, "out/TestERC20.sol/TestERC20.json")
        arguments = encode(["string", "string", "uint8", "uint256"], ["Token", "T", 18, 10**30])
        plain = bench.deploy(token_code + arguments)
        gas = _peer_native(bench, ether)
        tokens = {"token": bench.token, "OpenZeppelin token": plain}
        for name, token in tokens.items():
            for contract in (erc20, bench.htlc) if token == plain else (erc20,):
                bench.prepare(token, contract)
            gas |= _peer_token(bench, erc20, name, token)
        ours: dict[str, int] = {}
        for kind, lane in (("", 0), ("lane ", 1)):
            ours |= _one_by_one(bench, f"OpenZeppelin token {kind}", plain, lane)
        return {"peer": gas, "ours": ours}


def _peer_native(bench: Bench, contract: str) -> dict[str, int]:
    terms = _terms(bench, COIN, 0, 1)
    lock = (hashlock(1), bench.bob, terms.deadline)
    gas = {
        "native lock": bench.call(bench.alice, contract, "lock(bytes32,address,uint256)", *lock, value=ETHER),
        "native claim": bench.call(
            bench.bob,
            contract,
            "claim(bytes32,uint256,address,uint256)",
            *(preimage(1), ETHER, bench.alice, terms.deadline),
        ),
    }
    # Its time locks are block numbers.
    height = int(bench.chain.rpc("eth_blockNumber"), 16) + 5
    bench.call(
        bench.alice, contract, "lock(bytes32,address,uint256)", hashlock(2), bench.bob, height, value=ETHER
    )
    bench.chain.rpc("anvil_mine", hex(10))
    gas["native refund"] = bench.call(
        bench.alice,
        contract,
        "refund(bytes32,uint256,address,uint256)",
        *(hashlock(2), ETHER, bench.bob, height),
    )
    for index in range(10, 20):
        values = (hashlock(index), bench.bob, terms.deadline)
        bench.call(bench.alice, contract, "lock(bytes32,address,uint256)", *values, value=ETHER)
    indices = range(10, 20)
    data = keccak(b"claimBatch(bytes32[],uint256[],address[],uint256[])")[:4] + encode(
        ["bytes32[]", "uint256[]", "address[]", "uint256[]"],
        [[preimage(i) for i in indices], [ETHER] * 10, [bench.alice] * 10, [terms.deadline] * 10],
    )
    receipt = bench.chain.send(bench.bob, contract, data)
    gas["native claim batch of 10"] = int(receipt["gasUsed"], 16)
    return gas


def _peer_token(bench: Bench, contract: str, name: str, token: str) -> dict[str, int]:
    deadline = _terms(bench, token, 0, 1).deadline
    gas = {
        f"{name} lock": bench.call(
            bench.alice,
            contract,
            "lock(bytes32,uint256,address,address,uint256)",
            *(hashlock(1), ETHER, token, bench.bob, deadline),
        ),
        f"{name} claim": bench.call(
            bench.bob,
            contract,
            "claim(bytes32,uint256,address,address,uint256)",
            *(preimage(1), ETHER, token, bench.alice, deadline),
        ),
    }
    height = int(bench.chain.rpc("eth_blockNumber"), 16) + 5
    lock = (hashlock(2), ETHER, token, bench.bob, height)
    bench.call(bench.alice, contract, "lock(bytes32,uint256,address,address,uint256)", *lock)
    bench.chain.rpc("anvil_mine", hex(10))
    gas[f"{name} refund"] = bench.call(
        bench.alice, contract, "refund(bytes32,uint256,address,address,uint256)", *lock
    )
    return gas


def table(ours: dict[str, int], peer: dict[str, int]) -> list[str]:
    """One line for each operation: ours, the target, the peer."""
    lines = [f"{'gas':40}{'ours':>10}{'target':>10}{'peer':>10}"]
    for name, gas in ours.items():
        target, other = TARGETS.get(name), peer.get(name)
        columns = (f"{number:,}" if number else "" for number in (gas, target, other))
        lines.append(f"{name:40}" + "".join(f"{column:>10}" for column in columns))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="rewrite the committed snapshot")
    parser.add_argument("--no-peer", action="store_true", help="leave out the peer")
    args = parser.parse_args(arguments)
    result: dict[str, Any] = {"ours": measure(), "targets": TARGETS}
    peer: dict[str, int] = {}
    extra: dict[str, int] = {}
    if not args.no_peer:
        both = measure_peer(fetch_peer())
        peer, extra = both["peer"], both["ours"]
        result |= {"peer": {"package": PEER, "gas": peer}, "ours with the peer's test token": extra}
    output = ROOT / "build" / "bench" / "gas.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(table(result["ours"] | extra, peer)))
    if args.update:
        SNAPSHOT.write_text(json.dumps(result["ours"], indent=1) + "\n")
        print(f"wrote {SNAPSHOT.relative_to(ROOT)}")
    missed = {name: result["ours"][name] for name, target in TARGETS.items() if result["ours"][name] > target}
    if missed:
        print(f"above the target: {missed}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
