"""The transparency log over the API."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from bridge.api.services import Services
from bridge.chains.anchors import AnchorEvidence
from bridge.chains.port import SignedTx
from bridge.proofs.bundle import verify_bundle
from bridge.proofs.notes import read_head, sign_head
from bridge.protocol import merkle
from bridge.protocol.types import Address, Amount, Purpose, SwapId, TxId
from bridge.store import Store
from bridge.store.records import IntentState, PlannedIntent, StoredTxState
from chain.rules.params import DEV
from chain.wallet.transactions import build_anchor
from relayers.zion.anchors import sides
from tests import instances
from tests.unit.api import play
from tests.unit.chain.conftest import box  # noqa: F401
from tests.unit.chain.harness import ALICE, FEE, Sandbox

LEAVES = [f'{{"swap":"{number:02d}","version":1}}' for number in range(5)]
HASHES = [merkle.leaf_hash(leaf.encode()) for leaf in LEAVES]


@pytest.fixture
def filled(store: Store) -> Store:
    with store.transaction() as tx:
        for number, leaf in enumerate(LEAVES):
            tx.receipts.append(SwapId(f"swap{number}"), leaf)
    return store


def test_the_head_is_signed_and_every_leaf_is_proven(client: TestClient, filled: Store) -> None:
    head = client.get("/v1/log/root").json()
    read = read_head(head["note"], client.get("/v1/keys").json()["public_key"])
    assert (read.size, read.root.hex()) == (head["size"], head["root"]) == (5, merkle.root(HASHES).hex())
    for leaf in client.get("/v1/log/leaves").json()["leaves"]:
        assert leaf["receipt"] == LEAVES[leaf["index"]]
        answer = client.get("/v1/log/proof", params={"index": leaf["index"], "size": 5})
        assert "immutable" in answer.headers["Cache-Control"]
        path = [bytes.fromhex(step) for step in answer.json()["path"]]
        assert merkle.is_included(bytes.fromhex(leaf["leaf_hash"]), leaf["index"], 5, path, read.root)
    path = client.get("/v1/log/consistency", params={"first": 3, "second": 5}).json()["path"]
    steps = [bytes.fromhex(step) for step in path]
    assert merkle.is_consistent(3, 5, steps, merkle.root(HASHES[:3]), read.root)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/log/proof?index=5&size=5", 404),
        ("/v1/log/proof?index=0&size=6", 404),
        ("/v1/log/proof?index=-1&size=5", 422),
        ("/v1/log/consistency?first=0&second=5", 404),
        ("/v1/log/consistency?first=1&second=99999999999999999", 422),
        ("/v1/log/leaves?count=101", 422),
        ("/v1/log/leaves?count=0", 422),
    ],
)
def test_what_is_not_there_or_too_much_is_refused(
    client: TestClient, filled: Store, path: str, status: int
) -> None:
    assert client.get(path).status_code == status


def test_the_end_of_the_list_is_not_cached(client: TestClient, filled: Store) -> None:
    assert "immutable" in client.get("/v1/log/leaves?start=0&count=5").headers["Cache-Control"]
    answer = client.get("/v1/log/leaves?start=3&count=5")
    assert [leaf["index"] for leaf in answer.json()["leaves"]] == [3, 4]
    assert "immutable" not in answer.headers.get("Cache-Control", "")


def test_a_witness_is_answered_and_a_head_of_another_history_raises_an_alarm(
    client: TestClient, filled: Store, services: Services
) -> None:
    note = client.get("/v1/log/root").json()["note"]
    assert client.post("/v1/log/witness", json={"note": note}).json()["agrees"] is True
    forged = sign_head(4, b"\x01" * 32, services.log._signer)
    answer = client.post("/v1/log/witness", json={"note": forged}).json()
    assert answer["agrees"] is False
    assert "another root" in answer["detail"]
    assert client.post("/v1/log/witness", json={"note": "nonsense"}).status_code == 422
    with filled.reading() as tx:
        assert tx.log_alarms.count() == 1


def test_a_swap_is_proven_once_its_receipt_is_anchored(
    client: TestClient,
    store: Store,
    services: Services,
    box: Sandbox,  # noqa: F811
) -> None:
    swap = play.place(client)["id"]
    assert client.get(f"/v1/swaps/{swap}/proof").status_code == 404
    with store.transaction() as tx:
        tx.receipts.append(SwapId(swap), LEAVES[0])
        root = tx.receipts.root(1)
    waiting = client.get(f"/v1/swaps/{swap}/proof")
    assert waiting.status_code == 503
    assert waiting.json()["type"].endswith("not-ready")
    anchor = build_anchor(ALICE, DEV, nonce=box.nonce(ALICE), root=root, tree_size=1, fee=FEE)
    box.mine(anchor)
    proof = box.queries.anchor_proof(anchor.txid)
    evidence = AnchorEvidence(
        bytes.fromhex(proof.body), sides(proof), (bytes.fromhex(proof.header + proof.nonce),), 0
    )
    asked: list[Any] = []

    async def anchor_evidence(tx_id: TxId, *, since: int | None, most: int) -> AnchorEvidence | None:
        asked.append((tx_id, since, most))
        return evidence

    async def close() -> None:
        pass

    services.ports[instances.ZION] = SimpleNamespace(anchor_evidence=anchor_evidence, close=close)  # type: ignore[index]
    tx_id = TxId(anchor.txid.hex())
    planned = PlannedIntent(f"anchor:{root.hex()}:1", Purpose.ANCHOR, instances.ZION)
    signed = SignedTx(tx_id, b"raw", Address("bridge"), 1, {}, Amount(1))
    with store.transaction() as tx:
        tx.log_anchors.add(1, root.hex(), instances.ZION)
        tx.intents.plan(planned)
        intent = tx.intents.of_subject(planned.subject)[0]
        row = tx.transactions.add(
            intent.id, instances.ZION, signed, attempt=0, cancels=False, signed_height=1
        )
        tx.intents.move(intent.id, IntentState.BROADCAST)
    assert client.get(f"/v1/swaps/{swap}/proof").status_code == 503  # sent, but in no block
    with store.transaction() as tx:
        tx.intents.move(intent.id, IntentState.INCLUDED)
        tx.transactions.move(row, StoredTxState.INCLUDED, block_height=proof.height, block_id=proof.block_id)
    bundle = client.get(f"/v1/swaps/{swap}/proof", params={"since": 2}).json()["bundle"]
    proven = verify_bundle(bundle, network="dev", checkpoint=None)
    assert (proven.receipt["swap"], proven.index, proven.height) == ("00", 0, proof.height)
    assert asked == [(tx_id, 2, 1_000)]
