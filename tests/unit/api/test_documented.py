"""docs/api.md lists the API that there is."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from scripts.write_reference import ROOT

CALL = re.compile(r"\b(GET|POST|PUT|DELETE) (/v1/[a-z/{}_-]*)")


def operations(document: dict[str, Any]) -> set[str]:
    return {
        f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path)}"
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/v1/") and not path.startswith("/v1/admin/")
    }


def test_the_version_in_the_api_is_the_projects(client: TestClient, app: FastAPI) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert app.openapi()["info"]["version"] == project["version"]
    assert client.get("/healthz").json()["version"] == project["version"]


def test_the_documents_list_every_call_of_the_api_and_no_other(app: FastAPI) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = {f"{method} {re.sub(r'{[^}]*}', '{}', path)}" for method, path in CALL.findall(text)}
    assert listed == operations(app.openapi())
