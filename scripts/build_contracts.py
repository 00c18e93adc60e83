"""Compile contracts/ethereum/ into relayers/evm/artifacts/, which the package ships.

`python scripts/build_contracts.py` writes, `--check` only compares (the default tests do the same).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not as a module

from scripts.solidity import CONTRACTS, ROOT, SETTINGS, VERSION, compile_sources

ARTIFACTS = ROOT / "relayers" / "evm" / "artifacts"
SOURCE = "RainbowHtlc.sol"
CONTRACT = "RainbowHtlc"


def build() -> dict[str, Any]:
    """The artifact of the HTLC: ABI, creation code, runtime code and hash, and how it was compiled."""
    text = (CONTRACTS / SOURCE).read_text()
    output = compile_sources({SOURCE: text})[SOURCE][CONTRACT]
    runtime = bytes.fromhex(output["evm"]["deployedBytecode"]["object"])
    return {
        "contract": CONTRACT,
        "source": SOURCE,
        "source_keccak": "0x" + keccak(text.encode()).hex(),
        "compiler": {"name": "solc", "version": VERSION, "settings": SETTINGS},
        "abi": output["abi"],
        "creation_code": "0x" + output["evm"]["bytecode"]["object"],
        "runtime_code": "0x" + runtime.hex(),
        "runtime_keccak": "0x" + keccak(runtime).hex(),
        "metadata": output["metadata"],
    }


def render(artifact: dict[str, Any]) -> str:
    """The artifact as it is committed."""
    return json.dumps(artifact, indent=1) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed artifacts only")
    args = parser.parse_args()
    path = ARTIFACTS / f"{CONTRACT}.json"
    text = render(build())
    if args.check:
        if not path.exists() or path.read_text() != text:
            print(f"{path.relative_to(ROOT)} is not what the source compiles to: run `make contracts`")
            return 1
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
