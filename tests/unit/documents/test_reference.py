"""The tables in the documents are what the code says today."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config.loading import OTHER_VARIABLES
from scripts.reference import configuration, decisions, formats
from scripts.write_reference import ROOT, TABLES, BadMarkError, brought_up_to_date, documents, names

DOCUMENTS = [document for document in documents() if names(document.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_shows_what_the_code_says(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert brought_up_to_date(text) == text, "run python -m scripts.write_reference"


def test_every_table_stands_in_a_document() -> None:
    used = {name for document in DOCUMENTS for name in names(document.read_text(encoding="utf-8"))}
    assert used == set(TABLES)


def test_a_mark_that_is_never_closed_is_refused() -> None:
    with pytest.raises(BadMarkError, match="no `<!-- end of NAME -->`"):
        brought_up_to_date("<!-- generated: problem types -->\n\nno end")


def test_a_mark_that_names_no_table_is_refused() -> None:
    with pytest.raises(BadMarkError, match="no table 'prices'"):
        brought_up_to_date("<!-- generated: prices -->\n<!-- end of prices -->")


def test_a_stale_table_is_found_and_the_text_around_it_is_kept() -> None:
    fresh = brought_up_to_date(
        "before\n\n<!-- generated: problem types -->\nold\n<!-- end of problem types -->\n\nafter"
    )
    assert fresh.startswith("before\n\n<!-- generated: problem types -->\n\n| type ")
    assert fresh.endswith("<!-- end of problem types -->\n\nafter")
    assert "old" not in fresh


def test_every_configuration_key_says_what_it_means() -> None:
    silent = [
        f"{section.head}.{key.name}"
        for section in configuration.sections()
        for key in section.keys
        if not key.meaning
    ]
    assert silent == [], "write a docstring below the field"


def test_every_environment_variable_is_listed() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in sorted(OTHER_VARIABLES) if f"`{name}`" not in text] == []


def test_every_wallet_format_says_what_a_wallet_does_with_it() -> None:
    assert [one.name for one in formats.formats() if not one.meaning] == []


def test_an_unsigned_transaction_names_its_format_by_a_declared_constant() -> None:
    assert formats.undeclared() == []


def test_a_format_that_is_written_out_is_found(tmp_path: Path) -> None:
    family = tmp_path / "sample"
    family.mkdir()
    (family / "wallet.py").write_text(
        'WALLET_FORMAT = "sample"\n"""Signs it."""\nUnsignedTx(WALLET_FORMAT)\n'
    )
    assert formats.undeclared(tmp_path) == []
    (family / "other.py").write_text('UnsignedTx("sample", "words", {})\n')
    assert formats.undeclared(tmp_path) == ["sample/other.py:1"]


RECORD = "# 0011: A title\n\n- Status: accepted\n- Date: 2026-11-23\n\nText.\n"


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("0011-a.md", RECORD.replace("accepted", "fine"), "start it as"),
        ("0011-a.md", RECORD.replace("- Date: 2026-11-23\n", ""), "start it as"),
        ("0012-a.md", RECORD, "its title says 0011"),
        ("0911-a.md", RECORD.replace("0011", "0911"), "no group 091"),
    ],
)
def test_a_decision_record_with_a_wrong_head_is_refused(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(decisions.BadRecordError, match=problem):
        decisions.records(tmp_path)


def test_a_decision_number_is_used_once(tmp_path: Path) -> None:
    (tmp_path / "0011-a.md").write_text(RECORD)
    (tmp_path / "0011-b.md").write_text(RECORD)
    with pytest.raises(decisions.BadRecordError, match=r"the number is taken by 0011-a.md"):
        decisions.records(tmp_path)


def test_a_record_says_when_it_was_revised(tmp_path: Path) -> None:
    path = tmp_path / "0011-a.md"
    path.write_text(RECORD.replace("2026-11-23", "2026-11-23, revised 2026-11-25"))
    assert decisions.read(path).date == "2026-11-23, revised 2026-11-25"
