"""The search of a mining kernel in OpenCL C and CUDA C, with the contract of kernels/cosmic_harmony.cl.

Searches nonces start + offset, modulo 2^64, for offset < count (at most 2^31). `target` is four numbers, the
most significant first. `found` gets the lowest offset whose hash meets the target (the host sets it to all
ones before); `best_top` and `best_offset` get, for each work-item, the first of its offsets with the lowest
leading 64 bits, valid for all of the range when nothing was found.
"""

from __future__ import annotations

from kernels.zqal.backends.c_text import Dialect, Printer, prelude
from kernels.zqal.core import Routine

_HEADS = {
    Dialect.OPENCL: """\
__kernel void {name}(__constant ulong *words, ulong start, uint count, ulong4 target,
                   volatile __global uint *found, __global ulong *best_top, __global uint *best_offset)
{{
    const uint item = (uint)get_global_id(0);
    const uint stride = (uint)get_global_size(0);
    const ulong target0 = target.s0, target1 = target.s1, target2 = target.s2, target3 = target.s3;
    ulong lowest = ~(ulong)0;
    uint lowest_offset = item;
    for (uint offset = item; offset < count && offset < *found; offset += stride) {{
""",
    Dialect.CUDA: """\
extern "C" __global__ void {name}(const uint64_t *words, uint64_t start, uint32_t count,
                                  const uint64_t *target, volatile uint32_t *found,
                                  uint64_t *best_top, uint32_t *best_offset)
{{
    const uint32_t item = blockIdx.x * blockDim.x + threadIdx.x;
    const uint32_t stride = gridDim.x * blockDim.x;
    const uint64_t target0 = target[0], target1 = target[1], target2 = target[2], target3 = target[3];
    uint64_t lowest = ~(uint64_t)0;
    uint32_t lowest_offset = item;
    for (uint32_t offset = item; offset < count && offset < *found; offset += stride) {{
""",
}
_MINIMUM = {Dialect.OPENCL: "atomic_min(found, offset)", Dialect.CUDA: "atomicMin((uint32_t *)found, offset)"}


def scan(routine: Routine, name: str, dialect: Dialect) -> str:
    """Return a source file with the search of a legalized kernel (…, nonce) → hash32."""
    printer = Printer(dialect, indent=2)
    u64 = printer.type(64)
    *uniform, nonce = [value for parameter in routine.parameters for value in parameter.values]
    for position, value in enumerate(uniform):
        type_ = printer.type(value.bits)
        printer.line(f"const {type_} v{value.number} = ({type_})words[{position}];")
    printer.line(f"const {u64} v{nonce.number} = start + offset;")
    printer.body(routine.body)
    for position, value in enumerate(routine.results):
        printer.line(f"const {u64} work{position} = swap64({printer.name(value)});")
    printer.line("const int meets = work0 != target0   ? work0 < target0")
    printer.line("                  : work1 != target1 ? work1 < target1")
    printer.line("                  : work2 != target2 ? work2 < target2")
    printer.line("                                     : work3 <= target3;")
    printer.line(f"if (meets)\n            {_MINIMUM[dialect]};")
    printer.line("if (work0 < lowest) {")
    printer.line("    lowest = work0;")
    printer.line("    lowest_offset = offset;")
    printer.line("}")
    tail = "\n    }\n    best_top[item] = lowest;\n    best_offset[item] = lowest_offset;\n}\n"
    head = _HEADS[dialect].format(name=name)
    return prelude(routine, dialect) + head + "\n".join(printer.lines) + tail
