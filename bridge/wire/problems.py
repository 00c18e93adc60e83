"""Errors as they go over the wire: RFC 9457 problems."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bridge.wire.base import Wire


class FieldProblem(Wire, frozen=True):
    """One thing wrong with a request; `pointer` is a JSON pointer into the body or names the parameter."""

    pointer: str
    message: str


class Problem(Wire, frozen=True, omit_defaults=True):
    """An error as RFC 9457 has it (application/problem+json), with a `hint` that says what to do.

    `type` is stable: programs may depend on it. `detail` is for people and may change.
    """

    type: Annotated[str, msgspec.Meta(examples=["urn:rainbow:problem:quote-expired"])]
    title: str
    status: int
    detail: str
    hint: str
    instance: Annotated[str, msgspec.Meta(description="The request's id, as in the X-Request-Id header.")] = (
        ""
    )
    errors: list[FieldProblem] | None = None
