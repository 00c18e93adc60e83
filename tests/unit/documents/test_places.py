"""Every file and definition that the documents name exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.reference.places import missing, named
from scripts.write_reference import ROOT, documents

PAGES = [page for page in documents() if page.parent.name != "decisions"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_place_that_a_page_names_exists(page: Path) -> None:
    assert missing(page.read_text(encoding="utf-8")) == []


def test_the_map_and_the_glossary_name_many_places() -> None:
    for name in ("architecture.md", "glossary.md"):
        assert len(named((ROOT / "docs" / name).read_text(encoding="utf-8"))) > 20, name


def test_a_file_and_a_definition_that_do_not_exist_are_found(tmp_path: Path) -> None:
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge" / "here.py").write_text("def there() -> None: ...\nclass Also: ...\n")
    text = "`bridge/here.py::there` `bridge/here.py::Also` `bridge/here.py::gone` `bridge/gone.py` `bridge/`"
    assert missing(text, tmp_path) == ["bridge/gone.py", "bridge/here.py::gone"]
