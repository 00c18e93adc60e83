"""Which sequence (nonce) the next transaction of an account uses, reconciled between chain and store."""

from __future__ import annotations

from collections.abc import Collection

from bridge.chains.port import PortUnavailable


def allocate(confirmed: int, held: Collection[int], floor: int) -> int:
    """Return the lowest free sequence: at least what the chain has confirmed, not held by a stored
    transaction that may still land, and so filling any gap first.

    `floor` is one more than the highest sequence that we know to be used finally. Raises `PortUnavailable`
    if the chain knows less than that: the node lags behind, and what it says cannot be built upon.
    """
    if confirmed < floor:
        raise PortUnavailable(
            f"the node says that sequence {confirmed} is next, but {floor - 1} is used finally",
            "wait until the node has caught up, or use another one",
        )
    sequence = confirmed
    while sequence in held:
        sequence += 1
    return sequence


def gaps(confirmed: int, held: Collection[int]) -> list[int]:
    """Return the sequences that keep later, already signed ones from being included, lowest first."""
    if not held:
        return []
    return [sequence for sequence in range(confirmed, max(held)) if sequence not in held]
