"""Write tests/vectors/zion_protocol.json: the bytes of docs/zion-protocol.md, put together by hand.

Nothing of `chain` lays out bytes here (only signatures come from its keys), so that the vectors are a second
opinion. Run it only when the protocol changes, which is a hard fork.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from Crypto.Hash import keccak

from chain.wallet.keys import Key

OUT = Path("tests/vectors/zion_protocol.json")
CHAIN = 3
ALICE = Key.from_secret(hashlib.sha256(b"ZION vector: alice").digest())
BOB = Key.from_secret(hashlib.sha256(b"ZION vector: bob").digest())
PREIMAGE = bytes(range(32))


def k256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def body(
    kind: int,
    nonce: int,
    amount: int,
    fee: int,
    sender: bytes,
    recipient: bytes,
    hash32: bytes,
    deadline: int,
) -> bytes:
    raw = b"".join(
        [
            bytes([kind]), bytes([1]), le(0, 2), le(CHAIN, 4), le(nonce, 8), le(amount, 8), le(fee, 8),
            sender, recipient, hash32, le(deadline, 8), bytes(16),
        ]
    )  # fmt: skip
    assert len(raw) == 128
    return raw


def witness(signature: bytes, public_key: bytes, aux: bytes) -> bytes:
    raw = signature + public_key + bytes([len(aux)]) + aux + bytes(97 - len(aux)) + bytes(5)
    assert len(raw) == 200
    return raw


def signed(name: str, key: Key, raw: bytes, aux: bytes = b"") -> dict[str, str]:
    txid = k256(raw)
    return {
        "name": name,
        "body": raw.hex(),
        "txid": txid.hex(),
        "witness": witness(key.sign(txid), key.public_key, aux).hex(),
    }


def root(txids: list[bytes]) -> bytes:
    """RFC 6962's definition, by recursion."""
    if len(txids) == 1:
        return k256(b"\x00" + txids[0])
    split = 1 << (len(txids) - 1).bit_length() - 1
    return k256(b"\x01" + root(txids[:split]) + root(txids[split:]))


def main() -> None:
    a, b = (k256(key.public_key)[12:] for key in (ALICE, BOB))
    zero20, zero32 = bytes(20), bytes(32)
    hashlock, deadline = hashlib.sha256(PREIMAGE).digest(), 1_800_000_000
    lock = body(3, 1, 500, 10, a, b, hashlock, deadline)
    lock_id = k256(b"\x83" + lock[1:8] + bytes(8) + lock[16:24] + bytes(8) + lock[32:])
    consent_digest = k256(b"ZION cooperative refund v1" + lock_id)
    consent = BOB.sign(consent_digest) + BOB.public_key
    transactions = [
        signed("transfer", ALICE, body(2, 0, 123_456_789, 1_000, a, b, zero32, 0)),
        signed("htlc_lock", ALICE, lock),
        signed("htlc_claim", BOB, body(4, 0, 500, 10, b, b, lock_id, 0), PREIMAGE),
        signed("htlc_claim of the empty preimage", BOB, body(4, 0, 500, 10, b, b, lock_id, 0)),
        signed("htlc_refund", ALICE, body(5, 2, 500, 10, a, a, lock_id, 0)),
        signed("htlc_cooperative_refund", ALICE, body(6, 2, 500, 10, a, a, lock_id, 0), consent),
        signed("anchor", ALICE, body(7, 3, 77, 1_000, a, zero20, b"\x42" * 32, 0)),
    ]
    witnesses = b"".join(bytes.fromhex(tx["witness"]) for tx in transactions)
    commitment = hashlib.sha256(witnesses).digest()
    coinbase = body(1, 7, 5_000_000_000, 0, zero20, a, commitment, 0xDEAD)
    txids = [k256(coinbase), *(bytes.fromhex(tx["txid"]) for tx in transactions)]
    time, height, target, previous, nonce = 1_795_000_000, 7, 0x20100000, b"\x11" * 32, 0x0123456789ABCDEF
    header = le(1, 2) + le(time, 6) + le(height, 4) + le(target, 4) + previous + root(txids)
    vectors = {
        "chain_id": CHAIN,
        "keys": [
            {
                "secret": key.secret.hex(), "public_key": key.public_key.hex(),
                "key_hash": k256(key.public_key)[12:].hex(), "address": key.address,
            }
            for key in (ALICE, BOB)
        ],
        "transactions": transactions,
        "lock": {"transaction": "htlc_lock", "lock_id": lock_id.hex(), "preimage": PREIMAGE.hex()},
        "consent": {"digest": consent_digest.hex(), "consent": consent.hex()},
        "coinbase": {"body": coinbase.hex(), "witness_commitment": commitment.hex()},
        "merkle_roots": [
            {"leaves": [t.hex() for t in txids[:n]], "root": root(txids[:n]).hex()} for n in range(1, 9)
        ],
        "header": {
            "time": time, "height": height, "target": f"{target:08x}", "previous": previous.hex(),
            "nonce": f"{nonce:016x}", "raw": header.hex(), "id": k256(header + le(nonce, 8)).hex(),
        },
        "compact_targets": [
            {"compact": "20100000", "target": f"{1 << 252:064x}"},
            {"compact": "1d00ffff", "target": f"{0xFFFF << 208:064x}"},
            {"compact": "03123456", "target": f"{0x123456:064x}"},
        ],
    }  # fmt: skip
    OUT.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
