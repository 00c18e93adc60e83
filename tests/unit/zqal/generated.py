"""Well-typed programs made by hypothesis, which shrinks those that fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import strategies as st

WIDTHS = (8, 16, 32, 64, 128, 256)
T = TypeVar("T")


@dataclass(frozen=True)
class Generated:
    """A program with one function `f`, and arguments for it."""

    text: str
    arguments: tuple[tuple[object, ...], ...]


@dataclass
class _Writer:
    """Draws a program piece by piece; the simplest choices come first, so that shrinking finds them."""

    draw: st.DrawFn
    scalars: list[tuple[str, int]] = field(default_factory=list)
    arrays: list[tuple[str, int, int]] = field(default_factory=list)
    mutable: list[tuple[str, int]] = field(default_factory=list)
    loops: list[tuple[str, int]] = field(default_factory=list)
    names: int = 0

    def one_of(self, *choices: T) -> T:
        return self.draw(st.sampled_from(choices))

    def upto(self, high: int) -> int:
        return self.draw(st.integers(0, high))

    def fresh(self) -> str:
        self.names += 1
        return f"x{self.names}"

    def literal(self, bits: int) -> str:
        full = (1 << bits) - 1
        return f"u{bits}({self.draw(st.sampled_from((0, 1, full, full // 2 + 1)) | st.integers(0, full))})"

    def leaf(self, bits: int) -> str:
        choices = [name for name, width in self.scalars if width == bits]
        choices += [f"u{bits}({name})" for name, _ in self.loops if bits >= 32]
        choices += [f"{n}[{self.index(length)}]" for n, width, length in self.arrays if width == bits]
        choices += [f"u{bits}(STEPS[{name} % 5])" for name, _ in self.scalars[-2:]]
        return self.one_of(self.literal(bits), *choices)

    def index(self, length: int) -> str:
        loops = [f"({name} + {self.upto(3)}) % {length}" for name, _ in self.loops]
        return self.one_of(str(self.upto(length - 1)), *loops)

    def count(self, bits: int) -> str:
        if self.upto(1):
            return str(self.one_of(0, 1, 7, bits - 1, bits, bits + 1))
        return self.leaf(self.one_of(8, 32, 64, 256))

    def condition(self, depth: int) -> str:
        bits = self.one_of(*WIDTHS)
        relation = self.one_of("==", "!=", "<", "<=", ">", ">=")
        plain = f"{self.expression(bits, depth - 1)} {relation} {self.expression(bits, depth - 1)}"
        if self.upto(4):
            return f"({plain})"
        return f"({plain} {self.one_of('&&', '||')} !(h <= le_bytes({self.leaf(256)})))"

    def expression(self, bits: int, depth: int) -> str:
        kind = 0 if depth <= 0 else self.upto(11)
        if kind == 0:
            return self.leaf(bits)
        inner = self.expression(bits, depth - 1)
        match kind:
            case 1 | 2 | 3:
                sign = self.one_of("+", "-", "*", "&", "|", "^")
                return f"({inner} {sign} {self.expression(bits, depth - 1)})"
            case 4:
                return f"({inner} {self.one_of('<<', '>>')} {self.count(bits)})"
            case 5:
                return f"rotate_{self.one_of('left', 'right')}({inner}, {self.count(bits)})"
            case 6:
                return f"(~{inner})"
            case 7:
                return f"u{bits}({self.expression(self.one_of(*WIDTHS), depth - 1)})"
            case 8:
                divisor = f"({self.expression(bits, depth - 1)} % {self.one_of(3, 7, 100)} + 1)"
                return f"({inner} {self.one_of('/', '%')} {divisor})"
            case 9:
                other = self.expression(bits, depth - 1)
                return f"(if {self.condition(depth - 1)} {{ {inner} }} else {{ {other} }})"
            case 10:
                low = self.upto(32 - bits // 8)
                read = self.one_of("", "_be") if bits > 8 else ""
                return f"u{bits}{read}(h[{low}:{low + bits // 8}])"
            case _:
                arm = self.expression(bits, depth - 1)
                return (
                    f"(match {inner} {{ 0 => {arm}, {self.upto(8) + 1} => {self.leaf(bits)}, _ => {inner} }})"
                )

    def block(self, depth: int, indent: str) -> str:
        scalars, arrays, mutable = list(self.scalars), list(self.arrays), list(self.mutable)
        lines = [self.statement(depth, indent) for _ in range(1 + self.upto(2))]
        self.scalars, self.arrays, self.mutable = scalars, arrays, mutable
        return "\n".join(lines)

    def statement(self, depth: int, indent: str) -> str:
        kind = self.upto(5 if depth > 0 else 3)
        bits = self.one_of(*WIDTHS)
        if kind == 0 or (kind == 1 and not self.mutable):
            name, is_mutable = self.fresh(), bool(self.upto(1))
            line = f"{indent}let {'mut ' if is_mutable else ''}{name}: u{bits} = {self.expression(bits, 3)}"
            self.scalars.append((name, bits))
            if is_mutable:
                self.mutable.append((name, bits))
            return line
        if kind == 1:
            name, bits = self.one_of(*self.mutable)
            return f"{indent}{name} {self.one_of('=', '+=', '-=', '*=', '^=')} {self.expression(bits, 3)}"
        if kind == 2 or (kind == 3 and not self.arrays):
            name, length = self.fresh(), 2 + self.upto(2)
            items = ", ".join(self.expression(bits, 1) for _ in range(length))
            self.arrays.append((name, bits, length))
            return f"{indent}let mut {name}: [u{bits}; {length}] = [{items}]"
        if kind == 3:
            name, bits, length = self.one_of(*self.arrays)
            sign = self.one_of("=", "^=", "+=")
            return f"{indent}{name}[{self.index(length)}] {sign} {self.expression(bits, 2)}"
        inner = indent + "  "
        if kind == 4:
            condition = self.condition(2)
            then, otherwise = self.block(depth - 1, inner), self.block(depth - 1, inner)
            return f"{indent}if {condition} {{\n{then}\n{indent}}} else {{\n{otherwise}\n{indent}}}"
        name, low = self.fresh(), self.upto(1)
        high = low + 1 + self.upto(6)
        self.loops.append((name, high))
        body = self.block(depth - 1, inner)
        self.loops.pop()
        return f"{indent}for {name} in {low}..{high} {{\n{body}\n{indent}}}"


@st.composite
def programs(draw: st.DrawFn) -> Generated:
    """Return a program with a few sets of arguments."""
    writer = _Writer(draw)
    widths = draw(st.lists(st.sampled_from(WIDTHS), min_size=1, max_size=3))
    writer.scalars = [(f"p{number}", bits) for number, bits in enumerate(widths)]
    lines = [writer.statement(2, "  ") for _ in range(1 + writer.upto(4))]
    shown = writer.scalars[-4:]
    result = " ++ ".join(
        [f"le_bytes({name})" for name, _ in shown]
        + [f"be_bytes({name})" for name, _, _ in writer.arrays[-2:]]
    )
    size = sum(bits // 8 for _, bits in shown) + sum(
        bits // 8 * length for _, bits, length in writer.arrays[-2:]
    )
    parameters = "".join(f", {name}: u{bits}" for name, bits in ((f"p{i}", b) for i, b in enumerate(widths)))
    text = (
        "const STEPS: [u8; 5] = [3, 255, 9, 1, 80]\n"
        f"@kernel\nfn f(h: hash32{parameters}) -> bytes<{size}> {{\n"
        + "\n".join(lines)
        + f"\n  return {result}\n}}\n"
    )
    numbers = [
        st.sampled_from((0, 1, (1 << bits) - 1, 1 << bits - 1)) | st.integers(0, (1 << bits) - 1)
        for bits in widths
    ]
    arguments = draw(
        st.lists(st.tuples(st.binary(min_size=32, max_size=32), *numbers), min_size=1, max_size=4)
    )
    return Generated(text, tuple(arguments))
