"""Actions as the engine makes them: complete with lock id."""

from __future__ import annotations

from bridge.protocol.types import LockTerms, Preimage, Purpose
from relayers.port import Action, ChainPort


def lock(port: ChainPort, terms: LockTerms) -> Action:
    return Action(Purpose.LOCK, terms, port.lock_id(terms))


def claim(port: ChainPort, terms: LockTerms, preimage: Preimage) -> Action:
    return Action(Purpose.CLAIM, terms, port.lock_id(terms), preimage)


def refund(port: ChainPort, terms: LockTerms) -> Action:
    return Action(Purpose.REFUND, terms, port.lock_id(terms))


def cooperative_refund(port: ChainPort, terms: LockTerms) -> Action:
    return Action(Purpose.COOPERATIVE_REFUND, terms, port.lock_id(terms))
