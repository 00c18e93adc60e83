"""The API's problem types (RFC 9457), read from `bridge.api.problems`."""

from __future__ import annotations

from bridge.api.problems import Kind
from scripts.reference.markdown import code, table


def problem_types() -> str:
    """Return the table of the problem types, by HTTP status."""
    kinds = sorted(Kind, key=lambda kind: (kind.status, kind.type))
    rows = [(code(kind.type.rpartition(":")[2]), str(kind.status), kind.title) for kind in kinds]
    return table(("type `urn:rainbow:problem:…`", "status", "title"), rows)
