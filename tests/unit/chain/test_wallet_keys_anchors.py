"""Keys, keystores, and anchors with their proofs."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import msgspec
import pytest

from chain.cli import format_amount, parse_amount
from chain.rules.anchors import AnchorProof, merkle_path, root_from_path, verify_anchor_proof
from chain.rules.errors import NotFoundError, Reason, RuleBrokenError, WalletError, ZionError
from chain.rules.genesis import DEV_TREASURY
from chain.rules.hashing import keccak256, sha256
from chain.rules.header import compact_to_target
from chain.rules.params import DEV
from chain.rules.signatures import verify_signature
from chain.rules.types import TxId
from chain.state.signature_cache import SignatureCache
from chain.wallet.keys import Key, dev_treasury_key
from chain.wallet.keystore import keystore_address, load_keystore, save_keystore
from chain.wallet.transactions import build_anchor, build_transfer
from kernels import cosmic_harmony
from tests.unit.chain.harness import ALICE, BOB, FEE, Sandbox, reason_of

ROOT = b"\x42" * 32


def test_a_key_shows_itself_only_as_its_address() -> None:
    key = Key.from_secret(sha256(b"hidden"))
    for text in (repr(key), str(key), f"{key}"):
        assert key.address in text
        assert sha256(b"hidden").hex() not in text
        assert repr(sha256(b"hidden")) not in text


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), b"\xff" * 32, bytes(33)])
def test_bytes_that_are_no_private_key(secret: bytes) -> None:
    with pytest.raises(WalletError):
        Key.from_secret(secret)


def test_signatures_are_deterministic_compact_and_verified() -> None:
    digest = keccak256(b"message")
    signature = ALICE.sign(digest)
    assert len(signature) == 64
    assert ALICE.sign(digest) == signature
    assert verify_signature(ALICE.public_key, signature, digest)
    assert not verify_signature(BOB.public_key, signature, digest)
    assert not verify_signature(ALICE.public_key, signature, keccak256(b"other"))


@pytest.mark.parametrize("public_key", [bytes(33), b"\x02" + b"\xff" * 32, b"\x04" + bytes(32)])
def test_a_malformed_public_key_verifies_nothing(public_key: bytes) -> None:
    assert not verify_signature(public_key, ALICE.sign(bytes(32)), bytes(32))


def test_the_signature_cache_is_bounded_and_exact() -> None:
    cache = SignatureCache(capacity=2)
    a, b, c = TxId(b"a"), TxId(b"b"), TxId(b"c")
    for txid in (a, b, c):
        cache.add(txid, b"w" + txid)
    assert len(cache) == 2
    assert not cache.holds(a, b"wa")
    assert cache.holds(c, b"wc")
    assert not cache.holds(c, b"wb")


def test_a_keystore_returns_its_key_and_only_for_its_password(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "alice.json"
    save_keystore(ALICE, path, "correct horse", work=2)
    assert load_keystore(path, "correct horse") == ALICE
    assert keystore_address(path) == ALICE.address
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ALICE.secret.hex() not in path.read_text()
    with pytest.raises(WalletError, match="wrong password"):
        load_keystore(path, "battery staple")


def test_a_keystore_that_names_another_address_is_refused(tmp_path: Path) -> None:
    """The address stands outside what the password protects: a thief's would be shown and paid."""
    path = tmp_path / "alice.json"
    save_keystore(ALICE, path, "x", work=2)
    data = json.loads(path.read_text())
    data["address"] = BOB.address
    path.write_text(json.dumps(data))
    assert keystore_address(path) == BOB.address, "a label"
    with pytest.raises(WalletError, match="another address"):
        load_keystore(path, "x")


def test_an_empty_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="empty"):
        save_keystore(ALICE, tmp_path / "alice.json", "", work=2)
    assert not (tmp_path / "alice.json").exists()


def test_a_keystore_never_overwrites_a_file(tmp_path: Path) -> None:
    path = tmp_path / "alice.json"
    save_keystore(ALICE, path, "x", work=2)
    with pytest.raises(WalletError, match="exists"):
        save_keystore(BOB, path, "x", work=2)
    assert keystore_address(path) == ALICE.address


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 3}', json.dumps({"version": 9, "crypto": {}})]
)
def test_what_is_no_keystore_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(WalletError):
        load_keystore(path, "x")
    with pytest.raises(WalletError):
        load_keystore(tmp_path / "absent.json", "x")


def test_signing_for_another_sender_is_refused() -> None:
    from chain.wallet.transactions import sign

    body = build_transfer(ALICE, DEV, nonce=0, recipient=BOB.key_hash, amount=1, fee=1)
    with pytest.raises(WalletError):
        sign(BOB, body)


