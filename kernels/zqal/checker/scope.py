"""Names in scope, what conditions say about them, and the faults found so far."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kernels.errors import KernelError
from kernels.zqal import typed
from kernels.zqal.diagnostics import Diagnostic, FaultError, Place
from kernels.zqal.types import Interval


class AlreadyReportedError(KernelError):
    """Something cannot be checked because of a fault that was reported where it is."""

    def __init__(self) -> None:
        super().__init__("a fault was reported elsewhere")


@dataclass
class Faults:
    """All faults of a program; checking goes on behind each."""

    found: list[Diagnostic] = field(default_factory=list)

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a fault raised inside, once, and go on."""
        try:
            yield
        except FaultError as fault:
            if fault.diagnostic not in self.found:
                self.found.append(fault.diagnostic)
        except AlreadyReportedError:
            pass


@dataclass
class Cost:
    """Operations: as executed (`steps`), and as written once loops are unrolled (`size`)."""

    steps: int = 0
    size: int = 0


@dataclass
class Scope:
    """The variables of one function body."""

    layers: list[dict[str, typed.Slot]] = field(default_factory=lambda: [{}])
    known: list[dict[typed.Slot, Interval]] = field(default_factory=list)
    registers: list[typed.Slot] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)

    @contextlib.contextmanager
    def layer(self, facts: dict[typed.Slot, Interval] | None = None) -> Iterator[None]:
        """Open an inner scope in which `facts` hold."""
        self.layers.append({})
        self.known.append(facts or {})
        try:
            yield
        finally:
            self.layers.pop()
            self.known.pop()

    def declare(self, slot: typed.Slot) -> typed.Slot:
        """Add a variable to the innermost scope; it hides one of the same name."""
        self.layers[-1][slot.name] = slot
        return slot

    def find(self, name: str) -> typed.Slot | None:
        """Return the innermost variable of a name."""
        return next((layer[name] for layer in reversed(self.layers) if name in layer), None)

    def interval(self, slot: typed.Slot) -> Interval | None:
        """Return what is known about a variable here; nothing beyond its type when it can change."""
        interval = slot.interval
        if interval is None or slot.mutable:
            return interval
        for facts in self.known:
            if slot in facts:
                fact = facts[slot]
                interval = Interval(max(interval.low, fact.low), min(interval.high, fact.high))
        return interval if interval.low <= interval.high else slot.interval

    def names(self) -> Iterator[str]:
        """Return all names in scope."""
        for layer in self.layers:
            yield from layer


def similar(name: str, names: Iterable[str]) -> str:
    """Return a question that names the closest name, or an empty text."""
    close = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {close[0]}?" if close else ""


def facts_of(condition: typed.Expr, *, holds: bool) -> dict[typed.Slot, Interval]:
    """Return what a condition says about immutable variables when it holds, or when it does not."""
    if not isinstance(condition, typed.Operation):
        return {}
    if condition.name == "not":
        return facts_of(condition.operands[0], holds=not holds)
    if condition.name in {"and", "or"}:
        if (condition.name == "and") != holds:
            return {}
        facts = facts_of(condition.operands[0], holds=holds)
        for slot, interval in facts_of(condition.operands[1], holds=holds).items():
            before = facts.get(slot, interval)
            facts[slot] = Interval(max(before.low, interval.low), min(before.high, interval.high))
        return facts
    if condition.name not in {"eq", "ne", "lt", "le"}:
        return {}
    left, right = condition.operands
    name = condition.name if holds else {"eq": "ne", "ne": "eq", "lt": "ge", "le": "gt"}[condition.name]
    facts = {}
    for operand, other, relation in ((left, right, name), (right, left, _mirrored(name))):
        variable = _variable(operand)
        if variable is not None and variable.interval is not None and other.interval is not None:
            interval = _bounded(variable.interval, relation, other.interval)
            if interval.low <= interval.high:
                facts[variable] = interval
    return facts


def _variable(expr: typed.Expr) -> typed.Slot | None:
    while isinstance(expr, typed.Convert) and expr.interval == expr.operand.interval:
        expr = expr.operand
    return expr.slot if isinstance(expr, typed.Read) and not expr.slot.mutable else None


def _mirrored(relation: str) -> str:
    return {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}.get(relation, relation)


def _bounded(interval: Interval, relation: str, other: Interval) -> Interval:
    low, high = interval
    match relation:
        case "lt":
            return Interval(low, min(high, other.high - 1))
        case "le":
            return Interval(low, min(high, other.high))
        case "gt":
            return Interval(max(low, other.low + 1), high)
        case "ge":
            return Interval(max(low, other.low), high)
        case "eq":
            return Interval(max(low, other.low), min(high, other.high))
        case "ne" if other.low == other.high:
            return Interval(low + (low == other.low), high - (high == other.low))
        case _:
            return interval


def missing(place: Place, name: str, scope: Scope, others: Iterable[str], *, kernel: bool) -> FaultError:
    """Return the fault of an unknown name."""
    help_ = similar(name, [*scope.names(), *others])
    if not help_ and kernel:
        help_ = (
            "a kernel's result depends on its arguments alone: what the header does not commit to, "
            "such as a miner's level, belongs in a @reward function"
        )
    return FaultError(place, f"unknown name {name}", help_)
