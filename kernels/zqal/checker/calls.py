"""Calls: of built-in functions and of the program's own, and the making of structs."""

from __future__ import annotations

from kernels.zqal import syntax, typed
from kernels.zqal.checker import arithmetic, builtins
from kernels.zqal.checker.arithmetic import coerce
from kernels.zqal.checker.declarations import Checking, Declarations
from kernels.zqal.checker.scope import AlreadyReportedError, Scope, similar
from kernels.zqal.diagnostics import FaultError
from kernels.zqal.types import Array, Bytes, Struct, Type


class Calls:
    """Checks the calls in one function body."""

    def __init__(
        self, expressions: Checking, declarations: Declarations, scope: Scope, *, exact: bool
    ) -> None:
        self._expressions = expressions
        self._declarations = declarations
        self._scope = scope
        self._exact = exact

    def call(self, node: syntax.Call, alone: bool) -> typed.Expr:
        """Check a call; only a whole statement (`alone`) may write variables through ``&mut``."""
        if node.name in builtins.names():
            plain = [self._expressions.check(self._plain(argument)) for argument in node.arguments]
            return builtins.call(node.place, node.name, plain, exact=self._exact)
        if node.name in self._declarations.structs:
            return self._make_struct(node, self._declarations.structs[node.name])
        function = self._declarations.functions.get(node.name)
        if function is None:
            if node.name in self._declarations.refused:
                raise AlreadyReportedError
            candidates = [*self._declarations.functions, *builtins.names(), *self._declarations.structs]
            help_ = similar(node.name, candidates) or "write it in this file, or import it with use std::…"
            raise FaultError(node.place, f"unknown function {node.name}", help_)
        return self._invoke(node, function, alone)

    def _plain(
        self, argument: syntax.Expression | syntax.Reference | syntax.NamedArgument
    ) -> syntax.Expression:
        if isinstance(argument, syntax.Reference):
            raise FaultError(argument.place, "this function writes nothing: pass the value without &mut")
        if isinstance(argument, syntax.NamedArgument):
            raise FaultError(argument.place, "only structs have named parts")
        return argument

    def _make_struct(self, node: syntax.Call, type_: Struct) -> typed.Expr:
        names = [name for name, _ in type_.fields]
        given = [a.name if isinstance(a, syntax.NamedArgument) else "?" for a in node.arguments]
        if given != names:
            raise FaultError(
                node.place,
                f"{type_} needs its fields by name and in order",
                f"{type_}({', '.join(f'{name}: …' for name in names)})",
            )
        items = tuple(
            self._expressions.check(argument.value, field)
            for argument, (_, field) in zip(node.arguments, type_.fields, strict=True)
            if isinstance(argument, syntax.NamedArgument)
        )
        return arithmetic.gather(node.place, type_, items)

    def _invoke(self, node: syntax.Call, declared: syntax.Function, alone: bool) -> typed.Expr:
        parameters = declared.parameters
        if len(node.arguments) != len(parameters):
            raise FaultError(
                node.place, f"{node.name} takes {len(parameters)} arguments, not {len(node.arguments)}"
            )
        sizes: dict[str, int] = {}
        found: list[typed.Expr | None] = []
        for argument, parameter in zip(node.arguments, parameters, strict=True):
            if isinstance(argument, syntax.Reference) != parameter.by_reference:
                raise FaultError(
                    argument.place,
                    f"{parameter.name} is {'' if parameter.by_reference else 'not '}passed as &mut",
                )
            simple = not declared.generics and not isinstance(argument, syntax.Reference)
            want = self._declarations.type_of(parameter.type, {}) if simple else None
            given = (
                None
                if isinstance(argument, syntax.Reference)
                else self._expressions.check(self._plain(argument), want)
            )
            found.append(given)
            type_ = self._referred(argument).type if isinstance(argument, syntax.Reference) else None
            _infer(parameter.type, type_ if given is None else given.type, declared.generics, sizes)
        for name in declared.generics:
            if name not in sizes:
                raise FaultError(
                    node.place, f"the size {name} of {node.name} does not follow from its arguments"
                )
        function = self._declarations.instance(node.name, sizes, node.place)
        arguments: list[typed.Expr | typed.Slot] = []
        for argument, given, (slot, _) in zip(node.arguments, found, function.parameters, strict=True):
            if isinstance(argument, syntax.Reference):
                referred = self._referred(argument)
                if referred in arguments:
                    raise FaultError(argument.place, f"{argument.name} is passed as &mut twice")
                if referred.type != slot.type:
                    raise FaultError(argument.place, f"expected {slot.type}, found {referred.type}")
                arguments.append(referred)
            else:
                assert given is not None
                arguments.append(coerce(given, slot.type, exact=self._exact))
        if any(isinstance(argument, typed.Slot) for argument in arguments) and not alone:
            raise FaultError(
                node.place,
                "a call that writes through &mut stands alone",
                "give its value a name first: let x = f(&mut y)",
            )
        self._scope.cost.steps += function.steps
        self._scope.cost.size += function.size
        return typed.Invoke(
            node.place, function.result, function.result_interval, None, None, function, tuple(arguments)
        )

    def _referred(self, node: syntax.Reference) -> typed.Slot:
        found = self._expressions.name(syntax.Name(node.place, node.name))
        if not isinstance(found, typed.Read) or not found.slot.mutable:
            raise FaultError(
                node.place, f"{node.name} is not mutable", f'declare it with "let mut {node.name}"'
            )
        return found.slot


def _infer(node: syntax.TypeNode, found: Type | None, names: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Read sizes off an argument's type: where a parameter says ``bytes<N>`` or ``[T; N]``."""
    match node, found:
        case syntax.EntangledType(_, inner), _:
            _infer(inner, found, names, sizes)
        case syntax.BytesType(_, syntax.Name(_, name)), Bytes(length) if name in names:
            sizes.setdefault(name, length)
        case syntax.ArrayType(_, element, length_node), Array(inner_type, length):
            if isinstance(length_node, syntax.Name) and length_node.text in names:
                sizes.setdefault(length_node.text, length)
            _infer(element, inner_type, names, sizes)
