"""Horizon's error responses: problem+json with a type, a detail and extras."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kernels.errors import RainbowError
from relayers.stellar.devnet.entries import UnsupportedFeatureError

_BASE = "https://stellar.org/horizon-errors/"


class HorizonProblemError(RainbowError):
    """A request that ends with an error response."""

    def __init__(self, status: int, kind: str, detail: str, extras: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.body: dict[str, Any] = {
            "type": _BASE + kind,
            "title": kind.replace("_", " ").title(),
            "status": status,
            "detail": detail,
        }
        if extras is not None:
            self.body["extras"] = extras


def not_found() -> HorizonProblemError:
    """The resource does not exist."""
    return HorizonProblemError(404, "not_found", "The resource at the url requested was not found.")


def bad_request(field: str, reason: str) -> HorizonProblemError:
    """A parameter is wrong."""
    extras = {"invalid_field": field, "reason": reason}
    return HorizonProblemError(400, "bad_request", "The request you sent was invalid in some way.", extras)


async def on_problem(_request: Request, problem: Exception) -> Response:
    """Render a `HorizonProblemError`."""
    assert isinstance(problem, HorizonProblemError)  # noqa: S101 - registered for problems only
    return JSONResponse(problem.body, problem.status, media_type="application/problem+json")


async def on_unsupported(_request: Request, error: Exception) -> Response:
    """Render what the emulator cannot do."""
    assert isinstance(error, UnsupportedFeatureError)  # noqa: S101
    body = HorizonProblemError(501, "not_implemented", f"This devnet cannot do that: {error}").body
    return JSONResponse(body, 501, media_type="application/problem+json")
