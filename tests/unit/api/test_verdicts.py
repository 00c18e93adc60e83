"""An operator's verdicts through the API: what is open is listed, a key of its own scope settles it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from bridge.api.views import swap_view
from bridge.chains.port import Locked, Scan, SetAside, Spent
from bridge.commands.user import swap_lines
from bridge.engine.ingest import Ingest
from bridge.protocol.types import (
    BlockHeight,
    BlockRef,
    Leg,
    LegRole,
    LegState,
    LockId,
    SwapId,
    TxId,
    payback_terms,
)
from bridge.store import Store
from tests import instances
from tests.unit.api import play
from tests.unit.api.play import ADMIN, problem

ZION = instances.ZION
VIEWER = {"Authorization": f"Bearer {play.READ_ONLY_KEY}"}
NOTE = "seen in two explorers"


def spent_somehow(store: Store, swap_id: str) -> LockId:
    """Lock the destination, and have it spent so that nobody can prove how, a thousand blocks deep."""
    terms = play.destination_of(store, swap_id)
    lock_id = LockId("a1" * 32)
    with store.reading() as tx:
        status = tx.chains.get(ZION)
        recent = tx.blocks.ring(ZION)
    assert status is not None
    assert status.tip is not None
    head = status.tip.block
    deep = BlockRef(BlockHeight(head.height - 1_000), "deep", "deeper", head.time)
    events = (Locked(deep, TxId("lock"), lock_id, terms), Spent(deep, TxId("odd"), lock_id, "odd"))
    unread = (SetAside(deep, "item1", "version 9 of a transaction"),)
    scan = Scan((), (deep, head), events, status.tip, unread)
    Ingest(store, ZION, "1.0").ingest(scan, recent, status)
    return lock_id


def test_an_unproved_spend_is_listed_and_settled_by_a_key_of_that_scope(
    client: TestClient, store: Store
) -> None:
    swap = play.place(client)
    play.lock(store, swap["id"], LegRole.SOURCE)
    lock_id = spent_somehow(store, swap["id"])
    (line,) = client.get("/v1/admin/unproven", headers=VIEWER).json()["spends"]
    assert (line["swap_id"], line["leg"], line["lock_id"]) == (swap["id"], "destination", lock_id)
    assert line["tx_id"] == "odd"
    path = f"/v1/admin/swaps/{swap['id']}/settle"
    said: dict[str, Any] = {
        "lock_id": lock_id,
        "verdict": "claimed",
        "preimage": play.preimage().reveal().hex(),
        "note": NOTE,
    }
    assert problem(client.post(path, json=said)) == "unauthorized"
    assert problem(client.post(path, json=said, headers=VIEWER)) == "forbidden"
    assert problem(client.post(path, json=said | {"note": ""}, headers=ADMIN)) == "invalid-request"
    assert problem(client.post(path, json=said | {"verdict": "lost"}, headers=ADMIN)) == "invalid-request"
    wrong = client.post(path, json=said | {"preimage": "00" * 32}, headers=ADMIN)
    assert problem(wrong) == "wrong-state"
    assert client.get("/v1/admin/audit", headers=ADMIN).json()["entries"] == []
    settled = client.post(path, json=said, headers=ADMIN).json()
    assert settled["destination"]["state"] == "claim_final"
    (entry,) = client.get("/v1/admin/audit", headers=ADMIN).json()["entries"]
    assert (entry["by"], entry["verb"], entry["subject"]) == ("ops", "settle_claimed", swap["id"])
    assert NOTE in entry["detail"]
    assert said["preimage"] not in entry["detail"]
    assert client.get("/v1/admin/unproven", headers=VIEWER).json() == {"spends": []}


def test_an_unread_item_is_listed_and_dismissed_by_a_key_of_that_scope(
    client: TestClient, store: Store
) -> None:
    swap = play.place(client)
    spent_somehow(store, swap["id"])
    (item,) = client.get("/v1/admin/chains/zion/unread", headers=VIEWER).json()["items"]
    assert (item["item"], item["reason"], item["software"]) == ("item1", "version 9 of a transaction", "1.0")
    path = f"/v1/admin/chains/zion/unread/{item['id']}/dismiss"
    assert problem(client.post(path, json={"note": NOTE}, headers=VIEWER)) == "forbidden"
    assert problem(client.post(path, json={"note": ""}, headers=ADMIN)) == "invalid-request"
    assert client.post(path, json={"note": NOTE}, headers=ADMIN).json() == {"items": []}
    assert problem(client.post(path, json={"note": NOTE}, headers=ADMIN)) == "not-found"
    assert problem(client.get("/v1/admin/chains/bitcoin/unread", headers=VIEWER)) == "not-found"
    (entry,) = client.get("/v1/admin/audit", headers=ADMIN).json()["entries"]
    assert (entry["verb"], entry["subject"]) == ("dismiss", "zion")


@pytest.mark.parametrize(
    ("state", "words"),
    [(LegState.FINAL, "you can claim it yourself"), (LegState.CLAIM_SEEN, "was paid back to you")],
)
def test_the_lock_that_pays_the_source_back_is_shown(
    client: TestClient, store: Store, state: LegState, words: str
) -> None:
    swap_id = play.place(client)["id"]
    assert client.get(f"/v1/swaps/{swap_id}").json()["payback"] is None
    with store.transaction() as tx:
        stored = tx.swaps.get(SwapId(swap_id))
        assert stored is not None
        terms = payback_terms(stored.swap.source.terms)
        back = Leg(LegRole.PAYBACK, terms, state, lock_id=LockId("b2" * 32), lock_tx=TxId("paid"))
        source = msgspec.structs.replace(stored.swap.source, state=LegState.CLAIM_FINAL)
        tx.swaps.save(msgspec.structs.replace(stored.swap, source=source, payback=back), stored.version)
        saved = tx.swaps.get(SwapId(swap_id))
    shown = client.get(f"/v1/swaps/{swap_id}").json()
    assert words in shown["detail"]
    assert (shown["payback"]["state"], shown["payback"]["lock_tx"]) == (state.value, "paid")
    assert shown["payback"]["terms"]["recipient"] == stored.swap.source.terms.sender
    assert shown["payback"]["terms"]["money"] == shown["source"]["terms"]["money"]
    assert saved is not None
    view = swap_view(saved, {}, gasless=False, last_event=1)
    assert any(line.startswith("payback: ") and "lock paid" in line for line in swap_lines(view))
