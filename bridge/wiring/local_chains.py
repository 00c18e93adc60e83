"""Local chains for `rainbow devnet` and the demonstration, made by their families' tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bridge.chains import registry
from bridge.chains.errors import FamilyError
from bridge.chains.family import FamilyTools, LocalInstance, LocalPlan
from bridge.protocol.types import ChainId


def tools_of(family: str) -> FamilyTools:
    """Return a family's tools. Raises `FamilyError` for a family without."""
    tools = registry.family(family).tools
    if tools is None:
        raise FamilyError(
            f"the family {family!r} has no local chain", "switch it off here, or use a test network"
        )
    return tools


def numbers(families: Mapping[ChainId, str]) -> dict[ChainId, int]:
    """Count the instances of each family from 0, in the order given."""
    seen: dict[str, int] = {}
    counted: dict[ChainId, int] = {}
    for chain, family in families.items():
        name = registry.family(family).name
        counted[chain] = seen.get(name, 0)
        seen[name] = counted[chain] + 1
    return counted


def make(
    families: Mapping[ChainId, str],
    directory: Path,
    *,
    block_time: int = 1,
    ports: Mapping[ChainId, int] | None = None,
) -> dict[ChainId, LocalInstance]:
    """Make the local chains of these instances (name → family), not started yet, each with its data in a
    folder of its own. `block_time` in seconds; a chain without a port takes a free one."""
    number_of = numbers(families)
    return {
        chain: tools_of(family).local_chain(
            LocalPlan(
                chain,
                directory / chain,
                block_time=block_time,
                port=(ports or {}).get(chain, 0),
                number=number_of[chain],
            )
        )
        for chain, family in families.items()
    }
