"""The application: routes, errors as problems, background tasks. Nothing is signed here, and chains are asked
only on behalf of users' wallets."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bridge.api import problems
from bridge.api.background import Background
from bridge.api.problems import MEDIA_TYPE, ApiError, Kind
from bridge.api.request_limits import RequestLimits, problem_response
from bridge.api.routes import admin, events, health, market, restore, swaps
from bridge.api.routes import log as log_routes
from bridge.api.services import Services
from bridge.desk.prices import PriceUnavailableError
from bridge.desk.refused import Reason, RefusedError
from bridge.desk.tidying import tidy
from bridge.store import StoreError
from bridge.wire.problems import FieldProblem, Problem

TIDY_SECONDS = 600.0
SWEEP_SECONDS = 1.0
"""How often expired quotes are removed; they are void from the moment they expire."""

RECURSION_LIMIT = 1_000
"""Python's default. Importing py_ecc (web3 does) raises it to 100,000 for the whole process, and then a small
body of deeply nested JSON overflows the C stack instead of raising RecursionError."""

log = structlog.get_logger("rainbow.api")

_KIND_OF = {
    Reason.NOT_FOUND: Kind.NOT_FOUND,
    Reason.UNKNOWN_PAIR: Kind.UNKNOWN_PAIR,
    Reason.PAUSED: Kind.PAUSED,
    Reason.AMOUNT_OUT_OF_RANGE: Kind.AMOUNT_OUT_OF_RANGE,
    Reason.BAD_ADDRESS: Kind.BAD_ADDRESS,
    Reason.BAD_HASHLOCK: Kind.INVALID_REQUEST,
    Reason.QUOTE_GONE: Kind.QUOTE_GONE,
    Reason.HASHLOCK_USED: Kind.HASHLOCK_USED,
    Reason.IDEMPOTENCY_CONFLICT: Kind.IDEMPOTENCY_CONFLICT,
    Reason.WRONG_PREIMAGE: Kind.WRONG_PREIMAGE,
    Reason.BAD_AUTHORIZATION: Kind.BAD_AUTHORIZATION,
    Reason.BAD_RECEIPT: Kind.BAD_RECEIPT,
    Reason.WRONG_STATE: Kind.WRONG_STATE,
    Reason.LIMIT_REACHED: Kind.LIMIT_REACHED,
    Reason.NO_INVENTORY: Kind.NO_INVENTORY,
    Reason.NO_PRICE: Kind.NO_PRICE,
    Reason.CHAIN_UNAVAILABLE: Kind.CHAIN_UNAVAILABLE,
}

_DESCRIPTION = """Atomic swaps between ZION and other chains with hash-time-locked contracts.

Make 32 random bytes, keep them, and send only their SHA-256. Errors are RFC 9457 problems with a stable
`type` and a `hint`. Amounts are integers in smallest units as strings."""


def create_app(services: Services) -> FastAPI:
    """Return the application over these services."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    app = FastAPI(
        title="Rainbow Bridge",
        version=version("rainbow-bridge"),
        description=_DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.services = services
    for module in (market, restore, swaps, events, log_routes, admin, health):
        app.include_router(module.router)
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RefusedError, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(StoreError, _on_store)
    origins = services.settings.api.cors_origins
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id", "Location"],
        )
    app.add_middleware(RequestLimits, config=services.settings.api, metrics=services.metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    background = Background(
        {
            "events": services.follower.run,
            "quotes": lambda: _sweep(services),
            "price feed": lambda: _keep_prices(services),
            "tidying": lambda: _tidy(services),
        }
    )
    app.state.background = background
    await _refresh_prices(services)  # the first quote finds prices
    background.start()
    try:
        yield
    finally:
        await background.stop()
        await services.close()


async def _sweep(services: Services) -> None:
    while True:
        try:
            await asyncio.to_thread(services.quotes.sweep)
        except StoreError as error:
            log.warning("quotes cannot be swept", error=str(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def _tidy(services: Services) -> None:
    while True:
        try:
            deleted = await asyncio.to_thread(tidy, services.store, services.settings.database)
            if deleted:
                log.info("old rows deleted", rows=deleted)
        except StoreError as error:
            log.warning("old rows cannot be deleted", error=str(error))
        await asyncio.sleep(TIDY_SECONDS)


async def _keep_prices(services: Services) -> None:
    while True:
        await asyncio.sleep(services.settings.prices.poll_interval)
        await _refresh_prices(services)


async def _refresh_prices(services: Services) -> None:
    try:
        await asyncio.to_thread(services.prices.refresh)
    except PriceUnavailableError as error:
        log.warning("prices cannot be refreshed", error=str(error), hint=error.hint)
    except StoreError as error:
        log.warning("prices cannot be stored", error=str(error), hint=error.hint)


def _respond(request: Request, error: ApiError) -> Response:
    request.app.state.services.metrics.refusal(error.kind.value[0])
    return problem_response(error, request.state.request_id)


async def _on_api_error(request: Request, error: Exception) -> Response:
    return _respond(request, cast(ApiError, error))


async def _on_refused(request: Request, error: Exception) -> Response:
    refused = cast(RefusedError, error)
    kind = _KIND_OF[refused.reason]
    return _respond(request, ApiError(kind, str(refused), refused.hint, retry_after=refused.retry_after))


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Say what is wrong and where, but never repeat what was sent: it may hold a preimage."""
    found = cast(RequestValidationError, error).errors()
    errors = [
        FieldProblem(pointer="/" + "/".join(str(part) for part in item["loc"]), message=str(item["msg"]))
        for item in found[:20]
    ]
    if any(item["type"] == "json_invalid" for item in found):
        unreadable = ApiError(Kind.MALFORMED, "the body is not JSON", "send a JSON object", errors=errors)
        return _respond(request, unreadable)
    hint = "`errors` names each wrong field; /openapi.json describes all fields"
    return _respond(request, ApiError(Kind.INVALID_REQUEST, "the request is not valid", hint, errors=errors))


async def _on_http(request: Request, raised: Exception) -> Response:
    error = cast(HTTPException, raised)
    return _respond(
        request, problems.of_status(error.status_code, str(error.detail), dict(error.headers or {}))
    )


async def _on_store(request: Request, raised: Exception) -> Response:
    error = cast(StoreError, raised)
    log.error("the store refused", error=str(error), hint=error.hint, request_id=request.state.request_id)
    busy = ApiError(Kind.BUSY, "the database could not serve this now", "try again soon", retry_after=2)
    return _respond(request, busy)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the document, with problems as what every operation may answer."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        license_info=app.license_info,
        routes=app.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schema = TypeAdapter(Problem).json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    default = {
        "description": "Any other problem: rate limits, sizes, media types, an overloaded service.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            unprocessable = answers.get("422", {})
            if "application/json" in unprocessable.get("content", {}):
                answers["422"] = problems.responses(Kind.INVALID_REQUEST)[Kind.INVALID_REQUEST.status]
            answers.setdefault("default", default)
    app.openapi_schema = document
    return document


def quiet_libraries() -> None:
    """Keep libraries from logging requests: their lines hold paths, and paths hold swaps' ids."""
    for name in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
