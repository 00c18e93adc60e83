"""`rainbow zqal`: what it prints, and with which exit code it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.commands.zqal import app
from tests.unit.zqal.programs import ALGORITHM, vectors

REFUSED = Path(__file__).parents[1] / "zqal" / "refused" / "recursion.zqal"


def run(*arguments: str) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_a_sound_program() -> None:
    code, out, _ = run("check", str(ALGORITHM))
    assert (code, out.startswith("CosmicHarmony: no faults")) == (0, True)


def test_a_refused_program_is_shown_with_its_fault() -> None:
    code, out, err = run("check", str(REFUSED))
    assert code == 1
    assert out == ""
    assert err == REFUSED.with_suffix(".txt").read_text()
    code, out, _ = run("check", str(REFUSED), "--json")
    assert code == 1
    assert json.loads(out)["faults"][0]["line"] == 2


def test_tests_in_a_file(tmp_path: Path) -> None:
    code, out, _ = run("test", str(ALGORITHM))
    assert code == 0
    assert "the published vector" in out
    failing = tmp_path / "failing.zqal"
    failing.write_text('test "no" { assert 1 + 1 == 3 }\n')
    code, out, _ = run("test", str(failing))
    assert code == 1
    assert "the sides are 2 (0x2) and 3 (0x3)" in out


@pytest.mark.parametrize("how", [(), ("--compiled",)])
def test_running_a_function(how: tuple[str, ...]) -> None:
    header, nonce, work = vectors()[0]
    code, out, _ = run("run", str(ALGORITHM), "mine", header.hex(), hex(nonce), *how, "--json")
    assert code == 0
    assert json.loads(out)["result"] == f"0x{work.hex()}"
    code, out, _ = run("run", str(ALGORITHM), "consciousness_multiplier", "Monadic", *how)
    assert (code, out) == (0, "2000\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "nothing"),
        ("run", "mine", "00", "1"),
        ("run", "mine", "xy", "1"),
        ("run", "validate", "00" * 32),
        ("build", "--to", "cobol"),
        ("build", "--to", "c", "--function", "nothing"),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    code, _, err = run(arguments[0], str(ALGORITHM), *arguments[1:])
    assert code == 2
    assert "hint:" in err


def test_building_writes_a_file(tmp_path: Path) -> None:
    out = tmp_path / "mine.cl"
    code, _, _ = run("build", str(ALGORITHM), "--to", "opencl", "--out", str(out))
    assert code == 0
    assert "__kernel void scan_mine(" in out.read_text()


def test_the_list_of_functions_keeps_its_brackets() -> None:
    code, out, _ = run("doc", str(ALGORITHM))
    assert code == 0
    assert "@kernel fn quantum_mix(state: &mut [u32; 12], round: u32)" in out
