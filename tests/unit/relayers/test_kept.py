"""What an endpoint has shown is kept while the rest is missing, and no longer."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.chains.endpoints.answers import EndpointError
from bridge.chains.endpoints.kept import kept


def fails(memory: dict[str, Any], wanted: list[int], *read: int, error: Exception) -> None:
    with kept(memory, "blocks", wanted) as found:
        found.update({key: str(key) for key in read})
        raise error


def test_what_was_read_before_a_failure_is_kept_and_counts_as_progress() -> None:
    memory: dict[str, Any] = {}
    for read, progress in (((1, 2), True), ((), False), ((3,), True)):
        error = EndpointError("the endpoint answered HTTP 500", "")
        with pytest.raises(EndpointError):
            fails(memory, [1, 2, 3, 4], *read, error=error)
        assert error.progress is progress
    with kept(memory, "blocks", [1, 2, 3, 4]) as found:
        assert found == {1: "1", 2: "2", 3: "3"}
    assert memory == {}


@pytest.mark.parametrize("kind", [EndpointError, RuntimeError])
def test_no_more_is_kept_than_one_reading_asks_for(kind: type[Exception]) -> None:
    """Whatever the failure: else an endpoint that always fails later would fill the memory."""
    memory: dict[str, Any] = {}
    for start in range(0, 100, 2):
        error = kind("failed", "") if kind is EndpointError else kind("failed")
        with pytest.raises(kind):
            fails(memory, [start, start + 1], start, error=error)
    assert memory == {"blocks": {98: "98"}}
