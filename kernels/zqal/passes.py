"""Passes over the core: leave out what nothing needs, and find what is the same in every lane."""

from __future__ import annotations

from collections.abc import Iterator

from kernels.zqal.core import Item, Loop, Routine, Value


def without_dead_code(routine: Routine) -> Routine:
    """Remove operations and loop values that no result depends on, in place."""
    needed = _needed(routine)
    routine.body = _kept(routine.body, needed)
    used = {value.table for value in _values(routine.body) if value.table}
    routine.tables = {name: table for name, table in routine.tables.items() if name in used}
    return routine


def _needed(routine: Routine) -> set[Value]:
    needed: set[Value] = set()

    def mark(value: Value) -> None:
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if not one.is_constant and one not in needed:
                needed.add(one)
                waiting.extend(one.operands)

    for result in routine.results:
        mark(result)
    loops = list(_loops(routine.body))
    before = -1
    while before != len(needed):  # a phi that is needed needs its first and its following value
        before = len(needed)
        for loop in loops:
            for phi, first, following in zip(loop.phis, loop.initial, loop.following, strict=True):
                if phi in needed:
                    mark(first)
                    mark(following)
    return needed


def _loops(body: list[Item]) -> Iterator[Loop]:
    for item in body:
        if isinstance(item, Loop):
            yield item
            yield from _loops(item.body)


def _values(body: list[Item]) -> Iterator[Value]:
    for item in body:
        if isinstance(item, Loop):
            yield from _values(item.body)
        else:
            yield item


def _kept(body: list[Item], needed: set[Value]) -> list[Item]:
    kept: list[Item] = []
    for item in body:
        if isinstance(item, Value):
            if item in needed:
                kept.append(item)
            continue
        chosen = [number for number, phi in enumerate(item.phis) if phi in needed]
        item.phis = [item.phis[number] for number in chosen]
        item.initial = [item.initial[number] for number in chosen]
        item.following = [item.following[number] for number in chosen]
        item.body = _kept(item.body, needed)
        if item.phis:
            kept.append(item)
    return kept


def mark_uniform(routine: Routine, *, vary_all: bool = False) -> Routine:
    """Mark what is the same in every lane, in place: a least fixpoint of "varies".

    Parameters are uniform as the source says (``entangled``), or none is with `vary_all`.
    """
    for parameter in routine.parameters:
        for value in parameter.values:
            value.uniform = parameter.uniform and not vary_all
    for value in _values(routine.body):
        value.uniform = True
    for loop in _loops(routine.body):
        for phi in loop.phis:
            phi.uniform = True
    while _spread(routine.body):
        pass
    return routine


def _spread(body: list[Item]) -> bool:
    """Go over the body once; return whether a phi turned out to vary."""
    changed = False
    for item in body:
        if isinstance(item, Value):
            item.uniform = all(operand.uniform for operand in item.operands)
            continue
        for _ in range(2):
            changed |= _spread_phis(item)
            changed |= _spread(item.body)
        changed |= _spread_phis(item)
    return changed


def _spread_phis(loop: Loop) -> bool:
    changed = False
    for phi, first, following in zip(loop.phis, loop.initial, loop.following, strict=True):
        if phi.uniform and not (first.uniform and following.uniform):
            phi.uniform, changed = False, True
    return changed