def test_a_field_that_does_not_fit_is_refused_with_a_sentence() -> None:
    assert (
        reason_of(lambda: build_transfer(ALICE, DEV, nonce=-1, recipient=BOB.key_hash, amount=1, fee=1))
        is Reason.MALFORMED
    )


@pytest.mark.parametrize(("text", "units"), [("1", 10**8), ("0.00000001", 1), ("12.5", 1_250_000_000)])
def test_amounts_are_exact(text: str, units: int) -> None:
    assert parse_amount(text) == units
    assert parse_amount(format_amount(units)) == units


@pytest.mark.parametrize("text", ["", "0", "-1", "0.000000001", "1e30", "NaN", "Infinity", "1,5"])
def test_text_that_is_no_amount(text: str) -> None:
    with pytest.raises(ZionError):
        parse_amount(text)


# anchors ----------------------------------------------------------------------------------------------


def anchored(box: Sandbox, others: int = 2) -> AnchorProof:
    anchor = build_anchor(ALICE, DEV, nonce=box.nonce(ALICE), root=ROOT, tree_size=77, fee=FEE)
    transfers = [box.transfer(BOB, ALICE, nonce=box.nonce(BOB) + i) for i in range(others)]
    box.mine(*transfers, anchor)
    return box.queries.anchor_proof(anchor.txid)


@pytest.mark.parametrize("others", range(6))
def test_an_anchor_is_proven_offline(box: Sandbox, others: int) -> None:
    proof = anchored(box, others)
    header = verify_anchor_proof(proof, chain_id=DEV.chain_id)
    assert header.id.hex() == proof.block_id
    assert (proof.root, proof.tree_size) == (ROOT.hex(), 77)
    assert box.queries.anchors_of(ROOT, 10) == (proof.txid,)


@pytest.mark.parametrize(
    "change",
    [
        {"root": bytes(32).hex()},
        {"tree_size": 78},
        {"index": 0},
        {"index": 99},
        {"transactions": 3},
        {"path": ()},
        {"nonce": "zz"},
        {"body": "00" * 128},
        {"header": "00" * 80},
    ],
)
def test_a_changed_proof_is_refused(box: Sandbox, change: dict[str, object]) -> None:
    proof = msgspec.structs.replace(anchored(box), **change)
    with pytest.raises(RuleBrokenError):
        verify_anchor_proof(proof, chain_id=DEV.chain_id)


def test_a_proof_whose_nonce_misses_the_target_is_refused(box: Sandbox) -> None:
    proof = anchored(box)
    header, target = bytes.fromhex(proof.header), compact_to_target(DEV.pow_limit)
    failing = next(n for n in range(1_000) if not cosmic_harmony.verify(header, n, target))
    changed = msgspec.structs.replace(proof, nonce=failing.to_bytes(8, "little").hex())
    assert reason_of(lambda: verify_anchor_proof(changed, chain_id=DEV.chain_id)) is Reason.BAD_WORK


def test_a_proof_of_another_chain_or_an_easier_target_is_refused(box: Sandbox) -> None:
    proof = anchored(box)
    assert reason_of(lambda: verify_anchor_proof(proof, chain_id=1)) is Reason.WRONG_CHAIN
    hard = 2**200
    assert (
        reason_of(lambda: verify_anchor_proof(proof, chain_id=DEV.chain_id, max_target=hard))
        is Reason.BAD_TARGET
    )


def test_a_transfer_has_no_anchor_proof(box: Sandbox) -> None:
    transfer = box.transfer(ALICE, BOB)
    box.mine(transfer)
    with pytest.raises(NotFoundError):
        box.queries.anchor_proof(transfer.txid)
    with pytest.raises(NotFoundError):
        box.queries.anchor_proof(TxId(bytes(32)))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13])
def test_every_leaf_of_every_tree_has_its_path(count: int) -> None:
    import numpy as np

    txids = [sha256(bytes([i])) for i in range(count)]
    root = cosmic_harmony.merkle_root(np.frombuffer(b"".join(txids), np.uint8).reshape(count, 32))
    for index, txid in enumerate(txids):
        path = merkle_path(txids, index)
        assert root_from_path(txid, index, count, path) == root
        with pytest.raises(RuleBrokenError):
            root_from_path(txid, index, count, (*path, bytes(32)))


def test_an_anchor_moves_nothing_but_the_fee(box: Sandbox) -> None:
    before = box.balance(ALICE)
    anchored(box, 0)
    assert box.balance(ALICE) == before - FEE
    assert box.supply_adds_up()


def test_the_dev_treasury_of_the_genesis_block_is_the_public_key_everybody_knows() -> None:
    assert dev_treasury_key().key_hash == DEV_TREASURY
