"""Bundles: what they prove, and that no flaw passes either verifier."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from bridge.proofs.bundle import BundleError, Checkpoint, verify_bundle
from chain.rules.hashing import keccak256
from kernels import cosmic_harmony
from scripts import verify_bundle as independent
from tests.unit.chain.harness import Sandbox
from tests.unit.proofs.bundles import LEAVES, SIGNER, both, checkpoint_of, make_bundle, mutated

VERIFIER = Path(independent.__file__)
VECTORS = Path(__file__).parents[2] / "vectors" / "cosmic_harmony.json"


def test_a_bundle_proves_a_receipt_by_the_work_on_its_anchor(box: Sandbox) -> None:
    text = make_bundle(box, index=6, after=3)
    found = verify_bundle(text, network="dev", checkpoint=checkpoint_of(text))
    assert found.receipt == json.loads(LEAVES[6])
    assert (found.index, found.size, found.blocks, found.key) == (6, 11, 4, SIGNER.public_key)
    assert found.work == 4 * (2**256 // ((0x100000 << 232) + 1))
    assert found.block_id == box.queries.header(found.height).id


@pytest.mark.parametrize("others", range(5))
@pytest.mark.parametrize("index", [0, 7, 10])
def test_both_verifiers_accept_every_place_in_tree_and_block(box: Sandbox, index: int, others: int) -> None:
    text = make_bundle(box, index=index, others=others, after=1)
    assert both(text, checkpoint_of(text))
    assert both(text, None)


def test_a_trusted_block_may_stand_anywhere_in_the_headers_and_must_stand_there(box: Sandbox) -> None:
    text = make_bundle(box)
    parts = json.loads(text)
    before = checkpoint_of(text)
    for number, header in enumerate(parts["headers"]):
        known = Checkpoint(before.height + 1 + number, keccak256(bytes.fromhex(header)).hex())
        assert both(text, known)
        assert not both(text, Checkpoint(known.height + 1, known.id))
        assert not both(text, Checkpoint(known.height, "00" * 32))
    assert not both(text, Checkpoint(before.height - 1, before.id))


def test_every_byte_of_a_bundle_flipped_in_turn_is_caught(box: Sandbox) -> None:
    text = make_bundle(box, others=1, after=1)
    known = checkpoint_of(text)
    for place, character in enumerate(text):
        flipped = chr(ord(character) ^ 1 << place % 7)
        with pytest.raises(BundleError):
            verify_bundle(text[:place] + flipped + text[place + 1 :], network="dev", checkpoint=known)


@pytest.mark.parametrize("network", ["main", "test"])
def test_a_bundle_of_another_network_proves_nothing(box: Sandbox, network: str) -> None:
    assert not both(make_bundle(box), None, network)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_the_two_verifiers_agree_on_fuzzed_bundles(box: Sandbox, count: int) -> None:
    text = make_bundle(box, others=1, after=1)
    random, known = Random(count), checkpoint_of(text)
    accepted = [both(mutated(text, random), known) for _ in range(count)]
    assert accepted.count(False) > count // 2
    assert any(accepted)  # some changes change nothing: the same digit again


def test_the_independent_verifier_runs_alone_and_says_what_is_proven(box: Sandbox, tmp_path: Path) -> None:
    text = make_bundle(box)
    known = checkpoint_of(text)
    file = tmp_path / "swap.bundle"

    def run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
        file.write_text(text)
        command = [sys.executable, "-I", "-S", str(VERIFIER), str(file), "--network", "dev", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    good = run(text, "--checkpoint", f"{known.height}:{known.id}", "--key", SIGNER.public_key)
    assert good.returncode == 0
    assert good.stdout.startswith("proven by 4 blocks of work")
    assert run(text, "--checkpoint", f"{known.height}:{'00' * 32}").returncode == 1
    assert run(text, "--no-checkpoint", "--key", "00" * 32).returncode == 1
    bad = run(text.replace("completed", "refunded_"), "--no-checkpoint")
    assert bad.returncode == 1
    assert bad.stdout.startswith("NOT PROVEN")
    assert run(text).returncode == 2
    source = VERIFIER.read_text()
    assert not any(f"import {name}" in source or f"from {name}" in source for name in ("bridge", "kernels"))


@pytest.mark.parametrize("number", range(5))
def test_the_independent_cosmic_harmony_is_the_kernels(number: int) -> None:
    row = json.loads(VECTORS.read_text())[number]
    header, nonce = bytes.fromhex(row["header"]), int(row["nonce"], 16)
    seed = independent.keccak(header + nonce.to_bytes(8, "little"))
    assert seed == cosmic_harmony.block_id(header, nonce)
    assert independent.work_hash(seed).to_bytes(32, "big") == cosmic_harmony.cosmic_harmony(header, nonce)
