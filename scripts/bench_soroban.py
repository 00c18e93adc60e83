"""What calls of the Soroban contract cost: `python -m scripts.bench_soroban`.

Instructions, bytes and rent are what the real host was recorded to use (tests/vectors/soroban_*.jsonl), fees
follow from them by the public network's settings (relayers/stellar/devnet/soroban/settings.py), without the
inclusion fee (100 stroops or more). A transaction's size is worked out from its parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stellar_sdk import xdr

from relayers.stellar.devnet.soroban.fees import RentChange, events_fee, rent_fee, resource_fee
from relayers.stellar.devnet.soroban.ledger_xdr import is_contract_key, is_temporary
from relayers.stellar.devnet.soroban.settings import Settings

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors"
ENVELOPE_BYTES = 200
"""An envelope with one signature, without operation and Soroban data."""
NOTES = (
    "lock", "lock by the source", "claim", "claim_for", "refund", "refund_coop", "refund_coop by the source",
    "claim of an issued asset", "refund of an issued asset", "claim by a smart account",
    "claim with everything archived", "upload", "create",
)  # fmt: skip


def _rent(changes: list[dict[str, Any]]) -> Iterator[RentChange]:
    for change in changes:
        key = xdr.LedgerKey.from_xdr(change["key"])
        (old_live, new_live), (old_size, new_size) = change["live"], change["rent_size"]
        if change["new"] is None and not change["read_only"]:
            continue
        size = new_size or old_size
        if new_live > old_live or size > old_size:
            yield RentChange(
                not is_temporary(key), key.contract_code is not None, old_size, size, old_live, new_live
            )


def cost(simulated: dict[str, Any], enforced: dict[str, Any]) -> dict[str, Any]:
    """Return what one call used and what that costs, in stroops."""
    settings, said = Settings(), enforced["said"]
    resources = xdr.SorobanResources.from_xdr(simulated["said"]["resources"])
    footprint = resources.footprint
    disk = [each for each in [*footprint.read_only, *footprint.read_write] if not is_contract_key(each)]
    parts = [enforced["function"], enforced["resources"], *enforced["auth"]]
    size = ENVELOPE_BYTES + sum(len(each) * 3 // 4 for each in parts)
    events = sum(len(each) * 3 // 4 for each in [said["value"], *said["events"]])
    instructions = simulated["said"]["instructions"]
    fixed = resource_fee(
        settings,
        instructions=instructions,
        disk_read_entries=len(disk) + len(enforced["archived"]),
        write_entries=len(footprint.read_write),
        disk_read_bytes=resources.disk_read_bytes.uint32,
        write_bytes=resources.write_bytes.uint32,
        size=size,
    )
    rent = rent_fee(settings, _rent(said["changes"]), enforced["sequence"])
    return {
        "instructions": instructions,
        "entries": len(footprint.read_only) + len(footprint.read_write),
        "read": resources.disk_read_bytes.uint32,
        "write": resources.write_bytes.uint32,
        "size": size,
        "fixed": fixed + events_fee(settings, events),
        "rent": rent,
    }


def costs() -> dict[str, dict[str, Any]]:
    """Return the cost of the last success of each kind of call."""
    found: dict[str, dict[str, Any]] = {}
    for recording in sorted(VECTORS.glob("soroban_*.jsonl")):
        simulated: dict[str, dict[str, Any]] = {}
        for line in recording.read_text().splitlines():
            step = json.loads(line)
            if step["op"] not in ("record", "enforce") or "error" in step["said"]:
                continue
            if step["op"] == "record":
                simulated[step["function"]] = step
            elif step["function"] in simulated and not (
                recording.stem.endswith("assets") and step["note"] == "lock"
            ):
                found[step["note"]] = cost(simulated[step["function"]], step)
    return found


def main() -> None:
    """Print the table."""
    print("| call | instructions | entries | bytes read | bytes written | size | resources | rent | XLM |")
    print("|---|---|---|---|---|---|---|---|---|")
    found = costs()
    for note in NOTES:
        if note not in found:
            continue
        each = found[note]
        total = (each["fixed"] + each["rent"]) / 1e7
        numbers = ("instructions", "entries", "read", "write", "size", "fixed", "rent")
        print(f"| {note} | " + " | ".join(f"{each[name]:,}" for name in numbers) + f" | {total:.4f} |")


if __name__ == "__main__":
    main()
