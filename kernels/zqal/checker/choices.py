"""`if` and `match`."""

from __future__ import annotations

from collections.abc import Callable

from kernels.zqal import syntax, typed
from kernels.zqal.checker import arithmetic
from kernels.zqal.checker.arithmetic import coerce, settle
from kernels.zqal.checker.declarations import Checking
from kernels.zqal.checker.scope import AlreadyReportedError, Faults, Scope, facts_of
from kernels.zqal.diagnostics import FaultError, Place
from kernels.zqal.types import Bool, Enum, Interval, Literal, Real, Type, UInt, Void

Blocks = Callable[[syntax.Block, Type | None], typed.Block]


class Choices:
    """Checks the choices in one function body; `blocks` checks their branches."""

    def __init__(self, expressions: Checking, faults: Faults, scope: Scope, blocks: Blocks | None) -> None:
        self._expressions = expressions
        self._faults = faults
        self._scope = scope
        self._blocks = blocks

    def if_(self, node: syntax.If, want: Type | None, alone: bool) -> typed.Expr:
        """Check an `if`; it may change variables only as a whole statement (`alone`)."""
        condition: typed.Expr | None = None
        with self._faults.collected():
            condition = self._expressions.check(node.condition, Bool())
        facts = ({}, {}) if condition is None else tuple(facts_of(condition, holds=h) for h in (True, False))
        if node.otherwise is None:
            want = Void()
        assert self._blocks is not None
        with self._scope.layer(facts[0]):
            then = self._blocks(node.then, want)
        otherwise = None
        if node.otherwise is not None:
            with self._scope.layer(facts[1]):
                otherwise = self._blocks(node.otherwise, want)
        if condition is None:
            raise AlreadyReportedError
        blocks = [then] if otherwise is None else [then, otherwise]
        outside = {slot for layer in self._scope.layers for slot in layer.values()}
        if not alone and any(slot in outside for block in blocks for slot in typed.assigned(block)):
            raise FaultError(
                node.place,
                "an if inside an expression changes no variable",
                "give its value a name first: let x = if … { … } else { … }",
            )
        if isinstance(want, Void) or otherwise is None or then.value is None or otherwise.value is None:
            if want is not None and not isinstance(want, Void):
                raise FaultError(node.place, f"both branches must end with a value of type {want}")
            return typed.Choice(node.place, Void(), None, None, None, condition, then, otherwise)
        first, second = _alike(node.place, then.value, otherwise.value)
        interval = first.interval.joined(second.interval) if first.interval and second.interval else None
        return typed.Choice(
            node.place,
            first.type,
            interval,
            None,
            None,
            condition,
            typed.Block(then.statements, first),
            typed.Block(otherwise.statements, second),
        )

    def match(self, node: syntax.Match, want: Type | None) -> typed.Expr:
        """Check a `match`: every number or variant has exactly one arm."""
        subject = settle(self._expressions.check(node.subject))
        if not isinstance(subject.type, Enum | UInt):
            raise FaultError(node.subject.place, f"match needs an enum or an integer, found {subject.type}")
        cases: list[tuple[int, typed.Expr]] = []
        otherwise: typed.Expr | None = None
        for arm in node.arms:
            if otherwise is not None:
                raise FaultError(arm.place, "this arm is never reached")
            number = self._pattern(arm.pattern, subject.type)
            value = settle(self._expressions.check(arm.value, want or (cases[0][1].type if cases else None)))
            if isinstance(value.type, Real):
                raise FaultError(
                    arm.value.place, "real numbers exist while compiling only", "permille is a type"
                )
            if number is None:
                otherwise = value
            elif number in dict(cases):
                raise FaultError(arm.place, "this pattern occurs twice")
            else:
                cases.append((number, value))
        if otherwise is None:
            self._must_cover(node, subject.type, {number for number, _ in cases})
            otherwise = cases.pop()[1]
        values = [value for _, value in cases] + [otherwise]
        intervals = [value.interval for value in values if value.interval is not None]
        interval = None
        if len(intervals) == len(values):
            interval = Interval(min(i.low for i in intervals), max(i.high for i in intervals))
        return typed.Select(
            node.place, otherwise.type, interval, None, None, subject, tuple(cases), otherwise
        )

    def _pattern(self, pattern: syntax.Name | syntax.Integer, subject: Enum | UInt) -> int | None:
        if isinstance(pattern, syntax.Name) and pattern.text == "_":
            return None
        value = coerce(self._expressions.check(pattern, subject), subject).value
        assert isinstance(value, int)
        return value

    def _must_cover(self, node: syntax.Match, subject: Enum | UInt, seen: set[int]) -> None:
        if isinstance(subject, UInt):
            raise FaultError(node.place, "match does not cover all numbers", 'add an arm for "_"')
        absent = [name for name, number in subject.variants if number not in seen]
        if absent:
            raise FaultError(node.place, f"match does not cover {', '.join(absent)}", 'add the arms, or "_"')


def _alike(place: Place, left: typed.Expr, right: typed.Expr) -> tuple[typed.Expr, typed.Expr]:
    if isinstance(left.type, UInt | Literal) and isinstance(right.type, UInt | Literal):
        left, right = arithmetic.integers(left, right)
    left, right = settle(left), settle(right)
    if left.type != right.type:
        raise FaultError(place, f"the branches differ: {left.type} and {right.type}")
    return left, right
