"""Liveness, readiness, metrics."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from bridge.api.auth import OPTIONAL, find_key, operator_credentials
from bridge.api.background import Background
from bridge.api.problems import ApiError, Kind, responses
from bridge.api.services import Services, Use
from bridge.desk.prices import PriceUnavailableError
from bridge.desk.refused import RefusedError
from bridge.store import StoreError
from bridge.wire.operator import DependencyView, HealthView, ReadyView
from bridge.wire.problems import FieldProblem

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> HealthView:
    """Answer that the process serves requests."""
    return HealthView(status="ok", version=version("rainbow-bridge"))


@router.get("/readyz", responses=responses(Kind.NOT_READY))
def readyz(request: Request, services: Use) -> ReadyView:
    """Answer whether swaps can be sold: the database, each chain, the prices and this process's own tasks are
    ready."""
    background: Background | None = getattr(request.app.state, "background", None)
    dependencies = [*readiness(services), *_tasks(background)]
    failing = [line for line in dependencies if not line.ready]
    if failing:
        raise ApiError(
            Kind.NOT_READY,
            ", ".join(line.name for line in failing) + " not ready",
            "`rainbow check` says more",
            errors=[FieldProblem(pointer=line.name, message=line.detail) for line in failing],
            retry_after=5,
        )
    return ReadyView(ready=True, dependencies=dependencies)


@router.get(
    "/metrics",
    response_class=Response,
    openapi_extra=OPTIONAL,
    responses={
        200: {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **responses(Kind.UNAUTHORIZED),
    },
)
def metrics(
    services: Use,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(operator_credentials)],
) -> Response:
    """Serve Prometheus."""
    api = services.settings.api
    if api.metrics == "key":
        key = find_key(api.keys, credentials.credentials) if credentials else None
        if key is None or "read" not in key.scopes:
            raise ApiError(
                Kind.UNAUTHORIZED, "an operator's key with scope read is needed", "send it as Bearer token"
            )
    return Response(services.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _tasks(background: Background | None) -> list[DependencyView]:
    troubles = background.troubles() if background is not None else {}
    return [
        DependencyView(name=name, ready=False, detail=f"this task failed ({reason}); it is started again")
        for name, reason in troubles.items()
    ]


def readiness(services: Services) -> list[DependencyView]:
    """Return one line for each thing that the service depends on."""
    try:
        services.store.ping()
    except StoreError as error:
        return [DependencyView(name="database", ready=False, detail=str(error))]
    lines = [DependencyView(name="database", ready=True, detail="")]
    with services.store.reading() as tx:
        for chain in services.settings.enabled_chains():
            try:
                services.market.reliable(tx, chain, tx.now_ms // 1000)
                lines.append(DependencyView(name=chain, ready=True, detail=""))
            except RefusedError as refused:
                lines.append(DependencyView(name=chain, ready=False, detail=str(refused)))
    trouble = ""
    for key in sorted(services.settings.priced_assets()):
        try:
            services.prices.price(key)
        except PriceUnavailableError as error:
            trouble = str(error)
    lines.append(DependencyView(name="prices", ready=not trouble, detail=trouble))
    return lines
