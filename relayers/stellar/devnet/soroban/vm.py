"""Runs a contract's wasm in wasmtime, with the host's functions as its imports."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import wasmtime

from relayers.stellar.devnet.entries import UnsupportedFeatureError
from relayers.stellar.devnet.soroban.errors import Code, HostError, Type
from relayers.stellar.devnet.soroban.functions import FUNCTIONS, HostFunction
from relayers.stellar.devnet.soroban.values import WORD, Handles

if TYPE_CHECKING:
    from relayers.stellar.devnet.soroban.host import Host

_OFF = ("simd", "relaxed_simd", "threads", "multi_value", "multi_memory", "memory64", "tail_call",
        "function_references", "gc", "wide_arithmetic", "exceptions")  # fmt: skip
FUEL = 100_000_000
"""Wasm instructions that one call may run, at the network's price within its limit of a transaction."""
MAX_TABLE = 1_000


@lru_cache(maxsize=1)
def _engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.consume_fuel = True
    for feature in _OFF:
        if hasattr(type(config), f"wasm_{feature}"):
            setattr(config, f"wasm_{feature}", False)
    return wasmtime.Engine(config)


@lru_cache(maxsize=32)
def module_of(code: bytes) -> wasmtime.Module:
    """Return the compiled module. Raises `HostError` if it is not valid wasm."""
    try:
        return wasmtime.Module(_engine(), code)
    except wasmtime.WasmtimeError as error:
        raise HostError(Type.SCE_WASM_VM, Code.SCEC_INVALID_ACTION, str(error)) from None


class Instance:
    """One call's instance of a contract: its memory and the objects that it was shown."""

    def __init__(self, host: Host, code: bytes, memory_limit: int) -> None:
        self._host = host
        self.handles = Handles()
        module = module_of(code)
        self._store = wasmtime.Store(_engine())
        self._store.set_fuel(FUEL)
        self._store.set_limits(memory_size=memory_limit, table_elements=MAX_TABLE, instances=1, memories=1)
        linker = wasmtime.Linker(_engine())
        for each in module.imports:
            name = each.name or ""
            function = FUNCTIONS.get((each.module, name))
            if function is None:
                raise UnsupportedFeatureError(f"host function {each.module}.{name} is not emulated")
            kind = wasmtime.FuncType(
                [wasmtime.ValType.i64()] * len(function.arguments), [wasmtime.ValType.i64()]
            )
            linker.define_func(each.module, name, kind, _binding(host, self, function))
        self._instance = linker.instantiate(self._store, module)

    def call(self, name: str, arguments: list[int]) -> int:
        """Call an exported function with absolute words and return its result as one."""
        function = self._instance.exports(self._store).get(name)
        if not isinstance(function, wasmtime.Func):
            raise HostError(Type.SCE_WASM_VM, Code.SCEC_MISSING_VALUE, f"no function {name}")
        if len(function.type(self._store).params) != len(arguments):
            raise HostError(
                Type.SCE_WASM_VM, Code.SCEC_UNEXPECTED_SIZE, f"wrong number of arguments for {name}"
            )
        words = [_signed(self.handles.to_relative(each)) for each in arguments]
        try:
            result = function(self._store, *words)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as trap:
            if self._store.get_fuel() == 0:
                raise HostError(Type.SCE_BUDGET, Code.SCEC_EXCEEDED_LIMIT, "out of instructions") from None
            raise HostError(Type.SCE_WASM_VM, Code.SCEC_INVALID_ACTION, str(trap)) from None
        finally:
            self._host.budget.charge("wasm", FUEL - self._store.get_fuel())
        return self.handles.to_absolute(result)

    # Memory

    def _memory(self) -> wasmtime.Memory:
        memory = self._instance.exports(self._store).get("memory")
        if not isinstance(memory, wasmtime.Memory):
            raise HostError(Type.SCE_WASM_VM, Code.SCEC_MISSING_VALUE, "the contract exports no memory")
        return memory

    def _check(self, memory: wasmtime.Memory, position: int, length: int) -> None:
        if position + length > memory.data_len(self._store):
            raise HostError(Type.SCE_WASM_VM, Code.SCEC_INDEX_BOUNDS, "outside of the memory")

    def read(self, position: int, length: int) -> bytes:
        """Read linear memory."""
        memory = self._memory()
        self._check(memory, position, length)
        return bytes(memory.read(self._store, position, position + length))

    def write(self, position: int, data: bytes) -> None:
        """Write linear memory."""
        memory = self._memory()
        self._check(memory, position, len(data))
        memory.write(self._store, data, position)


def _signed(word: int) -> int:
    return word - 2**64 if word >> 63 else word


def _binding(host: Host, instance: Instance, function: HostFunction):  # type: ignore[no-untyped-def]
    """Wrap a host function: values become absolute on the way in and relative on the way out."""
    handles = instance.handles

    def run(*given: int) -> int:
        host.budget.charge("host_function")
        words = [
            word & WORD if kind == "r" else handles.to_absolute(word)
            for word, kind in zip(given, function.arguments, strict=True)
        ]
        result = function.run(host, instance, *words)
        return _signed((handles.to_relative(result) if function.result == "v" else result) & WORD)

    return run
