"""`rainbow swap …`: a user's own swaps, safe against crashes and against the bridge.

What signs or reads a chain is imported where it is used: looking at a swap needs none of it.
"""

from __future__ import annotations

from bridge.commands.swap import begin, claim, look, proof, refund
from bridge.commands.swap.app import app

__all__ = ["app", "begin", "claim", "look", "proof", "refund"]
