"""docs/zion-protocol.md in bytes: the vectors were put together by hand, the chain's code must agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chain.rules.address import decode_address, encode_address, key_hash
from chain.rules.block import Block, witness_commitment
from chain.rules.compiled import check_records
from chain.rules.header import Header, compact_to_target, target_to_compact
from chain.rules.locks import consents
from chain.rules.records import Kind, Transaction, consent_digest, decode_transaction
from chain.rules.signatures import verify_signature
from chain.rules.types import LockId
from chain.wallet.keys import Key
from kernels import cosmic_harmony

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "zion_protocol.json").read_text()
)
TRANSACTIONS = {row["name"]: row for row in VECTORS["transactions"]}


def decoded(name: str) -> Transaction:
    return decode_transaction(bytes.fromhex(TRANSACTIONS[name]["body"] + TRANSACTIONS[name]["witness"]))


@pytest.mark.parametrize("row", VECTORS["keys"], ids=lambda row: row["address"])
def test_keys_and_addresses(row: dict[str, str]) -> None:
    key = Key.from_secret(bytes.fromhex(row["secret"]))
    assert key.public_key.hex() == row["public_key"]
    assert key_hash(key.public_key).hex() == row["key_hash"]
    assert encode_address(key.key_hash) == row["address"]
    assert decode_address(row["address"]) == key.key_hash


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_bodies_ids_and_witnesses(name: str) -> None:
    row, tx = TRANSACTIONS[name], decoded(name)
    assert Kind(tx.kind).name.lower() == name.split(" ", maxsplit=1)[0]
    assert (tx.body.hex(), tx.txid.hex()) == (row["body"], row["txid"])
    assert tx.witness.encode().hex() == row["witness"]
    assert verify_signature(tx.witness.public_key, tx.witness.signature, tx.txid)
    assert tx.sender == key_hash(tx.witness.public_key)


def test_the_lock_id_and_who_spends_it() -> None:
    assert decoded("htlc_lock").lock_id.hex() == VECTORS["lock"]["lock_id"]
    for name in ("htlc_claim", "htlc_refund", "htlc_cooperative_refund"):
        assert decoded(name).lock_id.hex() == VECTORS["lock"]["lock_id"]
    assert decoded("htlc_claim").witness.aux.hex() == VECTORS["lock"]["preimage"]
    assert decoded("htlc_claim of the empty preimage").witness.aux == b""


def test_the_consent_of_a_cooperative_refund() -> None:
    lock_id = LockId(bytes.fromhex(VECTORS["lock"]["lock_id"]))
    consent = bytes.fromhex(VECTORS["consent"]["consent"])
    assert consent_digest(lock_id).hex() == VECTORS["consent"]["digest"]
    assert consents(decoded("htlc_lock").recipient, lock_id, consent)
    assert decoded("htlc_cooperative_refund").witness.aux == consent


def test_the_block_of_all_of_them() -> None:
    row = VECTORS["header"]
    header = Header.decode(bytes.fromhex(row["raw"]) + int(row["nonce"], 16).to_bytes(8, "little"))
    assert (header.time, header.height, f"{header.target:08x}") == (row["time"], row["height"], row["target"])
    assert header.id.hex() == row["id"]
    assert header.encode().hex()[:160] == row["raw"]
    bodies = VECTORS["coinbase"]["body"] + "".join(tx["body"] for tx in VECTORS["transactions"])
    witnesses = bytes(200).hex() + "".join(tx["witness"] for tx in VECTORS["transactions"])
    count = len(VECTORS["transactions"]) + 1
    block = Block.decode(header.encode() + count.to_bytes(4, "little") + bytes.fromhex(bodies + witnesses))
    assert cosmic_harmony.merkle_root(block.txids) == header.merkle_root
    assert witness_commitment(block.witnesses).hex() == VECTORS["coinbase"]["witness_commitment"]
    assert check_records(block.bodies, block.witnesses, VECTORS["chain_id"], header.height) == 2_050


@pytest.mark.parametrize("row", VECTORS["merkle_roots"], ids=lambda row: str(len(row["leaves"])))
def test_merkle_roots(row: dict[str, Any]) -> None:
    leaves = np.frombuffer(bytes.fromhex("".join(row["leaves"])), np.uint8).reshape(-1, 32)
    assert cosmic_harmony.merkle_root(leaves).hex() == row["root"]


@pytest.mark.parametrize("row", VECTORS["compact_targets"], ids=lambda row: row["compact"])
def test_compact_targets(row: dict[str, str]) -> None:
    assert compact_to_target(int(row["compact"], 16)) == int(row["target"], 16)
    assert target_to_compact(int(row["target"], 16)) == int(row["compact"], 16)


def test_genesis_blocks_never_change() -> None:
    from chain.rules.genesis import genesis_block
    from chain.rules.params import NETWORKS

    found = {network.value: genesis_block(params).id.hex() for network, params in NETWORKS.items()}
    assert found == {
        "main": "6e4bad6900ee245fc67520897e33fd9a067d89ba10da032e262e57e8c9b4ca56",
        "test": "488be82528d7f30d85b0062b7507369b6a1d561378ec9b2ab122ebc09ac9a34a",
        "dev": "00190222017878f1904822bcd1a1378e500c7c56454ebd87e1c3f83869dcb340",
    }
