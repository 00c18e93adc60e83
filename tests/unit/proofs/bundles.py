"""Bundles over a real dev chain, and what changes them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from bridge.chains.anchors import AnchorEvidence
from bridge.keys.keystore import SecretKey
from bridge.keys.quote_signature import QuoteSigner
from bridge.proofs.bundle import BundleError, Checkpoint, verify_bundle, write_bundle
from bridge.proofs.notes import sign_head
from bridge.protocol import merkle
from chain.rules.params import DEV
from chain.wallet.transactions import build_anchor
from relayers.zion.anchors import sides
from scripts import verify_bundle as independent
from tests.unit.chain.harness import ALICE, BOB, FEE, Sandbox

SIGNER = QuoteSigner(SecretKey(b"\x07" * 32))
LEAVES = [f'{{"outcome":"completed","swap":"{number:064x}","version":1}}' for number in range(11)]
HASHES = [merkle.leaf_hash(leaf.encode()) for leaf in LEAVES]


def make_bundle(box: Sandbox, *, index: int = 6, others: int = 2, after: int = 3) -> str:
    """Anchor the log in a block between others, and mine some blocks on it."""
    anchor = build_anchor(
        ALICE, DEV, nonce=box.nonce(ALICE), root=merkle.root(HASHES), tree_size=len(HASHES), fee=FEE
    )
    transfers = [box.transfer(BOB, ALICE, nonce=box.nonce(BOB) + number) for number in range(others)]
    box.mine(*transfers, anchor)
    for _ in range(after):
        box.mine()
    proof = box.queries.anchor_proof(anchor.txid)
    headers = box.queries.headers(proof.height - 1, 100)
    evidence = AnchorEvidence(
        bytes.fromhex(proof.body), sides(proof), tuple(bytes.fromhex(one.raw) for one in headers), 1
    )
    path = [merkle.root(HASHES[start:end]) for start, end in merkle.inclusion_spans(index, len(HASHES))]
    return write_bundle(
        receipt=LEAVES[index],
        index=index,
        path=path,
        head=sign_head(len(HASHES), merkle.root(HASHES), SIGNER),
        key=SIGNER.public_key,
        evidence=evidence,
    )


def checkpoint_of(text: str) -> Checkpoint:
    """Return the block before the bundle's first header."""
    header = bytes.fromhex(json.loads(text)["headers"][0])
    return Checkpoint(int.from_bytes(header[8:12], "little") - 1, header[16:48].hex())


def both(text: str, checkpoint: Checkpoint | None, network: str = "dev") -> bool:
    """Ask both verifiers; they must agree on every fact."""
    known = None if checkpoint is None else (checkpoint.height, checkpoint.id)
    found: dict[str, Any] | None
    try:
        found = independent.verify(text, network, known)
    except independent.FlawError:
        found = None
    try:
        ours = verify_bundle(text, network=network, checkpoint=checkpoint)
    except BundleError:
        assert found is None, "the bridge's own verifier refuses what the independent one accepts"
        return False
    assert found is not None, "the independent verifier refuses what the bridge's own accepts"
    for name, value in found.items():
        assert getattr(ours, name) == value, name
    return True


def mutated(text: str, random: Random) -> str:
    """Change a bundle somewhere: a character, a field in its right form, or its shape."""
    choice = random.randrange(6)
    if choice == 0:
        place = random.randrange(len(text))
        return text[:place] + chr(random.randrange(1, 128)) + text[place + 1 :]
    parts = json.loads(text)
    name = random.choice(sorted(parts))
    value = parts[name]
    if choice == 1:
        parts[name] = random.choice([None, 0, -1, 2**53, 1.5, True, "", "00", [], [""], {}, "\ud800", "é"])
    elif isinstance(value, int):
        parts[name] = random.randrange(12)
    elif isinstance(value, str):
        place = random.randrange(len(value))
        parts[name] = value[:place] + random.choice("0123456789abcdef") + value[place + 1 :]
    elif value:
        place = random.randrange(len(value))
        if choice == 2:
            del value[place]
        elif choice == 3:
            value.insert(place, random.choice(value))
        elif choice == 4:
            value[place] = random.choice(value)
        else:
            value[place] = value[place][:-1] + random.choice("0123456789abcdef")
    return json.dumps(parts, sort_keys=True, separators=(",", ":")) + "\n"
