"""The Merkle tree of the transparency log, as in RFC 9162 section 2.1 (RFC 6962's tree, SHA-256). Pure.

Stored are the roots of all full subtrees: 2^level leaves that begin at a multiple of 2^level. They never
change, and each other subtree that a proof needs is folded together from at most log₂ n of them. A full
subtree has its place on a line, in the order of an in-order walk: leaf i is at 2i, a node between its two
halves. So a place is one number that stays the same while the tree grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

LEAF = b"\x00"
NODE = b"\x01"
"""Domain separation: no leaf can be taken for a node (RFC 6962 section 2.1)."""
HASH_BYTES = 32


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


def place(level: int, index: int) -> int:
    """Return the place of the full subtree of 2^level leaves that begins at leaf index · 2^level."""
    return ((2 * index + 1) << level) - 1


def places_of(start: int, end: int) -> tuple[int, ...]:
    """Return the places of the full subtrees that make up the leaves start ≤ i < end, from the left.

    `start` must be where a subtree begins: a multiple of the largest power of two up to end − start.
    """
    places: list[int] = []
    while start < end:
        level = (end - start).bit_length() - 1
        places.append(place(level, start >> level))
        start += 1 << level
    return tuple(places)


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root of neighbouring full subtrees, the largest first; of none, SHA-256 of nothing."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    folded = hashes[-1]
    for left in reversed(hashes[:-1]):
        folded = node_hash(left, folded)
    return folded


def appended(size: int, edge: Mapping[int, bytes], leaves: Sequence[bytes]) -> dict[int, bytes]:
    """Return the new full subtrees, by place, of a tree of `size` leaves to which leaf hashes are added.

    `edge`: the full subtrees of `places_of(0, size)`.
    """
    made: dict[int, bytes] = {}
    for index, leaf in enumerate(leaves, size):
        made[place(0, index)] = hashed = leaf
        level = 0
        while index >> level & 1:
            before = place(level, (index >> level) - 1)
            left = made[before] if before in made else edge[before]
            hashed = node_hash(left, hashed)
            level += 1
            made[place(level, index >> level)] = hashed
    return made


Span = tuple[int, int]
"""The leaves start ≤ i < end: one node of a proof is the root over them."""


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Return what the audit path of a leaf consists of, from the bottom up (RFC 9162 section 2.1.3.1)."""
    if not 0 <= index < size:
        raise IndexError(f"a log of {size} entries has no entry {index}")
    spans: list[Span] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(first: int, second: int) -> list[Span]:
    """Return what the proof consists of that a tree of `first` leaves is the beginning of one of `second`
    (RFC 9162 section 2.1.4.1)."""
    if not 0 < first <= second:
        raise IndexError(f"a log of {second} entries never had the size {first}")
    spans: list[Span] = []
    start, end, whole = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start, whole = middle, False
    if not whole:
        spans.append((start, end))
    return spans[::-1]


def _split(size: int) -> int:
    """Return the largest power of two below a size of at least 2."""
    return 1 << (size - 1).bit_length() - 1


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> bool:
    """Check an audit path against a root of a tree of `size` leaves."""
    if not 0 <= index < size or len(leaf) != HASH_BYTES:
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


def is_consistent(
    first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """Check that the tree of `first` leaves (at least one) is the beginning of that of `second` (RFC 9162
    section 2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)
    if not steps:
        return False
    index, last = first - 1, second - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            new = node_hash(new, step)
        index, last = index >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
