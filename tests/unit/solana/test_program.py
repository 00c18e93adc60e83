"""The HTLC program in the real virtual machine, both versions, with the features of today and of mainnet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relayers.solana import program
from scripts.build_solana import ARTIFACTS, build
from tests.unit.solana.attacks import ATTACKS, Attack
from tests.unit.solana.bank import NOW, Bank

VARIANTS = [(0, False), (0, True), (3, False), (3, True)]
LIMITS = {
    "SOL": {"lock": 6_500, "claim": 1_200, "refund": 900},
    "SPL": {"lock": 8_000, "claim": 3_600, "refund": 3_400},
}


@pytest.mark.parametrize(("version", "mainnet"), VARIANTS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.__name__)
def test_rule(attack: Attack, version: int, mainnet: bool) -> None:
    attack(Bank(program.program_bytes(version), mainnet=mainnet))


def test_the_committed_programs_are_what_the_source_makes() -> None:
    for name, data in build().items():
        assert (ARTIFACTS / name).read_bytes() == data, f"{name} is stale: run make solana-program"


def spend_units(bank: Bank, mint: bool) -> dict[str, int]:
    """Return the compute units of the program's own instructions, without making token accounts."""
    if mint:
        bank.with_token()
    bank.set_time(NOW)
    terms = bank.terms()
    *accounts, lock = program.lock(bank.program, terms)
    if accounts:
        bank.do(accounts, bank.sender)
    units = {"lock": bank.do([lock], bank.sender).compute_units_consumed()}
    units["claim"] = bank.do(bank.claim(terms)[-1:], bank.thief).compute_units_consumed()
    late = bank.terms(b"another")
    bank.lock(late)
    bank.set_time(late.deadline)
    units["refund"] = bank.do(bank.refund(late)[-1:], bank.thief).compute_units_consumed()
    return units


def test_compute_units_stay_below_the_limits() -> None:
    measured = {}
    for version, mainnet in VARIANTS:
        name = f"v{version}{' mainnet features' if mainnet else ''}"
        measured[name] = {
            kind: spend_units(Bank(program.program_bytes(version), mainnet=mainnet), kind == "SPL")
            for kind in LIMITS
        }
    output = Path("build/bench")
    output.mkdir(parents=True, exist_ok=True)
    (output / "solana_compute_units.json").write_text(json.dumps(measured, indent=2) + "\n")
    for units in measured.values():
        for kind, limits in LIMITS.items():
            for action, limit in limits.items():
                assert units[kind][action] <= limit, (kind, action, units)


def test_events_rebuild_a_lock_and_its_spend() -> None:
    import base64

    bank = Bank(program.program_bytes())
    terms = bank.terms()

    def fields(logs: list[str]) -> list[bytes]:
        (line,) = [line for line in logs if line.startswith("Program data: ")]
        return [base64.b64decode(word) for word in line.removeprefix("Program data: ").split(" ")]

    name, vault, data = fields(bank.lock(terms).logs())
    assert (name, vault, program.read_vault(data)) == (b"lock", bytes(bank.vault(terms)), terms)
    claimed = fields(bank.do(bank.claim(terms), bank.thief).logs())
    assert claimed == [b"claim", vault, b"the preimage of the vault tests."]
    bank.lock(terms)
    bank.set_time(terms.deadline)
    assert fields(bank.do(bank.refund(terms), bank.thief).logs()) == [b"refund", vault]
