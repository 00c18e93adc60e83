"""Compile contracts/cardano/htlc.py into its CIP-57 blueprint, contracts/cardano/plutus.json, and put a copy
where the relayers package ships it.

Runs in opshin's own environment (.venv-opshin): `make cardano-validator`. With `--check` it only compares,
and exits with 1 if the committed blueprint is not what the source compiles to.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pycardano
from opshin import __version__ as opshin_version
from opshin import builder
from opshin.compiler_config import DEFAULT_CONFIG, OPT_O3_CONFIG

CONTRACT = Path(__file__).resolve().parent.parent / "contracts" / "cardano"
SOURCE = CONTRACT / "htlc.py"
BLUEPRINTS = (
    CONTRACT / "plutus.json",
    CONTRACT.parent.parent / "relayers" / "cardano" / "plutus.json",
)


def field(title: str, kind: str) -> dict[str, str]:
    return {"title": title, "dataType": kind}


def constructor(title: str, index: int, *fields: dict[str, str]) -> dict[str, Any]:
    return {"title": title, "dataType": "constructor", "index": index, "fields": list(fields)}


DATUM = constructor(
    "Htlc",
    0,
    field("sender", "bytes"),
    field("recipient", "bytes"),
    field("hashlock", "bytes"),
    field("deadline", "integer"),
)
REDEEMER = {
    "title": "Redeemer",
    "anyOf": [
        constructor("Claim", 0, field("preimage", "bytes")),
        constructor("Refund", 1),
        constructor("GiveBack", 2),
    ],
}


def build() -> dict[str, Any]:
    """Return the blueprint of the validator."""
    script = builder.build(SOURCE, config=DEFAULT_CONFIG.update(OPT_O3_CONFIG))
    return {
        "$schema": "https://cips.cardano.org/cips/cip57/schemas/plutus-blueprint.json",
        "preamble": {
            "title": "rainbow-bridge/htlc",
            "description": "A hash-time-locked contract for ada and native tokens",
            "version": "1.0.0",
            "plutusVersion": "v3",
            "compiler": {"name": "opshin", "version": opshin_version},
            "license": "Apache-2.0",
        },
        "validators": [
            {
                "title": "htlc.spend",
                "datum": {"title": "Htlc", "purpose": "spend", "schema": {"$ref": "#/definitions/Htlc"}},
                "redeemer": {
                    "title": "Redeemer",
                    "purpose": "spend",
                    "schema": {"$ref": "#/definitions/Redeemer"},
                },
                "compiledCode": script.hex(),
                "hash": pycardano.plutus_script_hash(script).payload.hex(),
            }
        ],
        "definitions": {"Htlc": DATUM, "Redeemer": REDEEMER},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed blueprint only")
    args = parser.parse_args()
    text = json.dumps(build(), indent=2) + "\n"
    if args.check:
        same = all(path.exists() and path.read_text() == text for path in BLUEPRINTS)
        print("plutus.json is what the source compiles to" if same else "plutus.json is not: rebuild it")
        return 0 if same else 1
    for path in BLUEPRINTS:
        path.write_text(text)
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
