"""The index of the decision records in docs/decisions, read from their heads.

A record starts with `# NNNN: Title`, then a line `- Status: …` and a line `- Date: …`;
docs/decisions/template.md shows it. Statuses: proposed, accepted, or superseded by another record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.reference.markdown import table

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
HEAD = re.compile(
    r"# (?P<number>\d{4}): (?P<title>[^\n]+)\n\n"
    r"- Status: (?P<status>proposed|accepted|superseded by \d{4})\n"
    r"- Date: (?P<date>\d{4}-\d\d-\d\d(, revised \d{4}-\d\d-\d\d)?)\n\n"
)
GROUPS = {
    "000": "The project",
    "001": "Kernels",
    "002": "The ZION chain",
    "003": "EVM chains",
    "004": "The swap protocol",
    "005": "Store and engine",
    "006": "Relayers",
    "007": "API, client and command line",
    "008": "Solana",
    "009": "Cardano",
    "010": "Stellar",
    "011": "Endpoints",
    "012": "Restoring what was lost",
    "013": "Checking and speed of the engine",
    "014": "Stellar on Soroban",
    "015": "Prices, risk and books",
    "016": "The ZION network",
    "017": "ZQAL; proofs of outcomes",
    "022": "Stellar: parties, tokens, upkeep",
}
"""The first three digits of a number → what the decision is about."""


class BadRecordError(Exception):
    """A decision record's head is not as the template has it."""


@dataclass(frozen=True)
class Record:
    """The head of one decision record."""

    path: Path
    number: str
    title: str
    status: str
    date: str


def read(path: Path) -> Record:
    """Return a record's head. Raises `BadRecordError` with what is wrong."""
    found = HEAD.match(path.read_text(encoding="utf-8"))
    if found is None:
        raise BadRecordError(
            f"{path.name}: start it as docs/decisions/template.md does (title, status, date)"
        )
    if not path.name.startswith(f"{found['number']}-"):
        raise BadRecordError(f"{path.name}: its title says {found['number']}")
    if found["number"][:3] not in GROUPS:
        raise BadRecordError(
            f"{path.name}: no group {found['number'][:3]}; add it to scripts/reference/decisions.py"
        )
    return Record(path, found["number"], found["title"], found["status"], found["date"])


def records(folder: Path = FOLDER) -> list[Record]:
    """Return all records by number. Raises `BadRecordError`, also for a number used twice."""
    found: dict[str, Record] = {}
    for path in sorted(folder.glob("[0-9]*.md")):
        record = read(path)
        if record.number in found:
            raise BadRecordError(f"{path.name}: the number is taken by {found[record.number].path.name}")
        found[record.number] = record
    return list(found.values())


def index() -> str:
    """Return one table for each group of decisions."""
    return "\n\n".join(_groups())


def _groups() -> Iterator[str]:
    everything = records()
    for digits, name in GROUPS.items():
        group = [record for record in everything if record.number.startswith(digits)]
        if group:
            rows = [
                (f"[{record.number}]({record.path.name})", record.title, record.status, record.date)
                for record in group
            ]
            yield f"## {name}\n\n" + table(("", "decision", "status", "date"), rows)
