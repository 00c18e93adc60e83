"""The journal of accepted swaps keeps what was written, and shows what was done to it."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from bridge.engine.journal import Journal, JournalEntry
from bridge.store import StoreUnavailableError


def _entry(number: int) -> JournalEntry:
    return JournalEntry(f"swap{number}", f'{{"number":{number}}}', "ab" * 64, "", number)


def _filled(path: Path, count: int = 4) -> Journal:
    journal = Journal(path / "accepted.journal")
    for number in range(count):
        journal.append(_entry(number))
    return journal


def _ids(journal: Journal) -> list[str]:
    return [entry.swap_id for entry in journal.read().entries]


def test_what_was_written_is_read_in_order_and_only_by_its_owner(tmp_path: Path) -> None:
    journal = _filled(tmp_path)
    report = journal.read()
    assert [entry.swap_id for entry in report.entries] == ["swap0", "swap1", "swap2", "swap3"]
    assert report.damage == ()
    assert journal.path.stat().st_mode & 0o077 == 0


def test_a_journal_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none").read().entries == ()


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_line_taken_out_of_the_middle_shows_and_the_rest_is_read(tmp_path: Path, line: int) -> None:
    journal = _filled(tmp_path)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    del lines[line]
    journal.path.write_bytes(b"".join(lines))
    report = journal.read()
    assert len(report.entries) == 3
    assert report.damage == (f"line {line + 1} does not follow the line before it",)


def test_a_changed_line_shows(tmp_path: Path) -> None:
    journal = _filled(tmp_path)
    journal.path.write_bytes(journal.path.read_bytes().replace(b"swap1", b"swapX"))
    assert journal.read().damage == ("line 3 does not follow the line before it",)


def test_a_line_that_cannot_be_read_is_named_and_passed_over(tmp_path: Path) -> None:
    journal = _filled(tmp_path)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\x00\xff nonsense\n"
    journal.path.write_bytes(b"".join(lines))
    assert _ids(journal) == ["swap0", "swap2", "swap3"]
    assert journal.read().damage == (
        "line 2 cannot be read",
        "line 3 does not follow the line before it",
    )


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_an_entry_that_a_crash_cut_off_is_no_damage_and_is_removed(tmp_path: Path, cut: int) -> None:
    journal = _filled(tmp_path)
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-cut])
    assert _ids(journal) == ["swap0", "swap1", "swap2"]
    assert journal.read().damage == ()
    journal.append(_entry(3))
    assert journal.path.read_bytes() == whole


def test_a_disk_that_takes_nothing_is_an_error_that_may_pass(tmp_path: Path) -> None:
    journal = _filled(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="cannot be written") as caught:
        Journal(tmp_path / "file" / "journal").append(_entry(1))
    assert caught.value.hint
    assert journal.read().damage == ()


def _write_many(path: Path, first: int) -> None:
    journal = Journal(path)
    for number in range(first, first + 30):
        journal.append(_entry(number))


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "accepted.journal"
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=_write_many, args=(path, first)) for first in (0, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    report = Journal(path).read()
    assert report.damage == ()
    assert len({entry.swap_id for entry in report.entries}) == 90
