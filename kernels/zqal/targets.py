"""What a function can be built into."""

from __future__ import annotations

from enum import StrEnum

from kernels.errors import KernelInputError
from kernels.zqal import typed
from kernels.zqal.backends import c_text, gpu_text, llvm_text
from kernels.zqal.backends.c_text import Dialect
from kernels.zqal.legalize import legalize
from kernels.zqal.stage import stage
from kernels.zqal.types import Bytes, UInt


class Target(StrEnum):
    """A form that `rainbow zqal build` writes."""

    C = "c"
    LLVM = "llvm"
    OPENCL = "opencl"
    CUDA = "cuda"


def build(function: typed.Function, target: Target) -> str:
    """Return a function as source text for a target.

    For graphics cards it is the search for a nonce, so the function must be a mining kernel:
    KernelInputError otherwise.
    """
    routine = legalize(stage(function))
    match target:
        case Target.C:
            return c_text.c_source(routine, function.name)
        case Target.LLVM:
            return llvm_text.module([routine], [llvm_text.entry(routine, function.name)])
        case Target.OPENCL | Target.CUDA:
            must_be_mining(function)
            return gpu_text.scan(routine, f"scan_{function.name}", Dialect(target))


def must_be_mining(function: typed.Function) -> None:
    """Raise KernelInputError unless a function is (entangled values …, nonce: u64) → hash32."""
    *others, last = function.parameters
    fits = (
        all(slot.uniform and not by_reference for slot, by_reference in others)
        and last[0].type == UInt(64)
        and not last[0].uniform
        and function.result == Bytes(32)
    )
    if not fits:
        raise KernelInputError(
            f"{function.name} is not a mining kernel",
            hint="a search needs fn name(header: entangled<bytes80>, nonce: u64) -> hash32",
        )
