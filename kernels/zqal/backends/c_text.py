"""C, OpenCL C and CUDA C from legalized core: one printer, three dialects.

Nothing that C leaves undefined is printed: small types are widened before arithmetic, shifts by the width or
more and divisions by zero are selected away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kernels.zqal.core import Item, Loop, Routine, Value
from kernels.zqal.semantics import mask

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "div": "/", "rem": "%"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<="}


class Dialect(StrEnum):
    """The language that is printed."""

    C = "c"
    OPENCL = "opencl"
    CUDA = "cuda"


@dataclass(frozen=True)
class _Words:
    types: dict[int, str]
    suffix: str
    table: str
    function: str
    head: str


_STANDARD = {1: "uint8_t", 8: "uint8_t", 16: "uint16_t", 32: "uint32_t", 64: "uint64_t"}
_DIALECTS = {
    Dialect.C: _Words(_STANDARD, "ULL", "static const", "static inline", "#include <stdint.h>\n"),
    Dialect.OPENCL: _Words(
        {1: "uchar", 8: "uchar", 16: "ushort", 32: "uint", 64: "ulong"},
        "UL",
        "__constant",
        "static inline",
        "",
    ),
    Dialect.CUDA: _Words(
        _STANDARD,
        "ULL",
        "__constant__",
        "__device__ static inline",
        "typedef unsigned char uint8_t;\ntypedef unsigned short uint16_t;\n"
        "typedef unsigned int uint32_t;\ntypedef unsigned long long uint64_t;\n",
    ),
}


class Printer:
    """Prints the body of one function."""

    def __init__(self, dialect: Dialect, indent: int = 1) -> None:
        self._words = _DIALECTS[dialect]
        self._indent = indent
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Append a line at the present depth."""
        self.lines.append("    " * self._indent + text)

    def type(self, bits: int) -> str:
        """Return the type that holds so many bits."""
        return self._words.types[bits]

    def number(self, number: int, bits: int) -> str:
        """Return a constant."""
        return f"{number:#x}{self._words.suffix if bits == 64 else 'u'}"

    def name(self, value: Value) -> str:
        """Return a value as an operand."""
        return self.number(value.constant, value.bits) if value.is_constant else f"v{value.number}"

    def body(self, items: Sequence[Item]) -> None:
        """Print operations and loops."""
        for item in items:
            if isinstance(item, Loop):
                self._loop(item)
            else:
                self.line(f"const {self.type(item.bits)} v{item.number} = {self._operation(item)};")

    def _loop(self, loop: Loop) -> None:
        for phi, first in zip(loop.phis, loop.initial, strict=True):
            self.line(f"{self.type(phi.bits)} v{phi.number} = {self.name(first)};")
        counter = f"v{loop.counter.number}"
        self.line(f"for ({self.type(32)} {counter} = {loop.low}; {counter} < {loop.high}; {counter}++) {{")
        self._indent += 1
        self.body(loop.body)
        pairs = [(p, v) for p, v in zip(loop.phis, loop.following, strict=True) if p is not v]
        written = {phi for phi, _ in pairs}
        for phi, value in pairs:  # a value that is itself written here must be read before
            if value in written:
                self.line(f"const {self.type(value.bits)} next{phi.number} = {self.name(value)};")
        for phi, value in pairs:
            self.line(f"v{phi.number} = {f'next{phi.number}' if value in written else self.name(value)};")
        self._indent -= 1
        self.line("}")

    def _operation(self, value: Value) -> str:
        operands = [self.name(operand) for operand in value.operands]
        bits = value.bits
        match value.operation:
            case "add" | "sub" | "mul" | "and" | "or" | "xor" as name:
                return self._cut(f"{self._wide(operands[0], bits)} {_SIGNS[name]} {operands[1]}", bits)
            case "div" | "rem" as name:
                return self._division(name, operands, value)
            case "not":
                return f"{operands[0]} ^ 1" if bits == 1 else self._cut(f"~{operands[0]}", bits)
            case "shl" | "shr" | "rotl":
                return self._shift(value, *operands)
            case "eq" | "ne" | "lt" | "le" as name:
                return f"{operands[0]} {_COMPARE[name]} {operands[1]}"
            case "sel":
                return f"{operands[0]} ? {operands[1]} : {operands[2]}"
            case "cast":
                return (
                    f"({self.type(bits)})({operands[0]} & 1)"
                    if bits == 1
                    else f"({self.type(bits)}){operands[0]}"
                )
            case "bswap":
                return f"swap{bits}({operands[0]})"
            case "table":
                return f"table_{value.table}[{operands[0]}]"
            case _:
                raise AssertionError(value.operation)

    def _wide(self, operand: str, bits: int) -> str:
        return f"({self.type(32)}){operand}" if bits < 32 else operand

    def _cut(self, text: str, bits: int) -> str:
        if bits == 1:
            return f"({text}) & 1"
        return f"({self.type(bits)})({text})" if bits < 32 else text

    def _division(self, name: str, operands: list[str], value: Value) -> str:
        text = f"{operands[0]} {_SIGNS[name]} {operands[1]}"
        divisor = value.operands[1]
        if divisor.is_constant and divisor.constant:
            return self._cut(text, value.bits)
        by_zero = self.number(mask(value.bits), value.bits) if name == "div" else operands[0]
        return self._cut(f"{operands[1]} ? {text} : {by_zero}", value.bits)

    def _shift(self, value: Value, word: str, count: str) -> str:
        bits, by = value.bits, value.operands[1]
        word = self._wide(word, bits)
        if value.operation == "rotl":
            if by.is_constant:
                left = by.constant % bits
                return self._cut(f"{word} << {left} | {word} >> {bits - left}", bits)
            ahead = f"({count} & {bits - 1})"
            back = f"(({bits} - {ahead}) & {bits - 1})"
            return self._cut(f"{word} << {ahead} | {word} >> {back}", bits)
        sign = "<<" if value.operation == "shl" else ">>"
        if by.is_constant:
            return self._cut(f"{word} {sign} {by.constant}", bits)
        return self._cut(f"{count} < {bits} ? {word} {sign} {count} : 0", bits)


