"""Plain words: finds expressions that read translated or old-fashioned, and says what to write instead.

Usage: python -m scripts.check_words [FILE …]      (without files: everything that git tracks)

Looked at are Markdown, and in Python comments, docstrings and other strings; in other source files the whole
text. A phrase is found across line breaks. Code spans, code blocks and generated tables in Markdown are left
out. The list grows when somebody stumbles over an expression: it holds what we would not want to read again,
with the reason.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Rule:
    """An expression (a pattern; a blank stands for any white space), what to write instead, and why."""

    pattern: str
    instead: str
    why: str

    def compiled(self) -> re.Pattern[str]:
        """Return the pattern, ready to be used."""
        return re.compile(self.pattern.replace(" ", r"[\s#]+"), re.IGNORECASE)


_VERBS = (
    "has|had|adds|asks|claims|comes|gives|got|keeps|knows|leads|led|likes|locks|loses|makes|mines|needs|pays|sends|"
    "takes|wants|writes"
)
_COMPARED = (
    "longer|more|fewer|later|earlier|less|easier|deeper|higher|lower|greater|larger|smaller|sooner|other way"
)

RULES = (
    Rule(
        r"\bfor ever\b",
        "permanently, forever, or never …",
        "old-fashioned as two words, and mostly not needed",
    ),
    Rule(
        r"\b(?:is|are|was|stays?) good (?:for|until|till|only|as long)\b",
        "is valid for, lasts, serves",
        "word for word from another language",
    ),
    Rule(
        r"\bkeeps? (?:nobody|no other|none)\b(?! waiting)",
        "does not block the others",
        "usual order is easier to read",
    ),
    Rule(r"\bkeeps? (?:\w+ ){1,4}waiting\b", "blocks, delays", "says the same in one word"),
    Rule(r"\bthe own\b", "your own, their own, its own", "English says whose"),
    Rule(r"\bone's own\b", "your own", "speak to the reader"),
    Rule(r"\b(?:talks?|speaks?) nonsense\b", "answers with something else than …", "say what is wrong"),
    Rule(r"\b(?:told|shown|said) now\b", "reported now", "unusual"),
    Rule(
        rf"(?:[.;:]\s+|\A\W*|\n\n|\|\s*)who (?:{_VERBS})\b(?![^.]*\?)",
        "users who …",
        "a clause as the subject reads translated",
    ),
    Rule(r"\bwho(?:so|m)?ever\b", "name them: the sender, anybody", "stiff"),
    Rule(r"\bin vain\b", "without effect, for nothing", "old-fashioned"),
    Rule(
        rf"(?<!there\s)\b(?:is|are|was|were) no (?!{_COMPARED})\w+",
        "is not a …, has no …",
        "the negation belongs to the verb",
    ),
    Rule(r"\banew\b", "again", "usual word"),
    Rule(r"\bmend(?:s|ed|ing)?\b", "fix, correct", "usual word"),
    Rule(r"\b(?:a|any|the) mistakes? of ours\b", "a bug", "usual word"),
    Rule(
        r"\b(?:here|there|where)(?:by|of|in|upon|with|from)\b(?<!wherein)(?<!thereby)",
        "name the thing",
        "legal style",
    ),
    Rule(
        r"\b(?:wherein|thereby|hitherto|henceforth|forthwith|whilst|amongst)\b",
        "use a plain word",
        "old-fashioned",
    ),
    Rule(r"\bshall\b", "must, will", "legal style"),
    Rule(r"\bdear(?:er|est)?\b", "expensive", "dear means beloved"),
    Rule(r"\bstands? (?:once|twice|there|written|beside|with it)\b", "is, is defined, is listed", "unusual"),
    Rule(r"\bevery look\b|\beach look\b|\bits looks at\b|\blooks at one\b", "check, query", "look is a verb"),
    Rule(r"\bfor nothing\b", "free of charge, without effect", "ambiguous"),
    Rule(
        r"\bof who (?:has|gives|knows|pays)\b|\bby who (?:has|knows|leads|locks)\b",
        "by those who …",
        "not English",
    ),
    Rule(r"\b(?:a |the )?(?:rider|carrier)s?\b", "batch member, batch leader", "the glossary's words"),
    Rule(r"\bis to be (?:had|seen|found)\b", "can be …", "stiff"),
    Rule(r"\b(?:have|has|had|be) (?:it )?back by\b", "is returned by", "unusual"),
    Rule(r"\bpaperwork\b", "wallet transactions", "the glossary's words"),
    Rule(r"\bgoes? up in\b|\bmakes? it so that\b", "use a plain verb", "unusual"),
    Rule(r"\bblacken\b", "clutter", "unusual"),
    Rule(r"\bbears? their\b|\bbears? (?:a|the) names?\b", "has, is called", "old-fashioned"),
    Rule(r"\bbe it\b", "whether", "old-fashioned"),
    Rule(
        r"\b(?:as|if|when|that) one (?:knows|can|has to|must)\b",
        "you can, you have to",
        "speak to the reader",
    ),
)
"""What is looked for, in all covered files."""

NEVER = (
    "scripts/check_words.py",  # it quotes what it looks for
    "tests/unit/documents/test_words.py",  # so does this
    "scripts/locks/",
    "scripts/toolchain/package-lock.json",
    "LICENSE",
)
PROSE = {".md"}
SOURCE = {".sol", ".c", ".h", ".toml", ".yaml", ".yml", ".html", ".js", ".ts", ".mako"}
GENERATED = re.compile(r"<!-- generated: ([^>]+) -->.*?<!-- end of \1 -->", re.DOTALL)
FILLED_IN = re.compile(r"\{[^{}\n]*\}")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """Where an expression was found."""

    path: str
    line: int
    text: str
    rule: Rule

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: “{self.text}”: say: {self.rule.instead} ({self.rule.why})"


def check(path: str, text: str) -> list[Finding]:
    """Return what is to be said otherwise in a file's text; `path` decides how it is read."""
    suffix = Path(path).suffix
    if suffix in PROSE:
        parts = [(1, _without_code(text))]
    elif suffix == ".py":
        parts = list(_python(text))
    elif suffix in SOURCE or Path(path).name == "Makefile":
        parts = [(1, text)]
    else:
        return []
    return sorted(
        (_finding(path, first, part, found, rule) for first, part in parts for rule, found in _matches(part)),
        key=lambda one: one.line,
    )


