"""Who is asking: a client, known by a token it made itself, or an operator, known by a configured key.

A client token is any secret of 32 to 128 URL-safe characters; the service stores only its SHA-256 and lists
the swaps made with it. An operator's key is compared by its SHA-256, too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bridge.api.problems import ApiError, Kind
from bridge.api.services import Use
from bridge.config import ApiKey

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,128}")

_client_scheme = HTTPBearer(
    scheme_name="client",
    description="A token you make yourself: 32 to 128 of A–Z a–z 0–9 _ -",
    auto_error=False,
)
operator_credentials = HTTPBearer(
    scheme_name="operator", description="An operator's key with the scope named", auto_error=False
)

OPTIONAL: dict[str, Any] = {"security": [{}]}
"""Added to an operation's OpenAPI entry: it also works without credentials."""

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="rainbow"'}


def client_address(request: Request) -> str:
    """Return the client that limits apply to."""
    return str(request.state.client)


def owner_of(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_client_scheme)],
) -> str:
    """Return the name of the client's own list of swaps, "" without a token."""
    if credentials is None:
        return ""
    if not _TOKEN.fullmatch(credentials.credentials):
        raise ApiError(
            Kind.UNAUTHORIZED,
            "this is not a client token",
            "make one of 32 to 128 characters A–Z a–z 0–9 _ -, e.g. with `openssl rand -hex 32`",
            headers=_CHALLENGE,
        )
    return hashlib.sha256(b"rainbow client token:" + credentials.credentials.encode()).hexdigest()


def required_owner(owner: Annotated[str, Depends(owner_of)]) -> str:
    """Return the client's name; a token is needed."""
    if not owner:
        raise ApiError(
            Kind.UNAUTHORIZED,
            "a client token is needed",
            "send `Authorization: Bearer TOKEN` with the token that the swaps were made with",
            headers=_CHALLENGE,
        )
    return owner


def operator(scope: str) -> Callable[..., str]:
    """Return a dependency that gives the name of an operator whose key has `scope`."""

    def check(
        services: Use,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(operator_credentials)],
    ) -> str:
        given = credentials.credentials if credentials else ""
        key = find_key(services.settings.api.keys, given) if given else None
        if key is None:
            raise ApiError(
                Kind.UNAUTHORIZED,
                "an operator's key is needed",
                "send `Authorization: Bearer KEY` with a key listed under [[api.keys]]",
                headers=_CHALLENGE,
            )
        if scope not in key.scopes:
            raise ApiError(
                Kind.FORBIDDEN, f"the key {key.name!r} has no scope {scope!r}", "use a key that has it"
            )
        return key.name

    return check


def find_key(keys: tuple[ApiKey, ...], given: str) -> ApiKey | None:
    """Return the key whose digest fits, comparing all of them in constant time."""
    digest = hashlib.sha256(given.encode()).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key
    return found


ClientAddress = Annotated[str, Depends(client_address)]
Owner = Annotated[str, Depends(owner_of)]
RequiredOwner = Annotated[str, Depends(required_owner)]
