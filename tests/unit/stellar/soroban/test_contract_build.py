"""The committed contract: what it is built from, what it imports, what tools read in it."""

from __future__ import annotations

from stellar_sdk import xdr

from relayers.stellar.devnet.soroban.wasm_reader import read_module
from scripts.build_soroban import ARTIFACT, build
from scripts.soroban_sections import ENVIRONMENT, ERRORS, FUNCTIONS

UPGRADE_IMPORTS = {"6"}
"""`update_current_contract_wasm` (soroban-env-common, env.json, module l)."""


def test_the_committed_contract_is_what_the_source_makes() -> None:
    assert build() == ARTIFACT.read_bytes()


def test_it_imports_no_way_to_change_itself_or_to_make_contracts() -> None:
    module = read_module(ARTIFACT.read_bytes())
    ledger = {each.name for each in module.imports if each.module == "l"}
    assert not ledger & UPGRADE_IMPORTS
    assert ledger == {"_", "0", "1", "2", "7"}
    assert {each.module for each in module.imports} == {"a", "b", "c", "d", "i", "l", "v", "x"}
    assert not module.has_start


def test_tools_read_its_functions_errors_and_environment() -> None:
    custom = read_module(ARTIFACT.read_bytes()).custom
    unpacker = xdr.SCEnvMetaEntry.from_xdr_bytes(custom["contractenvmetav0"])
    assert unpacker.interface_version is not None
    assert unpacker.interface_version.protocol.uint32 == ENVIRONMENT
    found = custom["contractspecv0"]
    for name, _, _ in FUNCTIONS:
        assert name.encode() in found
    for name in ERRORS:
        assert name.encode() in found
    assert b"rainbow-htlc" in custom["contractmetav0"]
