"""Statements and function bodies: variables, loops, and what a block's value is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kernels.zqal import syntax, typed
from kernels.zqal.checker import arithmetic
from kernels.zqal.checker.declarations import Declarations
from kernels.zqal.checker.expressions import Expressions
from kernels.zqal.checker.scope import AlreadyReportedError, Faults, Scope
from kernels.zqal.diagnostics import FaultError, Place
from kernels.zqal.types import Array, Bytes, Interval, Struct, Type, UInt, Unknown, Void

MAX_STEPS = 1 << 24
"""A call executes at most so many operations; Cosmic Harmony has about 14,000."""
MAX_SIZE = 1 << 18
"""A function has at most so many operations with its loops unrolled."""
_ASSIGNING = frozenset({"+", "-", "*", "&", "|", "^", "<<", ">>"})


class Body:
    """Checks one body: of a function for given sizes, or of a test."""

    def __init__(
        self,
        declarations: Declarations,
        faults: Faults,
        sizes: Mapping[str, int],
        attributes: tuple[str, ...] = (),
        *,
        is_test: bool = False,
    ) -> None:
        self.scope = Scope()
        self._declarations = declarations
        self._faults = faults
        self._sizes = sizes
        self._is_test = is_test
        self._expressions = Expressions(declarations, faults, self.scope, sizes, attributes, self.block)
        self._exact = not {"validator", "reward"}.isdisjoint(attributes)
        self._depth = 0

    def block(self, node: syntax.Block, want: Type | None) -> typed.Block:
        """Check a block in a scope of its own; `want` is the type of its value, Void for none."""
        statements: list[typed.Statement] = []
        value: typed.Expr | None = None
        outermost = self._depth == 0
        self._depth += 1
        with self.scope.layer():
            for position, written in enumerate(node.statements):
                statement = written
                last = position == len(node.statements) - 1
                failed = True
                with self._faults.collected():
                    if isinstance(statement, syntax.Return):
                        if not (outermost and last) or self._is_test:
                            raise FaultError(
                                statement.place,
                                "return may only stand at the end of a function",
                                "use if and else as an expression",
                            )
                        statement = syntax.ExpressionStatement(statement.place, statement.value)
                    if last and isinstance(statement, syntax.ExpressionStatement):
                        value = self._value(statement, want)
                    else:
                        statements += self._statement(statement)
                    failed = False
                if failed and isinstance(statement, syntax.Let):
                    self.scope.declare(typed.Slot(statement.name, Unknown(), statement.mutable, None))
                if failed and last:
                    raise AlreadyReportedError
        self._depth -= 1
        if value is not None and isinstance(value.type, Void):
            statements.append(typed.Do(value))
            value = None
        return typed.Block(tuple(statements), value)

    def _value(self, statement: syntax.ExpressionStatement, want: Type | None) -> typed.Expr:
        value = self._expressions.check(statement.value, want, alone=True)
        if isinstance(want, Void) and not isinstance(value.type, Void):
            raise FaultError(statement.place, "this value is not used", "give it a name, or remove it")
        return value

    def _statement(self, node: syntax.Statement) -> list[typed.Statement]:
        match node:
            case syntax.Let():
                return [self._let(node)]
            case syntax.Assign():
                return [self._assign(node)]
            case syntax.For():
                return [self._for(node)]
            case syntax.Assert():
                return [self._assert(node)]
            case syntax.ExpressionStatement():
                return [typed.Do(self._value(node, Void()))]
            case syntax.Return():
                raise AssertionError("handled by block")

    def _let(self, node: syntax.Let) -> typed.Statement:
        want = self._declarations.type_of(node.type, self._sizes) if node.type is not None else None
        value = arithmetic.settle(self._expressions.check(node.value, want, alone=True))
        if isinstance(value.type, Void):
            raise FaultError(node.value.place, "this has no value")
        if node.name in self._declarations.constants:
            raise FaultError(node.place, f"{node.name} is a constant already", "choose another name")
        interval = value.interval
        if node.mutable:
            interval = value.type.full if isinstance(value.type, UInt) else None
        slot = typed.Slot(node.name, value.type, node.mutable, interval)
        if not node.mutable:
            slot.loops, slot.value = value.loops, value.value
        self.scope.declare(slot)
        return typed.Set(node.place, slot, (), value)

    def _assign(self, node: syntax.Assign) -> typed.Statement:
        base = node.target
        while isinstance(base, syntax.Index | syntax.Member):
            base = base.base
        if not isinstance(base, syntax.Name):
            raise FaultError(node.target.place, "a value cannot be written to this")
        root = self._expressions.name(base)
        if not isinstance(root, typed.Read) or not root.slot.mutable:
            raise FaultError(
                base.place, f"{base.text} is not mutable", f'declare it with "let mut {base.text}"'
            )
        target, path = self._target(node.target, root.slot.type)
        value_node: syntax.Expression = node.value
        if node.operator:
            if node.operator not in _ASSIGNING:
                raise FaultError(node.place, f"there is no {node.operator}=")
            value_node = syntax.Binary(node.place, node.operator, node.target, node.value)
        value = self._expressions.check(value_node, target, alone=True)
        return typed.Set(node.place, root.slot, path, value)

    def _target(self, node: syntax.Expression, root: Type) -> tuple[Type, tuple[typed.Expr | int, ...]]:
        """Return the type of an assigned place and the way to it."""
        match node:
            case syntax.Index():
                base, path = self._target(node.base, root)
                if isinstance(base, Array):
                    index = self._expressions.index(node.index, base.length, table=False)
                    return base.element, (*path, index)
                if isinstance(base, Bytes):
                    index = self._expressions.index(node.index, base.length, table=False)
                    return UInt(8), (*path, index)
                raise FaultError(node.place, f"{base} has no elements")
            case syntax.Member():
                base, path = self._target(node.base, root)
                position = base.position(node.field) if isinstance(base, Struct) else None
                if position is None or not isinstance(base, Struct):
                    raise FaultError(node.place, f"{base} has no field {node.field}")
                return base.fields[position][1], (*path, position)
            case _:
                return root, ()

    def _for(self, node: syntax.For) -> typed.Statement:
        u32 = UInt(32)
        low, high = (self._expressions.check(end, u32) for end in (node.low, node.high))
        for end in (low, high):
            if end.loops is None:
                raise FaultError(
                    end.place,
                    "the bounds of a loop must be known while compiling",
                    "take the largest count and guard the body with an if",
                )
            self._expressions.must_be_static(end, "")
        first, last = arithmetic.range_of(low).low, arithmetic.range_of(high).high
        loop = typed.Loop(node.mode == "@unroll")
        interval = Interval(first, max(first, last - 1))
        slot = typed.Slot(node.name, u32, False, interval, uniform=True, loops=frozenset([loop]))
        before = replace(self.scope.cost)
        with self.scope.layer():
            self.scope.declare(slot)
            body = self.block(node.body, Void())
        if loop.unroll and node.mode == "@rolled":
            raise FaultError(
                node.place, "this loop cannot stay rolled: its variable picks a register or a slice"
            )
        self._count(node.place, before, max(0, last - first), loop.unroll)
        return typed.Count(node.place, slot, low, high, body, loop)

    def _count(self, place: Place, before: object, times: int, unrolled: bool) -> None:
        assert isinstance(before, type(self.scope.cost))
        cost = self.scope.cost
        cost.steps = before.steps + (cost.steps - before.steps + 1) * times
        if unrolled:
            cost.size = before.size + (cost.size - before.size + 1) * times
        try:
            self.check_cost(place)
        except FaultError:  # said once, not again for every loop around it
            cost.steps, cost.size = before.steps, before.size
            raise

    def check_cost(self, place: Place) -> None:
        """Refuse what would take too long to run or too much room to compile."""
        cost = self.scope.cost
        if cost.steps > MAX_STEPS:
            raise FaultError(
                place, f"this takes {cost.steps:,} operations", f"a call may take {MAX_STEPS:,} at most"
            )
        if cost.size > MAX_SIZE:
            raise FaultError(
                place,
                f"this has {cost.size:,} operations when its loops are unrolled",
                f"{MAX_SIZE:,} are allowed: let a loop stay rolled, or count less far",
            )

    def _assert(self, node: syntax.Assert) -> typed.Statement:
        if not self._is_test:
            raise FaultError(node.place, "assert belongs in a test", 'test "what is true" { assert … }')
        condition = self._expressions.check(node.value)
        if not isinstance(condition, typed.Operation | typed.CompareBytes) and str(condition.type) != "bool":
            raise FaultError(node.place, f"assert needs a bool, found {condition.type}")
        sides: tuple[typed.Expr, ...] = ()
        if isinstance(condition, typed.CompareBytes):
            sides = (condition.left, condition.right)
        elif isinstance(condition, typed.Operation) and len(condition.operands) == 2:
            sides = condition.operands
        return typed.Claim(node.place, condition, sides)
