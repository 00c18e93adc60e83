"""What is written about the protocol is what the protocol does."""

from __future__ import annotations

from bridge.protocol.types import SwapState
from scripts.draw_protocol import DOCUMENT, drawn_into, edges


def test_the_state_diagram_in_the_documents_is_drawn_from_the_code_of_today() -> None:
    document = DOCUMENT.read_text()
    assert drawn_into(document) == document, "run python -m scripts.draw_protocol"


def test_every_public_state_is_drawn_and_explained() -> None:
    drawn = {state for edge in edges() for state in edge}
    assert drawn == set(SwapState)
    document = DOCUMENT.read_text()
    for state in SwapState:
        assert f"| `{state.value}` |" in document
