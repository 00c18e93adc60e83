"""What is written about the protocol is what the protocol does."""

from __future__ import annotations

from bridge.protocol.types import SwapState
from scripts.draw_protocol import drawing, edges
from scripts.write_reference import ROOT

DOCUMENT = ROOT / "docs" / "swap-protocol.md"


def test_the_state_diagram_in_the_documents_is_drawn_from_the_code_of_today() -> None:
    assert drawing() in DOCUMENT.read_text(), "run python -m scripts.write_reference"


def test_every_public_state_is_drawn_and_explained() -> None:
    drawn = {state for edge in edges() for state in edge}
    assert drawn == set(SwapState)
    document = DOCUMENT.read_text()
    for state in SwapState:
        assert f"| `{state.value}` |" in document
