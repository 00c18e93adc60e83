"""Compile contracts/ethereum/DemoToken.sol, the devnets' ERC-20, into relayers/evm/devnet/demo_token.json."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.solidity import CONTRACTS, ROOT, VERSION, compile_sources

ARTIFACT = ROOT / "relayers" / "evm" / "devnet" / "demo_token.json"
SOURCE = "DemoToken.sol"


def build() -> dict[str, Any]:
    """The artifact: source, compiler, ABI and creation code."""
    output = compile_sources({SOURCE: (CONTRACTS / SOURCE).read_text()})[SOURCE]["DemoToken"]
    return {
        "source": SOURCE,
        "compiler": f"solc {VERSION}",
        "abi": output["abi"],
        "creation_code": "0x" + output["evm"]["bytecode"]["object"],
    }


if __name__ == "__main__":
    ARTIFACT.write_text(json.dumps(build(), indent=1) + "\n")
    print(f"wrote {ARTIFACT.relative_to(ROOT)}")
