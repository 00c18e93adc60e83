"""A witness: keeps the newest tree head that it found consistent, and accepts no other history."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bridge.proofs.notes import read_head
from bridge.protocol import merkle
from kernels.errors import RainbowError


class ForkError(RainbowError):
    """The log's history was changed: both notes together prove it to anybody."""


class Seen(msgspec.Struct, frozen=True):
    """What a witness keeps of one log: its key (hex) and its newest consistent head."""

    public_key: str
    note: str


def needs_proof(seen: Seen | None, note: str, public_key: str) -> tuple[int, int] | None:
    """Return between which sizes a consistency proof is needed, None if none is. Raises `NoteError`, and
    `ForkError` where the heads contradict each other already."""
    head = read_head(note, public_key)
    if seen is None:
        return None
    if seen.public_key != public_key:
        raise ForkError("the log signs with another key now", "ask the operator why, and keep the old note")
    old = read_head(seen.note, public_key)
    if head.size < old.size:
        raise ForkError(
            f"the log had {old.size} entries and shows {head.size}", "keep both notes: leaves were dropped"
        )
    if head.size == old.size:
        if head.root != old.root:
            raise ForkError(
                f"the log has two roots at {old.size} entries", "keep both notes: they prove a fork"
            )
        return None
    return (old.size, head.size) if old.size else None


def accept(seen: Seen | None, note: str, public_key: str, path: Sequence[bytes]) -> Seen:
    """Return what to keep after a head and its consistency proof. Raises `NoteError`, `ForkError`."""
    needed = needs_proof(seen, note, public_key)
    if seen is not None and needed is not None:
        old, new = read_head(seen.note, public_key), read_head(note, public_key)
        if not merkle.is_consistent(old.size, new.size, path, old.root, new.root):
            raise ForkError(
                f"the log of {new.size} entries does not go on from that of {old.size}",
                "keep both notes: an entry was changed, dropped or put in between",
            )
    return Seen(public_key, note)
