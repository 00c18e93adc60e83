"""A swap that the database lost comes back with its receipt, and nobody can invent one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bridge.api.services import Services
from bridge.desk.acceptances import AcceptanceBook
from bridge.engine.journal import Journal
from bridge.keys.keystore import SecretKey, devnet_key
from bridge.keys.quote_signature import QuoteSigner, receipt_is_valid, signature_is_valid
from bridge.protocol.acceptance import read_acceptance
from bridge.protocol.types import SwapId
from bridge.store import Store, StoreUnavailableError
from tests.unit.api import play
from tests.unit.api.play import Clock, healthy_chains

SIGNER = QuoteSigner(devnet_key("quotes/signer"))


@pytest.fixture
def other(tmp_path: Path, clock: Clock) -> Store:
    """The database after a restore: it has none of the swaps."""
    store = Store.open(f"sqlite:///{tmp_path}/older.db", secrets_key=bytes(range(32)), clock=clock)
    healthy_chains(store, clock)
    return store


def _hand_in(client: TestClient, receipt: dict[str, Any]) -> Any:
    body = {"receipt": receipt["text"], "signature": receipt["signature"]}
    return client.post("/v1/swaps/restore", json=body)


def test_an_accepted_swap_comes_with_a_signed_receipt_of_both_locks(client: TestClient) -> None:
    swap = play.place(client)
    receipt = swap["receipt"]
    assert receipt_is_valid(SIGNER.public_key, receipt["text"], receipt["signature"])
    assert receipt["public_key"] == SIGNER.public_key
    acceptance = read_acceptance(receipt["text"])
    assert acceptance.swap_id == swap["id"]
    assert acceptance.hashlock.hex() == swap["hashlock"]
    assert acceptance.heights == {"ethereum": 1_000, "zion": 1_000}
    assert str(acceptance.destination.amount) == swap["destination"]["terms"]["money"]["amount"]
    assert acceptance.swap().accepted


def test_a_quote_passes_for_no_receipt_nor_the_other_way_round(client: TestClient) -> None:
    receipt = play.place(client)["receipt"]
    assert not signature_is_valid(SIGNER.public_key, receipt["text"], receipt["signature"])
    assert not receipt_is_valid(SIGNER.public_key, receipt["text"], SIGNER.sign(receipt["text"]))


def test_a_repeated_order_gets_the_same_receipt(client: TestClient) -> None:
    quote = play.ask(client)
    order = play.order(quote)
    headers = {"Idempotency-Key": "12345678-again"}
    first = client.post("/v1/swaps", json=order, headers=headers).json()
    again = client.post("/v1/swaps", json=order, headers=headers)
    assert again.status_code == 200
    assert again.json()["receipt"] == first["receipt"]


def test_a_receipt_of_a_swap_that_is_here_changes_nothing(client: TestClient, store: Store) -> None:
    receipt = play.place(client)["receipt"]
    answer = _hand_in(client, receipt)
    assert (answer.status_code, answer.json()["state"]) == (200, "known")
    with store.reading() as tx:
        assert tx.restorations.going_on() == []
        assert tx.controls.all() == []


@pytest.mark.parametrize("change", ["text", "signature", "foreign", "quote"])
def test_nobody_can_invent_a_swap(client: TestClient, store: Store, change: str) -> None:
    receipt = dict(play.place(client)["receipt"])
    if change == "text":
        receipt["text"] = receipt["text"].replace('"amount":', '"amount":9', 1)
    elif change == "signature":
        receipt["signature"] = "00" * 64
    elif change == "foreign":
        receipt["signature"] = QuoteSigner(SecretKey(b"\x07" * 32)).sign_receipt(receipt["text"])
    else:
        quote = play.ask(client)
        receipt = {"text": json.dumps(quote), "signature": quote["signature"]}
    answer = _hand_in(client, receipt)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("bad-receipt")
    with store.reading() as tx:
        assert tx.restorations.going_on() == []


def test_a_signed_text_that_is_no_swap_is_refused(services: Services) -> None:
    from bridge.desk.refused import RefusedError

    for text in ("{}", "[]", "null", '{"version":9}'):
        with pytest.raises(RefusedError):
            services.acceptances.hand_in(text, SIGNER.sign_receipt(text))


def test_a_lost_swap_is_read_again_and_its_chains_are_paused(client: TestClient, other: Store) -> None:
    receipt = play.place(client)["receipt"]
    book = AcceptanceBook(other, SIGNER)
    for _ in range(2):
        answer = book.hand_in(receipt["text"], receipt["signature"], "owner")
        assert answer.state is not None
        assert answer.state.value == "reading"
    with other.reading() as tx:
        (restoration,) = tx.restorations.going_on()
        heights = {scan.chain: scan.from_height for scan in tx.restorations.rescans_of(restoration.swap_id)}
        assert {switch.name for switch in tx.controls.all()} == {"pause:ethereum", "pause:zion"}
    assert heights == {"ethereum": 936, "zion": 936}
    assert (restoration.client, restoration.origin) == ("owner", "client")


def test_only_so_many_handed_in_are_read_at_one_time(
    client: TestClient, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridge.desk import acceptances
    from bridge.desk.refused import Reason, RefusedError

    monkeypatch.setattr(acceptances, "MAX_HANDED_IN", 1)
    book = AcceptanceBook(other, SIGNER)
    first, second = (play.place(client, number)["receipt"] for number in (1, 2))
    book.hand_in(first["text"], first["signature"])
    with pytest.raises(RefusedError) as caught:
        book.hand_in(second["text"], second["signature"])
    assert caught.value.reason is Reason.LIMIT_REACHED
    book.hand_in(first["text"], first["signature"])


def test_a_swap_is_in_the_journal_before_it_is_acknowledged(
    client: TestClient, services: Services, other: Store, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "accepted.journal")
    services.acceptances._journal = journal
    swap = play.place(client)
    (entry,) = journal.read().entries
    assert entry.swap_id == swap["id"]
    assert AcceptanceBook(other, SIGNER, journal).compare() == 1
    assert AcceptanceBook(other, SIGNER, journal).compare() == 0


def test_a_swap_that_cannot_be_written_down_is_not_acknowledged_and_can_be_asked_for_again(
    client: TestClient, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "accepted.journal")
    services.acceptances._journal = journal

    def full(_: object) -> None:
        raise StoreUnavailableError("the disk is full", "make room")

    quote = play.ask(client)
    headers = {"Idempotency-Key": "12345678-again"}
    with monkeypatch.context() as patched:
        patched.setattr(journal, "append", full)
        refused = client.post("/v1/swaps", json=play.order(quote), headers=headers)
    assert refused.status_code == 503
    again = client.post("/v1/swaps", json=play.order(quote), headers=headers)
    assert again.status_code == 200
    assert [entry.swap_id for entry in journal.read().entries] == [again.json()["id"]]


def test_swaps_that_the_journal_lost_are_written_down_again(
    client: TestClient, store: Store, tmp_path: Path
) -> None:
    swap = play.place(client)
    journal = Journal(tmp_path / "accepted.journal")
    assert AcceptanceBook(store, SIGNER, journal).compare() == 0
    assert [entry.swap_id for entry in journal.read().entries] == [swap["id"]]


def test_a_forged_line_is_passed_over_and_the_others_are_restored(
    client: TestClient, other: Store, store: Store, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "accepted.journal")
    swaps = [play.place(client, number) for number in (1, 2)]
    AcceptanceBook(store, SIGNER, journal).compare()
    text = journal.path.read_text()
    journal.path.write_text(text.replace(swaps[0]["receipt"]["signature"], "11" * 64))
    assert AcceptanceBook(other, SIGNER, journal).compare() == 1
    with other.reading() as tx:
        assert tx.restorations.get(SwapId(swaps[1]["id"])) is not None
        assert tx.restorations.get(SwapId(swaps[0]["id"])) is None
