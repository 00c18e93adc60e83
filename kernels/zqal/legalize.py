"""Core to core: numbers wider than 64 bits become little-endian limbs of 64 bits, once for all backends.

LLVM could keep 128 and 256 bits, but its wide division calls a library function that the process does not
have, and no other target knows such widths.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.zqal import limbs
from kernels.zqal.core import Builder, Item, Loop, Parameter, Routine, Value, constant
from kernels.zqal.limbs import Limbs
from kernels.zqal.passes import mark_uniform, without_dead_code
from kernels.zqal.semantics import mask


def legalize(routine: Routine) -> Routine:
    """Return an equal routine whose values have at most 64 bits; the given one stays as it is."""
    return _Legalizer(routine).result()


class _Legalizer:
    def __init__(self, routine: Routine) -> None:
        self._routine = routine
        self._builder = Builder()
        self._limbs: dict[Value, Limbs] = {}
        for name, (bits, elements) in routine.tables.items():
            if bits <= 64:
                self._builder.tables[name] = bits, elements
            for position in range(bits // 64 if bits > 64 else 0):
                part = tuple(element >> 64 * position & mask(64) for element in elements)
                self._builder.tables[f"{name}_{position}"] = 64, part

    def result(self) -> Routine:
        parameters: list[Parameter] = []
        for parameter in self._routine.parameters:
            fresh: list[Value] = []
            for value in parameter.values:
                parts = [self._builder.fresh("parameter", bits) for bits in _widths(value.bits)]
                self._limbs[value] = tuple(parts)
                fresh += parts
            parameters.append(Parameter(parameter.name, tuple(fresh), parameter.type, parameter.uniform))
        self._body(self._routine.body)
        results = [limb for value in self._routine.results for limb in self._get(value)]
        built = self._builder
        routine = Routine(self._routine.name, parameters, built.body, results, built.tables)
        return mark_uniform(without_dead_code(routine))

    def _get(self, value: Value) -> Limbs:
        if value.is_constant:
            if value.bits <= 64:
                return (value,)
            return tuple(constant(value.constant >> 64 * i, 64) for i in range(value.bits // 64))
        return self._limbs[value]

    def _body(self, body: Sequence[Item]) -> None:
        for item in body:
            if isinstance(item, Loop):
                self._loop(item)
            else:
                self._limbs[item] = self._operation(item)

    def _loop(self, loop: Loop) -> None:
        initial = [self._get(value) for value in loop.initial]

        def put(values: Sequence[Value]) -> None:
            rest = list(values)
            for phi, parts in zip(loop.phis, initial, strict=True):
                self._limbs[phi] = tuple(rest[: len(parts)])
                del rest[: len(parts)]

        def inner(counter: Value, phis: list[Value]) -> list[Value]:
            self._limbs[loop.counter] = (counter,)
            put(phis)
            self._body(loop.body)
            return [limb for value in loop.following for limb in self._get(value)]

        put(self._builder.loop(loop.low, loop.high, [limb for parts in initial for limb in parts], inner))

    def _operation(self, value: Value) -> Limbs:
        operands = [self._get(operand) for operand in value.operands]
        wide = value.bits > 64 or any(operand.bits > 64 for operand in value.operands)
        builder = self._builder
        if value.operation == "table":
            if not wide:
                return (builder.lookup(value.table, operands[0][0]),)
            names = [f"{value.table}_{position}" for position in range(value.bits // 64)]
            return tuple(builder.lookup(name, operands[0][0]) for name in names)
        if not wide:
            return (builder.emit(value.operation, value.bits, *(operand[0] for operand in operands)),)
        return limbs.apply(builder, value.operation, value.bits, operands)


def _widths(bits: int) -> list[int]:
    return [64] * (bits // 64) if bits > 64 else [bits]
