"""LLVM's text form of legalized core: scalars, or vectors for whatever varies from lane to lane."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.zqal.core import Item, Loop, Routine, Value
from kernels.zqal.passes import mark_uniform
from kernels.zqal.semantics import mask

_PLAIN = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_COMPARE = {"eq": "eq", "ne": "ne", "lt": "ult", "le": "ule"}


class Printer:
    """Prints the body of one function."""

    def __init__(self, routine: Routine, lanes: int) -> None:
        self.routine = routine
        self.lanes = lanes
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.names: dict[Value, str] = {}
        self.block = "entry"
        self._temporaries = 0
        self._broadcast: dict[tuple[str, int], str] = {}

    def line(self, text: str) -> None:
        """Append an instruction."""
        self.lines.append(f"  {text}")

    def let(self, instruction: str) -> str:
        """Append an instruction and return the name of its value."""
        self._temporaries += 1
        name = f"%t{self._temporaries}"
        self.line(f"{name} = {instruction}")
        return name

    def start(self, label: str) -> None:
        """Begin a basic block."""
        self.lines.append(f"{label}:")
        self.block = label
        self._broadcast = {}  # a broadcast in another block may not come before this one

    def is_vector(self, value: Value) -> bool:
        """Tell whether a value has one element a lane."""
        return self.lanes > 1 and not value.uniform

    def type(self, bits: int, vector: bool) -> str:
        """Return an LLVM type."""
        return f"<{self.lanes} x i{bits}>" if vector else f"i{bits}"

    def number(self, number: int, bits: int, vector: bool) -> str:
        """Return a constant."""
        if vector:
            return f"splat (i{bits} {number})"
        return str(number) if bits > 1 else ("true" if number else "false")

    def use(self, value: Value, vector: bool) -> str:
        """Return a value as an operand, spread over the lanes when a vector is wanted."""
        if value.is_constant:
            return self.number(value.constant, value.bits, vector)
        name = self.names[value]
        return self.spread(name, value.bits) if vector and not self.is_vector(value) else name

    def spread(self, name: str, bits: int) -> str:
        """Return a scalar in every lane."""
        if (name, bits) not in self._broadcast:
            vector = self.type(bits, True)
            first = self.let(f"insertelement {vector} poison, i{bits} {name}, i64 0")
            zeros = f"<{self.lanes} x i32> zeroinitializer"
            self._broadcast[name, bits] = self.let(
                f"shufflevector {vector} {first}, {vector} poison, {zeros}"
            )
        return self._broadcast[name, bits]

    def intrinsic(self, name: str, type_: str, operands: Sequence[str]) -> str:
        """Return a call of an LLVM intrinsic whose operands and result have one type."""
        suffix = type_.strip("<>").replace(" x ", "")
        full = f"@llvm.{name}.{'v' if type_.startswith('<') else ''}{suffix}"
        self.declarations.add(f"declare {type_} {full}({', '.join([type_] * len(operands))})")
        return f"call {type_} {full}({', '.join(f'{type_} {operand}' for operand in operands)})"

    def body(self, items: Sequence[Item]) -> None:
        """Print operations and loops."""
        for item in items:
            if isinstance(item, Loop):
                self._loop(item)
            else:
                self.names[item] = self._operation(item)

    def _operation(self, value: Value) -> str:
        vector = self.is_vector(value)
        type_ = self.type(value.bits, vector)
        if value.operation == "table":
            return self._table(value, vector, type_)
        if value.operation in {"shl", "shr", "rotl"}:
            return self._shift(value, vector, type_)
        operands = [self.use(operand, vector) for operand in value.operands]
        bits = value.operands[0].bits
        from_type = self.type(bits, vector)
        flag = self.type(1, vector)
        match value.operation:
            case "add" | "sub" | "mul" | "and" | "or" | "xor" as name:
                return self.let(f"{_PLAIN[name]} {type_} {operands[0]}, {operands[1]}")
            case "div" | "rem":
                return self._division(value, vector, type_, operands)
            case "not":
                return self.let(
                    f"xor {type_} {operands[0]}, {self.number(mask(value.bits), value.bits, vector)}"
                )
            case "eq" | "ne" | "lt" | "le" as name:
                return self.let(f"icmp {_COMPARE[name]} {from_type} {operands[0]}, {operands[1]}")
            case "sel":
                return self.let(f"select {flag} {operands[0]}, {type_} {operands[1]}, {type_} {operands[2]}")
            case "cast":
                return self.resized(operands[0], bits, value.bits, vector)
            case "bswap":
                return self.let(self.intrinsic("bswap", type_, operands))
            case _:
                raise AssertionError(value.operation)

    def _division(self, value: Value, vector: bool, type_: str, operands: list[str]) -> str:
        name = "udiv" if value.operation == "div" else "urem"
        divisor = value.operands[1]
        if divisor.is_constant and divisor.constant:
            return self.let(f"{name} {type_} {operands[0]}, {operands[1]}")
        flag = self.type(1, vector)
        zero = self.let(f"icmp eq {type_} {operands[1]}, {self.number(0, value.bits, vector)}")
        safe = self.let(
            f"select {flag} {zero}, {type_} {self.number(1, value.bits, vector)}, {type_} {operands[1]}"
        )
        result = self.let(f"{name} {type_} {operands[0]}, {safe}")
        by_zero = operands[0]
        if value.operation == "div":
            by_zero = self.number(mask(value.bits), value.bits, vector)
        return self.let(f"select {flag} {zero}, {type_} {by_zero}, {type_} {result}")

    def _shift(self, value: Value, vector: bool, type_: str) -> str:
        """Print a shift; LLVM leaves shifts by the width or more undefined, so those are selected away."""
        word, count = value.operands
        operand = self.use(word, vector)
        bits = value.bits
        name = {"shl": "shl", "shr": "lshr", "rotl": "fshl"}[value.operation]
        if count.is_constant:
            amount = self.number(count.constant % bits, bits, vector)
        else:
            given = self.use(count, vector)
            amount = self.resized(given, count.bits, bits, vector)
        if name == "fshl":  # takes its count modulo the width itself
            return self.let(self.intrinsic("fshl", type_, [operand, operand, amount]))
        if count.is_constant:
            return self.let(f"{name} {type_} {operand}, {amount}")
        inside = self.let(
            f"icmp ult {self.type(count.bits, vector)} {given}, {self.number(bits, count.bits, vector)}"
        )
        masked = self.let(f"and {type_} {amount}, {self.number(bits - 1, bits, vector)}")
        shifted = self.let(f"{name} {type_} {operand}, {masked}")
        zero = self.number(0, bits, vector)
        return self.let(f"select {self.type(1, vector)} {inside}, {type_} {shifted}, {type_} {zero}")

    def resized(self, name: str, bits: int, wanted: int, vector: bool) -> str:
        """Widen or cut a value."""
        if bits == wanted:
            return name
        how = "zext" if bits < wanted else "trunc"
        return self.let(f"{how} {self.type(bits, vector)} {name} to {self.type(wanted, vector)}")

    def _table(self, value: Value, vector: bool, type_: str) -> str:
        index = value.operands[0]
        if not vector:
            return self._load(value, self.use(index, False))
        indexes = self.use(index, True)
        gathered = "poison"
        for lane in range(self.lanes):
            one = self.let(f"extractelement {self.type(index.bits, True)} {indexes}, i64 {lane}")
            element = self._load(value, one)
            gathered = self.let(f"insertelement {type_} {gathered}, i{value.bits} {element}, i64 {lane}")
        return gathered

    def _load(self, value: Value, index: str) -> str:
        length = len(self.routine.tables[value.table][1])
        array = f"[{length} x i{value.bits}]"
        pointer = self.let(f"getelementptr inbounds {array}, ptr @table_{value.table}, i32 0, i32 {index}")
        return self.let(f"load i{value.bits}, ptr {pointer}")

    def _loop(self, loop: Loop) -> None:
        label, behind = f"loop{loop.counter.number}", f"behind{loop.counter.number}"
        pairs = list(zip(loop.phis, loop.initial, strict=True))
        initial = [self.use(first, self.is_vector(phi)) for phi, first in pairs]
        before = self.block
        self.line(f"br label %{label}")
        self.start(label)
        at = len(self.lines)
        counter = f"%v{loop.counter.number}"
        self.names[loop.counter] = counter
        for phi in loop.phis:
            self.names[phi] = f"%v{phi.number}"
        self.body(loop.body)
        following = [
            self.use(value, self.is_vector(phi)) for phi, value in zip(loop.phis, loop.following, strict=True)
        ]
        count = self.let(f"add i32 {counter}, 1")
        again = self.let(f"icmp ult i32 {count}, {loop.high}")
        end = self.block
        self.line(f"br i1 {again}, label %{label}, label %{behind}")
        heads = [f"  {counter} = phi i32 [ {loop.low}, %{before} ], [ {count}, %{end} ]"]
        for phi, first, last in zip(loop.phis, initial, following, strict=True):
            type_ = self.type(phi.bits, self.is_vector(phi))
            heads.append(f"  %v{phi.number} = phi {type_} [ {first}, %{before} ], [ {last}, %{end} ]")
        self.lines[at:at] = heads
        self.start(behind)
        self.names.update(zip(loop.phis, following, strict=True))


def _tables(routines: Sequence[Routine]) -> str:
    lines = []
    merged = {name: table for routine in routines for name, table in routine.tables.items()}
    for name, (bits, elements) in merged.items():
        numbers = ", ".join(f"i{bits} {element}" for element in elements)
        lines.append(
            f"@table_{name} = internal unnamed_addr constant [{len(elements)} x i{bits}] [{numbers}]\n"
        )
    return "".join(lines)


def entry(routine: Routine, name: str, *, lanes: int = 1) -> tuple[str, set[str]]:
    """Return ``void name(ptr in, ptr out)`` and the declarations it needs.

    Every value is one 64-bit word; with lanes, word i of lane l is at ``i * lanes + l``.
    """
    mark_uniform(routine, vary_all=lanes > 1)
    printer = Printer(routine, lanes)
    vector = lanes > 1
    word = printer.type(64, vector)
    position = 0
    for parameter in routine.parameters:
        for value in parameter.values:
            pointer = printer.let(f"getelementptr i64, ptr %in, i64 {position * lanes}")
            loaded = printer.let(f"load {word}, ptr {pointer}, align 8")
            printer.names[value] = printer.resized(loaded, 64, value.bits, vector)
            position += 1
    printer.body(routine.body)
    for number, value in enumerate(routine.results):
        widened = printer.resized(printer.use(value, vector), value.bits, 64, vector)
        pointer = printer.let(f"getelementptr i64, ptr %out, i64 {number * lanes}")
        printer.line(f"store {word} {widened}, ptr {pointer}, align 8")
    head = f"define void @{name}(ptr noalias %in, ptr noalias %out) {{\nentry:\n"
    text = head + "\n".join(printer.lines) + "\n  ret void\n}\n"
    mark_uniform(routine)
    return text, printer.declarations


def scan(routine: Routine, name: str, lanes: int) -> tuple[str, set[str]]:
    """Return the search of a kernel (…, nonce) → hash32, `lanes` nonces at a time, with its declarations.

    ``i64 name(ptr words, i64 start, i64 count, i64 target_top, ptr best)``: `count` is a multiple of lanes.
    Stops behind the first group with a hash whose leading 64 bits are at most `target_top`, and returns
    that group's offset, or count. best[0 … lanes) gets each lane's lowest leading bits, best[lanes … 2 lanes)
    the first group's offset that had them.
    """
    printer = Printer(routine, lanes)
    vector = lanes > 1
    word, flags = printer.type(64, vector), printer.type(1, vector)
    *uniform, nonce = [value for parameter in routine.parameters for value in parameter.values]
    for position, value in enumerate(uniform):
        pointer = printer.let(f"getelementptr i64, ptr %words, i64 {position}")
        loaded = printer.let(f"load i64, ptr {pointer}, align 8")
        printer.names[value] = printer.resized(loaded, 64, value.bits, False)
    target = printer.spread("%target_top", 64) if vector else "%target_top"
    printer.line("br label %group")
    printer.start("group")
    at = len(printer.lines)
    base = printer.let("add i64 %start, %offset")
    if vector:
        steps = ", ".join(f"i64 {lane}" for lane in range(lanes))
        base = printer.let(f"add {word} {printer.spread(base, 64)}, <{steps}>")
    printer.names[nonce] = base
    printer.body(routine.body)
    leading = printer.use(routine.results[0], vector)
    top = printer.let(printer.intrinsic("bswap", word, [leading]))
    lower = printer.let(f"icmp ult {word} {top}, %best_top")
    best_top = printer.let(f"select {flags} {lower}, {word} {top}, {word} %best_top")
    offsets = printer.spread("%offset", 64) if vector else "%offset"
    best_at = printer.let(f"select {flags} {lower}, {word} {offsets}, {word} %best_at")
    hit = printer.let(f"icmp ule {word} {top}, {target}")
    if vector:
        reduce = f"@llvm.vector.reduce.or.v{lanes}i1"
        printer.declarations.add(f"declare i1 {reduce}({flags})")
        hit = printer.let(f"call i1 {reduce}({flags} {hit})")
    following = printer.let(f"add i64 %offset, {lanes}")
    more = printer.let(f"icmp ult i64 {following}, %count")
    go_on = printer.let(f"select i1 {hit}, i1 false, i1 {more}")
    end = printer.block
    printer.line(f"br i1 {go_on}, label %group, label %done")
    full, none = (printer.number(number, 64, vector) for number in (mask(64), 0))
    printer.lines[at:at] = [
        f"  %offset = phi i64 [ 0, %entry ], [ {following}, %{end} ]",
        f"  %best_top = phi {word} [ {full}, %entry ], [ {best_top}, %{end} ]",
        f"  %best_at = phi {word} [ {none}, %entry ], [ {best_at}, %{end} ]",
    ]
    printer.start("done")
    printer.line(f"store {word} {best_top}, ptr %best, align 8")
    pointer = printer.let(f"getelementptr i64, ptr %best, i64 {lanes}")
    printer.line(f"store {word} {best_at}, ptr {pointer}, align 8")
    stopped = printer.let(f"select i1 {hit}, i64 %offset, i64 %count")
    printer.line(f"ret i64 {stopped}")
    head = (
        f"define i64 @{name}(ptr noalias %words, i64 %start, i64 %count, i64 %target_top, ptr noalias %best)"
    )
    return f"{head} {{\nentry:\n" + "\n".join(printer.lines) + "\n}\n", printer.declarations


def module(routines: Sequence[Routine], parts: Sequence[tuple[str, set[str]]]) -> str:
    """Return a module: tables, functions, declarations. Tables of one name must be equal."""
    declared = sorted(set().union(*(declarations for _, declarations in parts)))
    return _tables(routines) + "\n".join(text for text, _ in parts) + "\n".join(declared) + "\n"
