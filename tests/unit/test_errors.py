"""Every error of ours has one base, and its exit code is one that commands document."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from bridge.chains.errors import PortUnavailableError
from bridge.client.errors import BridgeUnreachableError, UnsafeError
from bridge.commands.output import Exit
from bridge.config.errors import ConfigError
from bridge.keys.keystore import KeystoreError
from bridge.store import StoreError
from kernels.errors import RainbowError

ROOT = Path(__file__).parents[2]
BUILTIN = {"BaseException", "Exception", "ValueError", "RuntimeError", "TypeError", "OSError", "KeyError"}


def classes() -> Iterator[tuple[str, str, list[str]]]:
    for package in ("bridge", "relayers", "chain", "kernels"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                    yield str(file.relative_to(ROOT)), node.name, bases


def test_every_exception_of_ours_derives_from_the_one_base_and_is_named_an_error() -> None:
    ours = {"RainbowError"}
    found = list(classes())
    while more := {name for _, name, bases in found if ours & set(bases)} - ours:
        ours |= more
    assert len(ours) > 50
    strangers = [
        f"{file}: {name}" for file, name, bases in found if BUILTIN & set(bases) and name not in ours
    ]
    assert strangers == []
    assert [name for name in sorted(ours) if not name.endswith("Error")] == []


def test_the_base_is_defined_once() -> None:
    assert [file for file, name, _ in classes() if name == "RainbowError"] == ["kernels/errors.py"]


def test_exit_codes_are_those_that_the_command_line_documents() -> None:
    assert {
        error: error.exit_code
        for error in (
            RainbowError,
            StoreError,
            ConfigError,
            KeystoreError,
            PortUnavailableError,
            BridgeUnreachableError,
            UnsafeError,
        )
    } == {
        RainbowError: Exit.FAILED,
        StoreError: Exit.FAILED,
        ConfigError: Exit.CONFIG,
        KeystoreError: Exit.CONFIG,
        PortUnavailableError: Exit.UNREACHABLE,
        BridgeUnreachableError: Exit.UNREACHABLE,
        UnsafeError: Exit.UNSAFE,
    }
