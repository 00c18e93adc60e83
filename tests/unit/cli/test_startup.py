"""What commands import: a user's own command must not wait for the server's libraries or the chains'."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.unit.cli import canned

DEAR = frozenset(
    {
        "sqlalchemy",
        "sqlmodel",
        "alembic",
        "fastapi",
        "starlette",
        "uvicorn",
        "apscheduler",
        "prometheus_client",
        "httpx",
        "aiohttp",
        "web3",
        "eth_account",
        "eth_keyfile",
        "eth_keys",
        "py_ecc",
        "solana",
        "solders",
        "pycardano",
        "blockfrost",
        "stellar_sdk",
        "numba",
        "llvmlite",
        "numpy",
        "lmdb",
        "coincurve",
        "cryptography",
        "Crypto",
    }
)
"""Libraries that take a noticeable part of a second. (typer brings pydantic to every command.)"""
OF_THE_CONFIGURATION = frozenset({"structlog", "pydantic_settings"})
"""Needed as soon as a configuration is read, and not by what only talks to a bridge."""

CHILD = """
import json, sys
from bridge import cli
sys.argv = ["rainbow", *json.loads(sys.argv[1])]
code = 0
try:
    cli.main()
except SystemExit as stop:
    code = stop.code or 0
sys.stderr.write("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def loaded_by(*arguments: str) -> tuple[int, frozenset[str]]:
    """Run a command in a child; returns its exit code and the packages it imported."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(arguments)], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(child.stderr.splitlines()[-1])
    return int(code), frozenset(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ("quote", "red:RED", "blue:BLU", "1"),
        ("quote", "red:RED", "blue:BLU", "1", "--json"),
        ("pairs",),
        ("swap", "status", canned.SWAP_ID),
    ],
    ids=" ".join,
)
def test_what_only_asks_the_bridge_imports_no_server_and_no_chain(arguments: tuple[str, ...]) -> None:
    with canned.bridge(canned.ALL_ANSWERS) as url:
        code, modules = loaded_by(*arguments, "--api", url)
    assert code == 0
    assert modules & (DEAR | OF_THE_CONFIGURATION | {"nacl", "relayers", "chain"}) == frozenset()


def test_an_unreachable_bridge_is_told_without_importing_more() -> None:
    code, modules = loaded_by("quote", "red:RED", "blue:BLU", "1", "--api", "http://127.0.0.1:1")
    assert code == 4
    assert modules & (DEAR | OF_THE_CONFIGURATION | {"nacl", "relayers", "chain"}) == frozenset()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("swap", "--help"),
        ("swap", "list", "--recovery-dir", "/nowhere"),
        ("init", "--help"),
        ("check", "--help"),
        ("relayer", "--help"),
        ("devnet", "--help"),
        ("up", "--help"),
        ("db", "--help"),
    ],
    ids=" ".join,
)
def test_help_and_lists_import_no_server_and_no_chain(arguments: tuple[str, ...]) -> None:
    code, modules = loaded_by(*arguments)
    assert code == 0
    assert modules & DEAR == frozenset()
