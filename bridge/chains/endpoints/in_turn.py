"""Endpoints used in turn: a request goes to the one in use, then round the others if it is unavailable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from bridge.chains.endpoints.rotation import Rotation
from bridge.chains.errors import PortUnavailableError

EndpointT = TypeVar("EndpointT")
ResultT = TypeVar("ResultT")


class InTurn(Generic[EndpointT]):
    """Clients of equal endpoints. They may stand at different heights: code that compares blocks must
    expect that."""

    def __init__(self, endpoints: Sequence[EndpointT]) -> None:
        self._endpoints = tuple(endpoints)
        self._rotation = Rotation(len(self._endpoints))

    @property
    def all(self) -> tuple[EndpointT, ...]:
        """All endpoints, in the order of the configuration."""
        return self._endpoints

    @property
    def current(self) -> EndpointT:
        """The endpoint in use."""
        return self._endpoints[self._rotation.order()[0]]

    async def ask(self, request: Callable[[EndpointT], Awaitable[ResultT]]) -> ResultT:
        """Return what `request` returns of the first endpoint that is available.

        Only `PortUnavailableError` sends it on to the next endpoint; the last one's is raised. Everything
        else means that an endpoint has answered, and passes through.
        """
        *others, last = self._rotation.order()
        for index in others:
            try:
                return await request(self._endpoints[index])
            except PortUnavailableError:
                self._rotation.failed(index)
        return await request(self._endpoints[last])
