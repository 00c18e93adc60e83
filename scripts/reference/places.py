"""Files and definitions that the documents name, `path` or `path::name`, and whether they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("bridge", "relayers", "chain", "kernels", "contracts", "scripts", "tests", "docs", "web", "deploy")
PLACE = re.compile(r"`((?:" + "|".join(FOLDERS) + r")/[\w./-]*)(?:::(\w+))?`")


def named(text: str) -> list[tuple[str, str]]:
    """Return the (path, name) pairs that a document names in code spans; name is "" for a file or folder."""
    return sorted(set(PLACE.findall(text)))


def missing(text: str, root: Path = ROOT) -> list[str]:
    """Return the places that a document names and that do not exist."""
    return [
        f"{path}::{name}" if name else path for path, name in named(text) if not _exists(root / path, name)
    ]


def _exists(path: Path, name: str) -> bool:
    return path.exists() if not name else path.is_file() and name in _definitions(path)


@cache
def _definitions(path: Path) -> frozenset[str]:
    """The functions and classes at the top of a module."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(
        one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )
