"""Machine code for this processor: llvmlite compiles the text form, and loads what was compiled before."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import llvmlite
from llvmlite import binding

from kernels.zqal.backends import llvm_text
from kernels.zqal.bind import Words
from kernels.zqal.core import Routine
from kernels.zqal.legalize import legalize


@functools.cache
def _ready() -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


def processor() -> str:
    """Return what machine code depends on: LLVM's version, the processor and its features."""
    _ready()
    features = binding.get_host_cpu_features().flatten()
    return f"{llvmlite.__version__} {binding.get_default_triple()} {binding.get_host_cpu_name()} {features}"


def _machine() -> Any:
    _ready()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3
    )


def compile_object(text: str) -> bytes:
    """Return the object code of a module in text form."""
    machine = _machine()
    module = binding.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    code: bytes = machine.emit_object(module)
    return code


class Loaded:
    """Object code in memory; the functions live as long as this object."""

    def __init__(self, code: bytes) -> None:
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Return where a function is; 0 when there is none of the name."""
        found: int = self._engine.get_function_address(name)
        return found

    def words(self, name: str, inputs: int, outputs: int, *, lanes: int = 1) -> Words:
        """Return an entry of `llvm_text.entry` as a Python function on words."""
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(self.address(name))
        take, give = ctypes.c_uint64 * (inputs * lanes), ctypes.c_uint64 * (outputs * lanes)

        def call(words: Sequence[int]) -> Sequence[int]:
            result = give()
            function(take(*words), result)
            return list(result)

        return call


def compiled(routine: Routine, *, lanes: int = 1) -> tuple[Loaded, Words]:
    """Compile one routine and return it as a function on words; keep the first as long as the second."""
    legal = legalize(routine)
    loaded = Loaded(compile_object(llvm_text.module([legal], [llvm_text.entry(legal, "entry", lanes=lanes)])))
    inputs = sum(len(parameter.values) for parameter in legal.parameters)
    return loaded, loaded.words("entry", inputs, len(legal.results), lanes=lanes)
