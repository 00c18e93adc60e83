"""What an endpoint has shown of something large, kept while the rest is still missing."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from bridge.chains.endpoints.answers import EndpointError

KeyT = TypeVar("KeyT", bound=Hashable)


@contextmanager
def kept(memory: dict[str, Any], what: str, wanted: Iterable[KeyT]) -> Iterator[dict[KeyT, Any]]:
    """Give what one endpoint's `memory` has of `wanted`, to be filled up by the body; forget it when all was
    read.

    If the body fails, what it has read stays for the next try, and an `EndpointError` counts as progress when
    there is more than before. What is not wanted any more is forgotten, so no more is kept than one reading
    asks for.
    """
    before = memory.get(what, {})
    found: dict[KeyT, Any] = {key: before[key] for key in wanted if key in before}
    memory[what] = found
    known = len(found)
    try:
        yield found
    except EndpointError as error:
        error.progress |= len(found) > known
        raise
    memory.pop(what, None)