def covered(path: str) -> bool:
    """Tell whether a file's prose is checked."""
    return not path.startswith(NEVER)


def tracked() -> list[str]:
    """Return the paths that git tracks or would track, from the repository's root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(path for path in set(listed.stdout.splitlines()) if (ROOT / path).is_file())


_COMPILED = tuple((rule, rule.compiled()) for rule in RULES)


def _matches(text: str) -> Iterator[tuple[Rule, re.Match[str]]]:
    for rule, pattern in _COMPILED:
        for found in pattern.finditer(text):
            yield rule, found


def _finding(path: str, first: int, text: str, found: re.Match[str], rule: Rule) -> Finding:
    line = first + text.count("\n", 0, found.start())
    return Finding(path, line, " ".join(found[0].replace("#", " ").split()), rule)


def _without_code(text: str) -> str:
    """Blank out code and generated tables; line numbers stay."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0]) if "\n" in found[0] else "`…`"

    return CODE.sub(blank, GENERATED.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text))


def _python(text: str) -> Iterator[tuple[int, str]]:
    """Yield (first line, text) of each run of comment lines and each string."""
    strings = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    comments: list[str] = []
    start = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] != start + len(comments):
                yield start, "\n".join(comments)
                comments = []
            start = start if comments else token.start[0]
            comments.append(token.string)
        elif token.type in strings and len(token.string.split()) > 1:  # a single word may be a name in code
            yield token.start[0], _words_of(token.string)
    if comments:
        yield start, "\n".join(comments)


def _words_of(literal: str) -> str:
    """Return a string literal without code spans and, of an f-string, without what is filled in."""
    if "f" in literal.partition(literal[-1])[0].lower():
        literal = FILLED_IN.sub("{}", literal)
    return CODE.sub("`…`", literal)


def main() -> None:
    wanted = [str(Path(name).resolve().relative_to(ROOT)) for name in sys.argv[1:]] or tracked()
    found = [
        one
        for path in wanted
        if covered(path)
        for one in check(path, (ROOT / path).read_text(encoding="utf-8", errors="replace"))
    ]
    for one in found:
        print(one)
    if found:
        sys.exit(f"{len(found)} expressions to say more plainly; the list is in scripts/check_words.py")


if __name__ == "__main__":
    main()
