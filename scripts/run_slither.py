"""Static analysis of the Ethereum HTLC with Slither: `make slither`.

Every finding must be answered in contracts/ethereum/slither.toml (detector and function → why it is right);
an unanswered finding, or an answer to nothing, fails the run.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not as a module

from scripts.solidity import CONTRACTS, ROOT, SETTINGS, install_solc

ANSWERS = CONTRACTS / "slither.toml"
OUTPUT = ["abi", "metadata", "devdoc", "userdoc", "evm.methodIdentifiers"]
OUTPUT += [
    f"evm.{code}.{part}" for code in ("bytecode", "deployedBytecode") for part in ("object", "sourceMap")
]


def findings() -> list[tuple[str, str, str]]:
    """(detector, function or contract, description) of each finding."""
    folder = ROOT / "build" / "slither"
    folder.mkdir(parents=True, exist_ok=True)
    source = {"RainbowHtlc.sol": {"content": (CONTRACTS / "RainbowHtlc.sol").read_text()}}
    (folder / "RainbowHtlc.sol").write_text(source["RainbowHtlc.sol"]["content"])
    settings = SETTINGS | {"outputSelection": {"*": {"*": OUTPUT, "": ["ast"]}}}
    request = {"language": "Solidity", "sources": source, "settings": settings}
    (folder / "input.json").write_text(json.dumps(request))
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(ROOT / ".venv-slither" / "bin" / "slither", "input.json"),
            *("--compile-force-framework", "solc-json", "--solc", install_solc()),
            *("--json", report),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists() or not json.loads(report.read_text())["success"]:
        raise RuntimeError(f"Slither did not run:\n{done.stdout}\n{done.stderr}")
    found = []
    for finding in json.loads(report.read_text())["results"].get("detectors", []):
        elements = [
            item for item in finding["elements"] if item["type"] in ("function", "contract", "variable")
        ]
        names = [item["name"] for item in elements] or [item["name"] for item in finding["elements"]]
        found.append((finding["check"], names[0] if names else "", finding["description"].strip()))
    return found


def main() -> int:
    answers = tomllib.loads(ANSWERS.read_text())
    unanswered, used = [], set()
    for detector, where, description in findings():
        answered = [name for name in (where, "*") if name in answers.get(detector, {})]
        if answered:
            used.add((detector, answered[0]))
        else:
            unanswered.append(f"{detector} in {where}:\n{description}")
    stale = [f"{d}.{w}" for d, group in answers.items() for w in group if (d, w) not in used]
    for text in unanswered:
        print(text, end="\n\n")
    for name in stale:
        print(f"answered but not found: {name}")
    print(f"Slither: {len(used)} kinds of findings answered, {len(unanswered)} not")
    return 1 if unanswered or stale else 0


if __name__ == "__main__":
    sys.exit(main())
