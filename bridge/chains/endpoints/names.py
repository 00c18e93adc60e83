"""What endpoints are called. Their URLs hold API keys: messages show the host and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

_SHORTEST_SECRET = 6
"""Characters. Shorter parts of a path are words like "v3" and "rpc"."""


def host_of(url: str) -> str:
    """Return the host of a URL, without user, port, path and query; "?" where there is none."""
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def endpoint_names(urls: Sequence[str], what: str) -> tuple[str, ...]:
    """Return what messages call each of these endpoints: "the EVM RPC, endpoint 2 of 3 (example.org)"."""
    count = len(urls)
    return tuple(f"{what}, endpoint {at} of {count} ({host_of(url)})" for at, url in enumerate(urls, 1))


def redacted(words: str, url: str) -> str:
    """Return an endpoint's words without the URL and the parts of it that may be keys: some repeat them."""
    parts = urlsplit(url)
    secrets = [url, parts.query, parts.username or "", parts.password or ""]
    secrets += [value for pair in parts.query.split("&") for value in pair.split("=")[1:]]
    secrets += [part for part in parts.path.split("/") if len(part) >= _SHORTEST_SECRET]
    secrets += [unquote(secret) for secret in secrets]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        words = words.replace(secret, "…")
    return words