def prelude(routine: Routine, dialect: Dialect) -> str:
    """Return what stands before the functions: types, byte swapping, tables."""
    words = _DIALECTS[dialect]
    printer = Printer(dialect)
    u64, u32, u16 = (printer.type(bits) for bits in (64, 32, 16))
    bytes_, halves = (printer.number(number, 64) for number in (0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF))
    text = [
        words.head,
        f"{words.function} {u64} swap64({u64} x)\n{{\n",
        f"    x = ((x >> 8) & {bytes_}) | ((x & {bytes_}) << 8);\n",
        f"    x = ((x >> 16) & {halves}) | ((x & {halves}) << 16);\n",
        "    return (x >> 32) | (x << 32);\n}\n",
        f"{words.function} {u32} swap32({u32} x)\n{{\n",
        "    x = ((x >> 8) & 0x00FF00FFu) | ((x & 0x00FF00FFu) << 8);\n",
        "    return (x >> 16) | (x << 16);\n}\n",
        f"{words.function} {u16} swap16({u16} x)\n{{\n    return ({u16})((x >> 8) | (x << 8));\n}}\n",
    ]
    for name, (bits, elements) in routine.tables.items():
        numbers = ", ".join(printer.number(element, bits) for element in elements)
        text.append(f"{words.table} {printer.type(bits)} table_{name}[{len(elements)}] = {{{numbers}}};\n")
    return "".join(text)


def entry(routine: Routine, name: str) -> str:
    """Return ``void name(const uint64_t *in, uint64_t *out)`` in C: every value is one word."""
    printer = Printer(Dialect.C)
    values = [value for parameter in routine.parameters for value in parameter.values]
    for position, value in enumerate(values):
        type_ = printer.type(value.bits)
        cut = " & 1" if value.bits == 1 else ""
        printer.line(f"const {type_} v{value.number} = ({type_})(in[{position}]{cut});")
    printer.body(routine.body)
    for position, value in enumerate(routine.results):
        printer.line(f"out[{position}] = {printer.name(value)};")
    return f"void {name}(const uint64_t *in, uint64_t *out)\n{{\n" + "\n".join(printer.lines) + "\n}\n"


def c_source(routine: Routine, name: str) -> str:
    """Return a C file with one function."""
    return prelude(routine, Dialect.C) + entry(routine, name)
