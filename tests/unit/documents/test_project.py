"""What the project's papers name exists: versions, commands, make targets, links, changelog fragments."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli import app
from scripts.reference import commands
from scripts.write_reference import ROOT

FRAGMENT = re.compile(r"(?:\d+|\+[a-z0-9-]+)\.(?:added|changed|fixed|removed|security)(?:\.\d+)?\.md")
LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
)
PAPERS = sorted(
    ROOT / name
    for name in LISTED.stdout.splitlines()
    if name.endswith(".md") or name.startswith(".github/") or name == ".pre-commit-config.yaml"
)
MARKDOWN = [path for path in PAPERS if path.suffix == ".md"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_version_stands_once_and_everything_says_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert version("rainbow-bridge") == project["version"], "run make setup"
    said = CliRunner().invoke(app, ["version", "--json"])
    assert json.loads(said.output)["version"] == project["version"]


def test_changelog_fragments_have_names_and_texts_that_the_release_notes_can_use() -> None:
    for path in sorted((ROOT / "changelog.d").iterdir()):
        if path.name != "README.md":
            assert FRAGMENT.fullmatch(path.name), f"{path.name}: see changelog.d/README.md"
            text = path.read_text(encoding="utf-8")
            assert text.strip(), f"{path.name} is empty"
            assert not text.startswith(("-", "*", "#")), f"{path.name}: the release notes add the bullet"


TARGETS = set(re.findall(r"^([a-z][a-z_-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
IN_MARKDOWN = re.compile(r"`make ([a-z][a-z-]*)|^make ([a-z][a-z-]*)(?:  |$| [A-Z]+=)", re.MULTILINE)
IN_WORKFLOWS = re.compile(r"(?:run: |- )make ([a-z][a-z-]*)()")


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_every_make_target_that_a_paper_names_exists(paper: Path) -> None:
    pattern = IN_MARKDOWN if paper.suffix == ".md" else IN_WORKFLOWS
    named = {found[0] or found[1] for found in pattern.findall(paper.read_text(encoding="utf-8"))}
    assert named <= TARGETS


LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("paper", MARKDOWN, ids=name_of)
def test_every_link_leads_somewhere(paper: Path) -> None:
    for target, anchor in LINK.findall(paper.read_text(encoding="utf-8")):
        found = (paper.parent / target).resolve() if target else paper
        assert found.exists(), f"{name_of(paper)} links to {target}"
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), f"{name_of(paper)}: #{anchor}"


def calls(text: str) -> list[tuple[str, list[str]]]:
    """Return the `rainbow …` commands in code spans and code blocks, with the options they are given."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    blocks = re.findall(r"```(?:sh|bash)?\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = []
    for code in [*spans, *lines]:
        command = re.sub(r"\s#.*", "", code)
        for call in re.findall(r"(?:^|[\s/])rainbow ([^&|;]+)", command):
            words = call.split()
            options = [word.partition("=")[0] for word in words if word.startswith("--")]
            found.append((" ".join(word for word in words if not word.startswith("-")), options))
    return found


KNOWN = {one.name: one.options for one in commands.commands()}
GROUPS = {name.partition(" ")[0] for name in KNOWN if " " in name}


@pytest.mark.parametrize("paper", [path for path in MARKDOWN if path.name != "CHANGELOG.md"], ids=name_of)
def test_every_command_that_a_paper_names_exists_with_its_options(paper: Path) -> None:
    for call, options in calls(paper.read_text(encoding="utf-8")):
        words = [word for word in call.split() if word != "…"]
        if not words:
            continue  # `rainbow --help`, `rainbow …`
        name = " ".join(words[:2]) if words[0] in GROUPS else words[0]
        if name in GROUPS:
            continue  # the group itself, `rainbow swap …`
        assert name in KNOWN, f"{name_of(paper)}: rainbow {call}"
        assert set(options) - {"--help"} <= KNOWN[name], f"{name_of(paper)}: rainbow {call} {options}"


def test_a_command_is_found_with_its_options_in_spans_and_blocks() -> None:
    text = (
        "Run `rainbow swap claim <id> --relayed`.\n```\n.venv/bin/rainbow init \\\n    --dir x  # note\n```\n"
    )
    assert calls(text) == [("swap claim <id>", ["--relayed"]), ("init x", ["--dir"])]
