"""The locks: whole, without addresses, in step with what they were made from, and with wheels everywhere."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.check_locks import LOCKS, NAMES, Check, LockCheckError, entries, missing

ROOT = Path(__file__).parents[2]
TOOLCHAIN = ROOT / "scripts" / "toolchain"


def locked(name: str) -> dict[str, list[str]]:
    """Package → the versions that a lock has of it (several where markers fork it)."""
    found: dict[str, list[str]] = {}
    for package, text in entries((LOCKS / f"{name}.txt").read_text()).items():
        pins = [line.split("==")[1].split()[0] for line in text.splitlines() if "==" in line.split(";")[0]]
        found[package] = pins
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_pins_and_hashes_everything_and_names_no_address(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    for package, entry in entries(text).items():
        assert "--hash=sha256:" in entry, package
        assert locked(name)[package], package


def test_the_project_lock_has_every_dependency_in_a_version_that_was_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = list(project["project"]["dependencies"])
    for group in project["project"]["optional-dependencies"].values():
        asked += group
    asked += [entry for entry in project["dependency-groups"]["dev"] if isinstance(entry, str)]
    versions = locked("project")
    for text in asked:
        requirement = Requirement(text)
        pins = versions.get(canonicalize_name(requirement.name), [])
        assert pins, text
        assert all(requirement.specifier.contains(pin, prereleases=True) for pin in pins), (text, pins)


@pytest.mark.parametrize("name", ["ape", "build", "opshin", "slither", "uv"])
def test_the_other_locks_have_what_their_inputs_ask_for(name: str) -> None:
    versions = locked(name)
    for line in (LOCKS / f"{name}.in").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert all(map(requirement.specifier.contains, versions[canonicalize_name(requirement.name)])), (
                line
            )


def test_npm_brings_anvil_for_every_supported_platform_and_names_no_address() -> None:
    packages: dict[str, Any] = json.loads((TOOLCHAIN / "package-lock.json").read_text())["packages"]
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert [name for name, entry in packages.items() if name and "integrity" not in entry] == []
    anvils = {(entry["os"][0], entry["cpu"][0]) for name, entry in packages.items() if "/anvil-" in name}
    assert anvils == {("linux", "x64"), ("linux", "arm64"), ("darwin", "arm64")}


Answer = Callable[[str], str]


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Put a function in uv's place: from the requirements that uv would read to what it would complain of."""

    def replace(answer: Answer) -> None:
        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            source = next(part for part in command if part.endswith("lock.txt"))
            complaint = answer(Path(source).read_text())
            return subprocess.CompletedProcess(command, int(bool(complaint)), "", complaint)

        monkeypatch.setattr("scripts.check_locks.subprocess.run", run)

    return replace


def test_every_package_without_a_wheel_is_found(uv: Callable[[Answer], None]) -> None:
    def refuse(text: str) -> str:
        for name, marker in (("numba", ""), ("uvloop", "{sys_platform != 'win32'}")):
            if f"\n{name}==" in text:
                return f"error: No solution\n  cause: Because {name}{marker}==1.0 has no usable wheels and"
        return ""

    uv(refuse)
    assert missing(Check("project", "3.13", "aarch64-apple-darwin")) == ["numba", "uvloop"]


def test_a_complaint_about_something_else_is_an_error_and_no_missing_wheel(
    uv: Callable[[Answer], None],
) -> None:
    uv(lambda _: "error: dns error: failed to lookup address information")
    with pytest.raises(LockCheckError, match="dns error"):
        missing(Check("uv", "3.11", "x86_64-manylinux_2_28"))
