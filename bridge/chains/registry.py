"""Finds the families of chains that are installed, by their entry points.

A distribution offers a family with an entry point in the group `rainbow.chains` whose name is what
configurations call it. Only families that are asked for are loaded: what is merely installed runs no code.
"""

from __future__ import annotations

import contextlib
import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from bridge.chains.errors import FamilyError
from bridge.chains.family import ChainFamily

GROUP = "rainbow.chains"


@cache
def offered() -> dict[str, tuple[EntryPoint, ...]]:
    """Return the installed entry points by name; a name with several is ambiguous."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        others = found.get(point.name, ())
        if point.value not in {other.value for other in others}:
            found[point.name] = (*others, point)
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """Return the names under which families are offered, sorted."""
    return tuple(offered())


@cache
def family(name: str) -> ChainFamily:
    """Load a family. Raises `FamilyError` when none has this name, when two distributions claim it, or when
    its code cannot be imported."""
    points = offered().get(name, ())
    if not points:
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
        suggestion = f"; did you mean {near[0]!r}?" if near else ""
        raise FamilyError(
            f"no family of chains is called {name!r}{suggestion}",
            f"installed are {', '.join(names())}; docs/adding-a-chain.md says how to add one",
        )
    if len(points) > 1:
        claims = ", ".join(sorted(_distribution(point) for point in points))
        raise FamilyError(
            f"the family {name!r} is offered by several distributions: {claims}",
            "uninstall all but the one you trust: a family signs with the bridge's keys",
        )
    try:
        loaded = points[0].load()
    except Exception as error:
        raise FamilyError(
            f"the family {name!r} of {_distribution(points[0])} cannot be loaded: "
            f"{type(error).__name__}: {error}",
            "update or reinstall that distribution",
        ) from error
    return cast(ChainFamily, loaded)


def families() -> dict[str, ChainFamily]:
    """Load every family that can be loaded, by its own name, each once. One that cannot is left out here:
    an operator who names it is told why."""
    found: dict[str, ChainFamily] = {}
    for name in names():
        with contextlib.suppress(FamilyError):
            loaded = family(name)
            found.setdefault(loaded.name, loaded)
    return found


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
