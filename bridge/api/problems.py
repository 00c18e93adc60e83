"""Errors of the API as RFC 9457 problems: stable types, each with a hint that says what to do."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Any

from bridge.wire.problems import FieldProblem, Problem
from kernels.errors import RainbowError

MEDIA_TYPE = "application/problem+json"
_PREFIX = "urn:rainbow:problem:"


class Kind(Enum):
    """The kinds of problem: (slug of the stable type URI, HTTP status, title)."""

    INVALID_REQUEST = ("invalid-request", 422, "The request is not valid")
    MALFORMED = ("malformed", 400, "The request cannot be read")
    NOT_FOUND = ("not-found", 404, "There is no such thing")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "This method is not allowed here")
    UNSUPPORTED_MEDIA = ("unsupported-media-type", 415, "The body must be JSON")
    TOO_LARGE = ("body-too-large", 413, "The request body is too large")
    HEADERS_TOO_LARGE = ("headers-too-large", 431, "The request headers are too large")
    RATE_LIMITED = ("rate-limited", 429, "Too many requests")
    LIMIT_REACHED = ("limit-reached", 429, "Too much is open already")
    UNAUTHORIZED = ("unauthorized", 401, "A key or token is needed")
    FORBIDDEN = ("forbidden", 403, "The key does not allow this")
    UNKNOWN_PAIR = ("unknown-pair", 404, "This pair is not on offer")
    AMOUNT_OUT_OF_RANGE = ("amount-out-of-range", 422, "The amount is outside the limits")
    BAD_ADDRESS = ("bad-address", 422, "This is not an address of that chain")
    QUOTE_GONE = ("quote-gone", 410, "The quote has expired or was taken")
    HASHLOCK_USED = ("hashlock-used", 409, "This hashlock was used before")
    IDEMPOTENCY_CONFLICT = ("idempotency-conflict", 409, "The same key came with another request")
    WRONG_PREIMAGE = ("wrong-preimage", 422, "The preimage does not open the hashlock")
    BAD_AUTHORIZATION = ("bad-authorization", 422, "What was signed does not authorise this claim")
    BAD_RECEIPT = ("bad-receipt", 422, "This is not a receipt of this bridge")
    WRONG_STATE = ("wrong-state", 409, "The swap is not at a point where this can be done")
    PAUSED = ("paused", 503, "Paused by the operator")
    NO_INVENTORY = ("no-inventory", 503, "The bridge has not enough to offer now")
    NO_PRICE = ("no-price", 503, "There is no fresh price")
    CHAIN_UNAVAILABLE = ("chain-unavailable", 503, "A chain cannot be relied on now")
    NOT_READY = ("not-ready", 503, "The service is not ready")
    BUSY = ("busy", 503, "The service is too busy")
    INTERNAL = ("internal", 500, "Something went wrong on our side")

    @property
    def type(self) -> str:
        """The stable URI."""
        return _PREFIX + self.value[0]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[1]

    @property
    def title(self) -> str:
        """The short human text."""
        return self.value[2]


class ApiError(RainbowError):
    """A request that cannot be served. `retry_after` is seconds, for the header of that name."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        hint: str,
        *,
        errors: list[FieldProblem] | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail, hint)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, retry_after))

    def problem(self, instance: str = "") -> Problem:
        """Return the value that goes over the wire."""
        return Problem(
            type=self.kind.type,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            hint=self.hint,
            instance=instance,
            errors=self.errors,
        )


_OF_STATUS = {
    HTTPStatus.BAD_REQUEST: (Kind.MALFORMED, "send JSON as the OpenAPI document at /openapi.json describes"),
    HTTPStatus.UNAUTHORIZED: (Kind.UNAUTHORIZED, "send `Authorization: Bearer …`"),
    HTTPStatus.FORBIDDEN: (Kind.FORBIDDEN, "use a key with the scope that this needs"),
    HTTPStatus.NOT_FOUND: (Kind.NOT_FOUND, "the paths are listed at /openapi.json"),
    HTTPStatus.METHOD_NOT_ALLOWED: (Kind.METHOD_NOT_ALLOWED, "the Allow header lists what is"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (Kind.TOO_LARGE, "send less"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (Kind.UNSUPPORTED_MEDIA, "send `Content-Type: application/json`"),
}


def of_status(status: int, detail: str, headers: dict[str, str] | None = None) -> ApiError:
    """Turn an HTTP error of the framework into an `ApiError`."""
    kind, hint = _OF_STATUS.get(
        HTTPStatus(status), (Kind.MALFORMED if status < 500 else Kind.INTERNAL, "see /openapi.json")
    )
    return ApiError(kind, detail, hint, headers=headers)


def responses(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of an endpoint that may fail in these ways."""
    documented: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        entry = documented.setdefault(
            kind.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )
        line = f"{kind.title} (`{kind.type}`)."
        entry["description"] = f"{entry['description']} {line}".strip()
    return documented
