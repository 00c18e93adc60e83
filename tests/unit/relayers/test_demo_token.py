"""The committed demo token is what its source compiles to."""

from __future__ import annotations

import json

from scripts.build_demo_token import ARTIFACT, build


def test_the_artifact_is_what_the_source_compiles_to() -> None:
    assert json.loads(ARTIFACT.read_text()) == build(), "run `python scripts/build_demo_token.py`"
