"""Actions as the engine makes them: complete with lock id."""

from __future__ import annotations

from bridge.chains.port import Action, ChainPort
from bridge.protocol.types import LockTerms, Preimage, Purpose


def lock(port: ChainPort, terms: LockTerms) -> Action:
    return Action(Purpose.LOCK, terms, port.lock_id(terms))


def claim(port: ChainPort, terms: LockTerms, preimage: Preimage) -> Action:
    return Action(Purpose.CLAIM, terms, port.lock_id(terms), preimage)


def refund(port: ChainPort, terms: LockTerms) -> Action:
    return Action(Purpose.REFUND, terms, port.lock_id(terms))


def cooperative_refund(port: ChainPort, terms: LockTerms) -> Action:
    return Action(Purpose.COOPERATIVE_REFUND, terms, port.lock_id(terms))
