"""A test that takes its process with it fails the run, instead of letting it wait without end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
DIES = """
import os
import pytest

@pytest.mark.parametrize("number", range(4))
def test_one_of_four_aborts(number):
    if number == 1:
        os.abort()
"""
LIVES = """
import pytest

@pytest.mark.parametrize("number", range(20))
def test_all_pass(number):
    pass
"""


def test_a_dead_worker_ends_the_run_with_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_dies.py").write_text(DIES)
    for number in range(4):
        (tmp_path / f"test_lives{number}.py").write_text(LIVES)
    command = [sys.executable, "-m", "pytest", "-c", str(PROJECT), "--rootdir", str(tmp_path)]
    command += ["-n", "2", "--dist", "loadfile", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "crashed while running" in result.stdout
