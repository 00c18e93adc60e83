"""What the network takes as a contract (soroban-env-host 27, vm/parsed_module.rs and its wasmi settings).

The real host validates with wasmparser and a reduced set of features; here wasmtime validates, and a walk
over the code refuses what is left: floats, vectors, reference types.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

from stellar_sdk import xdr

from relayers.stellar.devnet.soroban.errors import Code, HostError, Type
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.vm import MAX_TABLE, module_of
from relayers.stellar.devnet.soroban.wasm_reader import WasmModule, read_module

MAX_PARAMETERS = 32


@lru_cache(maxsize=1)
def _host_functions() -> dict[str, dict[str, tuple[int, int, int | None]]]:
    source = resources.files(__package__) / "host_functions.json"
    found: dict[str, dict[str, tuple[int, int, int | None]]] = json.loads(source.read_text())
    return found


def _refuse(text: str) -> HostError:
    return HostError(Type.SCE_WASM_VM, Code.SCEC_INVALID_ACTION, text)


def _environment(module: WasmModule, settings: Settings) -> int:
    """Return the protocol that the contract was written for."""
    content = module.custom.get("contractenvmetav0")
    if content is None:
        raise HostError(Type.SCE_WASM_VM, Code.SCEC_INVALID_INPUT, "no environment metadata")
    try:
        found = xdr.SCEnvMetaEntry.from_xdr_bytes(content).interface_version
    except Exception as error:
        raise HostError(Type.SCE_CONTEXT, Code.SCEC_EXCEEDED_LIMIT, "broken environment metadata") from error
    assert found is not None  # noqa: S101 - the only kind
    if found.protocol.uint32 > settings.protocol or found.pre_release.uint32:
        raise HostError(Type.SCE_WASM_VM, Code.SCEC_INVALID_INPUT, "for a newer protocol or a pre-release")
    return found.protocol.uint32


def check_wasm(code: bytes, settings: Settings) -> xdr.ContractCodeCostInputs:
    """Refuse what the network would, and return what its cost depends on. Raises `HostError`."""
    if len(code) > settings.max_wasm_bytes:
        raise HostError(Type.SCE_BUDGET, Code.SCEC_EXCEEDED_LIMIT, "the wasm is too large")
    module_of(code)
    module = read_module(code)
    protocol = _environment(module, settings)
    if module.has_start:
        raise _refuse("a start function")
    if module.memory_pages * 65_536 > settings.tx_memory_bytes:
        raise HostError(Type.SCE_BUDGET, Code.SCEC_EXCEEDED_LIMIT, "too much memory")
    if module.table_elements > MAX_TABLE:
        raise HostError(Type.SCE_BUDGET, Code.SCEC_EXCEEDED_LIMIT, "too large a table")
    if module.forbidden is not None:
        raise _refuse(f"instruction {module.forbidden:#x} is not allowed")
    known = _host_functions()
    for each in module.imports:
        function = known.get(each.module, {}).get(each.name)
        if function is None or not each.is_function:
            raise _refuse(f"unknown import {each.module}.{each.name}")
        count, first, last = function
        if each.parameters != "i" * count or each.results != "i":
            raise _refuse(f"import {each.module}.{each.name} has another type")
        if max(protocol, first) != protocol or (last is not None and protocol > last):
            raise _refuse(f"import {each.module}.{each.name} is not of protocol {protocol}")
    if any(len(each) > MAX_PARAMETERS for each in module.exported_parameters):
        raise HostError(Type.SCE_WASM_VM, Code.SCEC_INVALID_INPUT, "more than 32 parameters")
    return module.costs()
