"""The Merkle tree of the transparency log, as in RFC 6962 section 2.1 (SHA-256). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

LEAF = b"\x00"
NODE = b"\x01"
"""Domain separation: no leaf can be taken for a node (RFC 6962 section 2.1)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one log entry."""
    return hashlib.sha256(LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return hashlib.sha256(NODE + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; without leaves it is SHA-256 of nothing.

    An odd subtree moves up a level unchanged, which gives the RFC's shape (split at the largest power of
    two).
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of the leaf at `index`, from the bottom up (RFC 6962 section 2.1.1)."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"the log has {len(leaves)} entries, there is no entry {index}")
    path: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level, index = above, index // 2
    return path


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Check an audit path against a root of a tree of `size` leaves."""
    if not 0 <= index < size:
        return False
    hashed, last, rest = leaf, size - 1, list(path)
    while last:
        if index % 2:
            if not rest:
                return False
            hashed = node_hash(rest.pop(0), hashed)
        elif index < last:
            if not rest:
                return False
            hashed = node_hash(hashed, rest.pop(0))
        index, last = index // 2, last // 2
    return not rest and hashed == expected_root
