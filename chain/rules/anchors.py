"""Merkle paths over a block's transaction ids, and proofs of anchors.

The tree is RFC 6962's shape with keccak-256: leaf keccak(0x00 ‖ txid), node keccak(0x01 ‖ left ‖ right), an
odd node moves up unchanged. Nothing is duplicated, so a root fixes the list of transactions.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.hashing import keccak256
from chain.rules.header import Header, compact_to_target
from chain.rules.records import BODY, BODY_BYTES, Kind
from kernels import cosmic_harmony


class AnchorProof(msgspec.Struct, frozen=True):
    """Proof that a block carries an anchor: body, Merkle path and header with nonce, all hex.

    Check it with `verify_anchor_proof`, offline.
    """

    txid: str
    root: str
    tree_size: int
    body: str
    index: int
    transactions: int
    path: tuple[str, ...]
    header: str
    nonce: str
    block_id: str
    height: int
    confirmations: int


def leaf_hash(txid: bytes) -> bytes:
    """Return keccak256(0x00 ‖ txid)."""
    return keccak256(b"\x00" + txid)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return keccak256(0x01 ‖ left ‖ right)."""
    return keccak256(b"\x01" + left + right)


def merkle_path(txids: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the siblings from the leaf at `index` up to the root."""
    level = [leaf_hash(txid) for txid in txids]
    path: list[bytes] = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        pairs = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
        index //= 2
    return tuple(path)


def root_from_path(txid: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """Return the root that a path leads to in a tree of `count` leaves. Raises `RuleBrokenError`."""
    wrong = RuleBrokenError(Reason.BAD_MERKLE_ROOT, "the path does not fit the tree")
    if not 0 <= index < count:
        raise wrong
    node, steps = leaf_hash(txid), iter(path)
    try:
        while count > 1:
            if index % 2:
                node = node_hash(next(steps), node)
            elif index + 1 < count:
                node = node_hash(node, next(steps))
            index, count = index // 2, (count + 1) // 2
    except StopIteration:
        raise wrong from None
    if next(steps, None) is not None:
        raise wrong
    return node


def verify_anchor_proof(proof: AnchorProof, *, chain_id: int, max_target: int | None = None) -> Header:
    """Check an anchor's proof offline; return its header.

    Checked: the body is an anchor of `proof.root` and `tree_size` on this chain, the path leads to the
    header's Merkle root, the work meets the header's target, and that target is not easier than `max_target`
    (without it, anyone can make a proof with an easy target: give the least target you would trust, or check
    the header against a chain of headers). Raises `RuleBrokenError`.
    """
    try:
        body, header_raw = bytes.fromhex(proof.body), bytes.fromhex(proof.header)
        nonce, path = bytes.fromhex(proof.nonce), [bytes.fromhex(step) for step in proof.path]
        fields = BODY.unpack(body)
    except (ValueError, struct.error):
        raise RuleBrokenError(Reason.MALFORMED, "the proof is not hex of the right length") from None
    header = Header.decode(header_raw + nonce)
    if len(body) != BODY_BYTES or fields[0] != Kind.ANCHOR:
        raise RuleBrokenError(Reason.BAD_KIND, "the body is not an anchor")
    if fields[3] != chain_id:
        raise RuleBrokenError(Reason.WRONG_CHAIN, f"the anchor is of chain {fields[3]}")
    if fields[9].hex() != proof.root or fields[5] != proof.tree_size:
        raise RuleBrokenError(Reason.MALFORMED, "root or tree size are not the body's")
    root = root_from_path(keccak256(body), proof.index, proof.transactions, path)
    if root != header.merkle_root:
        raise RuleBrokenError(Reason.BAD_MERKLE_ROOT, "the path does not lead to the header's Merkle root")
    target = compact_to_target(header.target)
    if max_target is not None and target > max_target:
        raise RuleBrokenError(Reason.BAD_TARGET, "the header's target is easier than allowed")
    if not cosmic_harmony.verify(header.raw, header.nonce, target):
        raise RuleBrokenError(Reason.BAD_WORK, "the header's work does not meet its target")
    return header
