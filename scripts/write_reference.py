"""Write the reference tables of the documents from the code, between marks in the Markdown files.

Usage: python -m scripts.write_reference [--check]

A document says where a table goes with two comments, `<!-- generated: NAME -->` and `<!-- end of NAME -->`.
What stands between them is written by this script and by nobody else.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.draw_protocol import drawing
from scripts.reference import commands, configuration, decisions, evm_networks, formats, problems

ROOT = Path(__file__).parents[1]
TABLES: dict[str, Callable[[], str]] = {
    "commands": commands.reference,
    "configuration keys": configuration.reference,
    "EVM networks": evm_networks.networks,
    "decisions": decisions.index,
    "problem types": problems.problem_types,
    "swap states": drawing,
    "wallet formats": formats.wallet_formats,
}
"""What can stand between two marks: its name there → the function that makes it."""
BLOCK = re.compile(r"<!-- generated: (?P<name>[^>]+) -->\n.*?<!-- end of (?P=name) -->", re.DOTALL)
BEGIN = "<!-- generated: "


class BadMarkError(Exception):
    """A document's marks are incomplete, or name no table."""


def documents() -> Iterator[Path]:
    """Yield the Markdown files that may hold tables."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def names(text: str) -> list[str]:
    """Return the tables that a document holds."""
    return [found["name"] for found in BLOCK.finditer(text)]


def brought_up_to_date(text: str) -> str:
    """Return the document with every table written again. Raises `BadMarkError`."""
    if text.count(BEGIN) != len(names(text)):
        raise BadMarkError("a `<!-- generated: NAME -->` has no `<!-- end of NAME -->`")
    return BLOCK.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    name = found["name"]
    if name not in TABLES:
        raise BadMarkError(f"there is no table {name!r}; there are: {', '.join(TABLES)}")
    return f"<!-- generated: {name} -->\n\n{TABLES[name]()}\n\n<!-- end of {name} -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which documents are out of date")
    args = parser.parse_args()
    stale = []
    for document in documents():
        before = document.read_text(encoding="utf-8")
        after = brought_up_to_date(before)
        if after != before:
            stale.append(str(document.relative_to(ROOT)))
            if not args.check:
                document.write_text(after, encoding="utf-8")
    if args.check and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run python -m scripts.write_reference")


if __name__ == "__main__":
    main()
