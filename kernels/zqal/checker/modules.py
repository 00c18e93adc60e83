"""Files and declarations: loads what a program uses, checks functions for the sizes they are called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernels.zqal import syntax, typed
from kernels.zqal.checker.declarations import TOO_DEEP
from kernels.zqal.checker.expressions import Expressions
from kernels.zqal.checker.scope import AlreadyReportedError, Faults, Scope, similar
from kernels.zqal.checker.statements import Body
from kernels.zqal.diagnostics import Diagnostic, FaultError, Place, Source, ZqalError
from kernels.zqal.parse import parse
from kernels.zqal.types import BUILT_IN, Array, Bytes, Enum, Literal, Struct, Type, UInt, Void, size_in_words

STANDARD = Path(__file__).parents[1] / "std"
MAX_INSTANCES = 256
"""Functions, each counted once for every set of sizes it is used with."""
_ATTRIBUTES = frozenset({"kernel", "validator", "reward"})

Instances = dict[tuple[str, tuple[int, ...]], typed.Function | None]


@dataclass
class Modules:
    """The declarations of a program and all that it uses; see `declarations.Declarations`."""

    faults: Faults = field(default_factory=Faults)
    constants: dict[str, tuple[Type, typed.Value]] = field(default_factory=dict)
    enums: dict[str, Enum] = field(default_factory=dict)
    structs: dict[str, Struct] = field(default_factory=dict)
    registers: dict[str, Array] = field(default_factory=dict)
    functions: dict[str, syntax.Function] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    used: dict[str, Source] = field(default_factory=dict)
    instances: Instances = field(default_factory=dict)
    depth: int = 0

    def load(self, source: Source) -> syntax.File:
        """Read a file and declare what it has, after what it uses."""
        file = parse(source)
        declaring: dict[type, Callable[..., None]] = {
            syntax.Use: self._use,
            syntax.Constant: self._constant,
            syntax.Quantum: self._quantum,
            syntax.Enum: self._enum,
            syntax.Struct: self._struct,
            syntax.Function: self._function,
        }
        order = [syntax.Use, syntax.Enum, syntax.Constant, syntax.Struct, syntax.Quantum, syntax.Function]
        for kind in order:
            for item in file.items:
                if isinstance(item, kind):
                    name = getattr(item, "name", "")
                    with self.faults.collected():
                        try:
                            if name:
                                self._must_be_new(name, item.place)
                            declaring[kind](item)
                        except (FaultError, AlreadyReportedError):
                            self.refused.add(name)
                            raise
        return file

    def _must_be_new(self, name: str, place: Place) -> None:
        tables: tuple[Mapping[str, object], ...] = (
            self.constants,
            self.enums,
            self.structs,
            self.registers,
            self.functions,
        )
        if any(name in table for table in tables) or name in BUILT_IN:
            raise FaultError(place, f"{name} is declared twice", "give one of them another name")

    def _use(self, item: syntax.Use) -> None:
        library, _, name = item.path.partition("::")
        available = {path.stem for path in STANDARD.glob("*.zqal")}
        if library != "std" or name not in available:
            raise FaultError(
                item.place,
                f"there is no module {item.path}",
                similar(name, available) or "there are " + ", ".join(f"std::{n}" for n in sorted(available)),
            )
        if name not in self.used:
            path = STANDARD / f"{name}.zqal"
            self.used[name] = Source(f"std/{name}.zqal", path.read_text(encoding="utf-8"))
            self.load(self.used[name])

    def _plain(self, sizes: Mapping[str, int] | None = None) -> Expressions:
        return Expressions(self, self.faults, Scope(), sizes or {})

    def _constant(self, item: syntax.Constant) -> None:
        type_ = self.type_of(item.type, {})
        value = self._plain().check(item.value, type_).value
        if value is None:
            raise FaultError(item.value.place, "this is not known while compiling")
        self.constants[item.name] = type_, value

    def _quantum(self, item: syntax.Quantum) -> None:
        self.registers[item.name] = Array(self.type_of(item.element, {}), self._plain().size(item.count))

    def _enum(self, item: syntax.Enum) -> None:
        numbers = [number for _, number in item.variants]
        if len(set(numbers)) < len(numbers) or len(dict(item.variants)) < len(numbers):
            raise FaultError(item.place, f"two variants of {item.name} are the same")
        if max(numbers) > 255:
            raise FaultError(item.place, f"a variant of {item.name} has a number over 255")
        self.enums[item.name] = Enum(item.name, item.variants)

    def _struct(self, item: syntax.Struct) -> None:
        if len(dict(item.fields)) < len(item.fields):
            raise FaultError(item.place, f"two fields of {item.name} have one name")
        fields = tuple((name, self.type_of(node, {})) for name, node in item.fields)
        self.structs[item.name] = Struct(item.name, fields)

    def _function(self, item: syntax.Function) -> None:
        unknown = [name for name in item.attributes if name not in _ATTRIBUTES]
        if unknown:
            raise FaultError(
                item.place,
                f"there is no attribute @{unknown[0]}",
                similar(unknown[0], _ATTRIBUTES) or "there are @kernel, @validator and @reward",
            )
        self.functions[item.name] = item

    # what bodies ask for

    def type_of(self, node: syntax.TypeNode, sizes: Mapping[str, int]) -> Type:
        """Return the type that a node names. Raises FaultError."""
        match node:
            case syntax.EntangledType(_, inner):
                return self.type_of(inner, sizes)
            case syntax.ArrayType(_, element, length):
                array = Array(self.type_of(element, sizes), self._plain(sizes).size(length))
                if size_in_words(array) > 4096:
                    raise FaultError(node.place, f"{array} has more than 4096 words")
                return array
            case syntax.BytesType(_, length):
                return Bytes(self._plain(sizes).size(length))
            case syntax.NamedType(place, name):
                return self._named(place, name)

    def _named(self, place: Place, name: str) -> Type:
        if name.startswith("bytes") and name[5:].isdigit() and int(name[5:]) <= 32768:
            return Bytes(int(name[5:]))
        tables: tuple[Mapping[str, Type], ...] = (BUILT_IN, self.enums, self.structs, self.registers)
        for table in tables:
            if name in table:
                return table[name]
        if name in self.refused:
            raise AlreadyReportedError
        if name in {"f32", "f64", "float", "double"}:
            raise FaultError(
                place,
                f"{name} has no place in consensus: it rounds differently from machine to machine",
                "use real for a constant (an exact fraction, while compiling) or permille for a multiplier",
            )
        if name in {"i8", "i16", "i32", "i64", "int", "usize"}:
            raise FaultError(place, f"{name} does not exist: numbers have no sign", "use u8, u16 … u256")
        names = [*BUILT_IN, *self.enums, *self.structs, *self.registers]
        help_ = similar(name, names) or f"declare it: enum {name} {{ … }} or struct {name} {{ … }}"
        raise FaultError(place, f"unknown type {name}", help_)

    def instance(self, name: str, sizes: Mapping[str, int], place: Place) -> typed.Function:
        """Return the function for these sizes, checked. Raises FaultError, for recursion among others."""
        if name in self.refused:
            raise AlreadyReportedError
        declared = self.functions[name]
        key = name, tuple(sizes[size] for size in declared.generics)
        if key in self.instances:
            found = self.instances[key]
            if found is None:
                raise FaultError(
                    place, f"{name} calls itself", "recursion is not allowed: count with a for loop"
                )
            return found
        if len(self.instances) >= MAX_INSTANCES:
            raise FaultError(place, f"the program has more than {MAX_INSTANCES} functions, sizes counted")
        self.instances[key] = None
        with self.faults.collected():
            self.instances[key] = self._checked(declared, dict(sizes))
        function = self.instances[key]
        if function is None:
            del self.instances[key]
            self.refused.add(name)
            self.functions.pop(name, None)
            raise AlreadyReportedError
        return function

    def _checked(self, declared: syntax.Function, sizes: dict[str, int]) -> typed.Function:
        body = Body(self, self.faults, sizes, declared.attributes)
        parameters: list[tuple[typed.Slot, bool]] = []
        result: Type | None = None
        for parameter in declared.parameters:
            with self.faults.collected():
                type_ = self._border_type(parameter.type, sizes)
                uniform = isinstance(parameter.type, syntax.EntangledType)
                interval = type_.full if isinstance(type_, UInt) else None
                slot = typed.Slot(parameter.name, type_, parameter.by_reference, interval, uniform)
                if body.scope.find(slot.name) is not None:
                    raise FaultError(parameter.place, f"{slot.name} is a parameter already")
                parameters.append((body.scope.declare(slot), parameter.by_reference))
        with self.faults.collected():
            result = Void() if declared.result is None else self._border_type(declared.result, sizes)
        if result is None or len(parameters) != len(declared.parameters):
            raise AlreadyReportedError
        block = body.block(declared.body, result)
        if not isinstance(result, Void) and block.value is None:
            raise FaultError(declared.place, f"{declared.name} must end with a value of type {result}")
        body.check_cost(declared.place)
        interval = block.value.interval if block.value is not None else None
        return typed.Function(
            declared.name,
            declared.attributes,
            tuple(parameters),
            tuple(body.scope.registers),
            result,
            interval,
            block,
            body.scope.cost.steps + 1,
            body.scope.cost.size + 1,
        )

    def _border_type(self, node: syntax.TypeNode, sizes: Mapping[str, int]) -> Type:
        type_ = self.type_of(node, sizes)
        if str(type_) == "real" or isinstance(type_, Literal):
            raise FaultError(
                node.place, "real numbers exist while compiling only", "use permille or an integer"
            )
        return type_


def check(source: Source) -> typed.Program:
    """Return the checked program of a source text. Raises ZqalError with every fault found."""
    try:
        return _program(source)
    except RecursionError:
        place = Place(source, 1, 1, 2)
        raise ZqalError([Diagnostic(place, TOO_DEEP, "give parts of it names with let")]) from None


def _program(source: Source) -> typed.Program:
    modules = Modules()
    file = modules.load(source)
    program = typed.Program(source.name)
    for item in file.items:
        match item:
            case syntax.Algorithm(_, name, settings):
                program.name, program.settings = name, dict(settings)
            case syntax.Test(place, title, block):
                with modules.faults.collected():
                    body = Body(modules, modules.faults, {}, is_test=True)
                    program.tests.append((title, body.block(block, Void())))
                    body.check_cost(place)
    for name, function in list(modules.functions.items()):
        if not function.generics:
            with modules.faults.collected():
                program.functions[name] = modules.instance(name, {}, function.place)
    if modules.faults.found:
        faults = sorted(
            modules.faults.found, key=lambda f: (f.place.source.name, f.place.line, f.place.column)
        )
        raise ZqalError(faults)
    for (name, sizes), instance in modules.instances.items():
        if instance is not None and sizes:
            program.functions[f"{name}<{','.join(map(str, sizes))}>"] = instance
    return program


def check_file(path: Path) -> typed.Program:
    """Return the checked program in a file. Raises ZqalError, and OSError when it cannot be read."""
    return check(Source(path.name, path.read_text(encoding="utf-8")))
