"""The word list finds what it is for, where it is for, and nothing else."""

from __future__ import annotations

import pytest

from scripts.check_words import NEVER, RULES, check, covered, tracked


def texts(path: str, text: str) -> list[tuple[int, str]]:
    return [(one.line, one.text) for one in check(path, text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It stays for ever.", "for ever"),
        ("A quote is good for 30 s.", "is good for"),
        ("This keeps nobody waiting.", "keeps nobody waiting"),
        ("He claims with the own wallet.", "the own"),
        ("A node that talks nonsense.", "talks nonsense"),
        ("Good. Who has no ZION lets the relayer claim.", ". Who has"),
        ("Who has no ZION lets the relayer claim.", "Who has"),
        ("Whoever holds it may claim.", "Whoever"),
        ("This is no address of that chain.", "is no address"),
        ("It was sent in vain.", "in vain"),
    ],
)
def test_an_expression_is_found(text: str, found: str) -> None:
    assert [said for _, said in texts("docs/a.md", text)] == [found]


@pytest.mark.parametrize(
    "text",
    [
        "There is no lock.",
        "It is no longer open.",
        "Who has the key?",
        "The user who has the key claims.",
        "It lasts forever.",
        "Your own wallet.",
        "`for ever` is code.",
        "```\nfor ever\n```\n",
        "<!-- generated: commands -->\nfor ever\n<!-- end of commands -->",
    ],
)
def test_plain_words_and_code_are_left_alone(text: str) -> None:
    assert texts("docs/a.md", text) == []


def test_a_phrase_is_found_across_lines_with_the_line_where_it_starts() -> None:
    assert texts("docs/a.md", "First.\n\nIt stays for\never.\n") == [(3, "for ever")]


def test_python_is_searched_in_comments_docstrings_and_messages_only() -> None:
    source = (
        '"""It stays for\never."""\nanew = 1\n# It goes in\n# vain\nraise ValueError(f"{anew} is good for")\n'
    )
    assert texts("bridge/a.py", source) == [(1, "for ever"), (4, "in vain"), (6, "is good for")]


def test_comments_that_do_not_touch_are_not_one_sentence() -> None:
    assert texts("bridge/a.py", "# it goes in\nx = 1\n# vain\n") == []


def test_every_rule_says_what_to_write_and_why() -> None:
    for rule in RULES:
        assert rule.instead, rule.pattern
        assert rule.why, rule.pattern


def test_the_list_of_what_is_not_covered_names_what_exists() -> None:
    assert covered("README.md")
    assert not covered("scripts/check_words.py")
    paths = tracked()
    assert [start for start in NEVER if not any(path.startswith(start) for path in paths)] == []
