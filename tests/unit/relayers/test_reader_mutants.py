"""The list of `make mutation-readers` fits the sources and the tests that it names."""

from __future__ import annotations

from collections import Counter

import pytest

from scripts.mutate_readers import ROOT, Mutant, mutants


def test_every_mutant_fits_its_source_in_one_place() -> None:
    listed = mutants()
    assert len(listed) > 80
    for mutant in listed:
        source = (ROOT / mutant.file).read_text()
        assert mutant.apply(source) != source, mutant.name
    named = Counter((mutant.file, mutant.name) for mutant in listed)
    assert [each for each, count in named.items() if count > 1] == []


def test_every_test_that_must_notice_a_mutant_exists() -> None:
    for mutant in mutants():
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).exists(), test
            assert not name or f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(), test


@pytest.mark.parametrize("source", ["", "check()\ncheck()\n"])
def test_a_mutant_whose_place_is_gone_or_is_two_is_told(source: str) -> None:
    mutant = Mutant("no check", "reader.py", "check()", "pass", ["tests"])
    with pytest.raises(ValueError, match=r"'no check' no longer fits reader.py \([02] places\)"):
        mutant.apply(source)
