"""The log in the database: no gaps, also when two append; proofs; anchors; a dishonest operator."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from nacl.signing import SigningKey

from bridge.chains.port import ChainPort
from bridge.keys.keystore import SecretKey
from bridge.keys.quote_signature import QuoteSigner
from bridge.proofs.anchoring import anchor_log
from bridge.proofs.logbook import LogBook
from bridge.proofs.notes import NoteError, TreeHead, cosign, is_cosigned, origin_of, read_head, sign_head
from bridge.proofs.witness import ForkError, Seen, accept, needs_proof
from bridge.protocol import merkle
from bridge.protocol.receipt import is_public, receipt_text, swap_commitment
from bridge.protocol.types import Purpose, SwapId
from bridge.store import Store
from bridge.store.records import IntentState, PlannedIntent
from tests import instances
from tests.unit.samples import swap
from tests.unit.store.test_upgrade import _move

SIGNER = QuoteSigner(SecretKey(b"\x07" * 32))
KEY = SIGNER.public_key
ZION_PORT = cast(ChainPort, SimpleNamespace(chain=instances.ZION))


def fill(store: Store, *bodies: str) -> None:
    with store.transaction() as tx:
        for body in bodies:
            tx.receipts.append(SwapId(f"swap-{body}"), body)


def open_log(tmp_path: Path, name: str, *bodies: str) -> tuple[Store, LogBook]:
    store = Store.open(f"sqlite:///{tmp_path / name}.db")
    fill(store, *bodies)
    return store, LogBook(store, SIGNER, {})


def test_two_relayers_append_at_once_without_gaps_or_forks(any_url: str) -> None:
    stores = [Store.open(any_url) for _ in range(2)]

    def writer(number: int) -> None:
        for turn in range(15):
            fill(stores[number], *(f"{number}-{turn}-{each}" for each in range(turn % 4 + 1)))

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with stores[0].reading() as tx:
        size = tx.receipts.size()
        leaves = tx.receipts.slice(0, size)
        hashes = [merkle.leaf_hash(leaf.body.encode()) for leaf in leaves]
        assert [leaf.index for leaf in leaves] == list(range(2 * sum(turn % 4 + 1 for turn in range(15))))
        assert tx.receipts.root(size) == merkle.root(hashes)
        for index in range(size):
            path = tx.receipts.inclusion(index, size)
            assert merkle.is_included(hashes[index], index, size, path, merkle.root(hashes))
        for first in range(1, size + 1):
            path = tx.receipts.consistency(first, size)
            roots = merkle.root(hashes[:first]), merkle.root(hashes)
            assert merkle.is_consistent(first, size, path, *roots)
    for store in stores:
        store.close()


def test_a_transaction_that_fails_leaves_neither_leaf_nor_node(any_store: Store) -> None:
    fill(any_store, "a", "b", "c")

    def failing() -> None:
        with any_store.transaction() as tx:
            tx.receipts.append(SwapId("swap-d"), "d")
            tx.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    fill(any_store, "e")
    with any_store.reading() as tx:
        assert tx.receipts.root(4) == merkle.root(
            [merkle.leaf_hash(each) for each in (b"a", b"b", b"c", b"e")]
        )


def test_a_receipt_says_what_the_chains_show_and_hides_the_swaps_id() -> None:
    made = swap(3)
    text = receipt_text(made, {made.source.terms.chain: "network 7"})
    body = msgspec.json.decode(text)
    assert text.encode() == msgspec.json.encode(body, order="sorted")
    assert body["swap"] == swap_commitment(made.id)
    assert made.id not in text
    assert is_public(text)
    assert body["source"]["network"] == "network 7"
    for leg in (made.source, made.destination):
        shown = body[leg.role.value]
        assert shown["amount"] == str(leg.terms.amount)
        assert (shown["sender"], shown["recipient"]) == (leg.terms.sender, leg.terms.recipient)
        assert (shown["deadline"], shown["chain"]) == (leg.terms.deadline, leg.terms.chain)
    assert not is_public('{"swap":"an id"}')


def test_leaves_of_old_versions_are_listed_by_their_hash_alone(tmp_path: Path) -> None:
    _, book = open_log(tmp_path, "old", '{"swap":"secret id"}', '{"swap":"x","version":1}')
    old, new = book.leaves(0, 10)
    assert (old.body, new.body) == (None, '{"swap":"x","version":1}')
    assert old.hash == merkle.leaf_hash(b'{"swap":"secret id"}')


async def test_the_newest_head_is_anchored_one_at_a_time(any_store: Store) -> None:
    assert await anchor_log(any_store, ZION_PORT) is None
    fill(any_store, "a", "b")
    first = await anchor_log(any_store, ZION_PORT)
    assert first is not None
    assert first.size == 2
    planned = PlannedIntent(f"anchor:{first.root.hex()}:2", Purpose.ANCHOR, instances.ZION)
    with any_store.transaction() as tx:
        tx.intents.plan(planned)
        tx.log_anchors.add(2, first.root.hex(), instances.ZION)
        standing = tx.intents.standing(planned.subject, "", Purpose.ANCHOR)
    assert standing is not None
    fill(any_store, "c")
    assert await anchor_log(any_store, ZION_PORT) is None  # the first one is on its way
    with any_store.transaction() as tx:
        tx.intents.move(standing.id, IntentState.INCLUDED)
    second = await anchor_log(any_store, ZION_PORT)
    assert second is not None
    assert second.size == 3
    with any_store.transaction() as tx:  # a reorg took it out of its block: the outbox sends it again
        tx.intents.move(standing.id, IntentState.BROADCAST)
    assert await anchor_log(any_store, ZION_PORT) is None


def test_a_note_is_read_in_one_form_and_under_one_key_only() -> None:
    note = sign_head(3, b"\x05" * 32, SIGNER)
    assert read_head(note, KEY) == TreeHead(origin_of(KEY), 3, b"\x05" * 32)
    with pytest.raises(NoteError):
        read_head(note, QuoteSigner(SecretKey(b"\x08" * 32)).public_key)
    for place, character in enumerate(note):
        with pytest.raises(NoteError):
            read_head(note[:place] + chr(ord(character) ^ 1) + note[place + 1 :], KEY)


def test_a_witness_cosigns_what_it_saw() -> None:
    head = TreeHead(origin_of(KEY), 3, b"\x05" * 32)
    key = SigningKey(b"\x09" * 32)
    public = bytes(key.verify_key).hex()
    line = cosign(head, "witness.example", key, 1_700_000_000)
    assert is_cosigned(head, line, "witness.example", public)
    assert not is_cosigned(head, line, "another.example", public)
    assert not is_cosigned(msgspec.structs.replace(head, size=4), line, "witness.example", public)


# -- a dishonest operator ------------------------------------------------------------------------------


def look(seen: Seen | None, book: LogBook) -> Seen:
    """What a witness does with what a bridge shows."""
    note = book.head().note
    needed = needs_proof(seen, note, KEY)
    return accept(seen, note, KEY, book.consistency(*needed) if needed else [])


def test_a_log_that_only_grows_satisfies_its_witness(tmp_path: Path) -> None:
    store, book = open_log(tmp_path, "honest")
    seen = look(None, book)
    for bodies in (("a",), ("b", "c"), (), ("d", "e", "f", "g")):
        fill(store, *bodies)
        seen = look(seen, book)
        assert book.witnessed(seen.note)[1] == ""
    assert read_head(seen.note, KEY).size == 7


@pytest.mark.parametrize(
    ("does", "bodies"),
    [
        ("drops the last leaf", "abcd"),
        ("drops a leaf and goes on", "abceXY"),
        ("alters a leaf", "abXde"),
        ("alters a leaf and goes on", "aXcdefg"),
        ("puts one in between", "aXbcdef"),
        ("starts again", "VWXYZUT"),
    ],
)
def test_whatever_a_dishonest_operator_does_the_witness_sees_it(
    tmp_path: Path, does: str, bodies: str
) -> None:
    _, honest = open_log(tmp_path, "honest", *"abcde")
    _, forged = open_log(tmp_path, "forged", *bodies)
    seen = look(None, honest)
    with pytest.raises(ForkError):
        look(seen, forged)
    # The note alone proves it at the bridge, too: it carries the bridge's own signature.
    assert forged.witnessed(seen.note)[1], does


def test_a_fork_shown_to_one_user_is_seen_where_two_heads_meet(tmp_path: Path) -> None:
    store, honest = open_log(tmp_path, "honest", *"abcde")
    _, forged = open_log(tmp_path, "forged", *"abXdefg")
    shown_to_victim = look(None, forged)
    assert "7 leaves and has 5" in honest.witnessed(shown_to_victim.note)[1]
    fill(store, "f", "g")
    assert "another root" in honest.witnessed(shown_to_victim.note)[1]
    assert "another root" in honest.witnessed(shown_to_victim.note)[1]
    with store.reading() as tx:
        assert tx.log_alarms.count() == 1  # the same note is kept once


def test_no_stranger_raises_an_alarm(tmp_path: Path) -> None:
    store, book = open_log(tmp_path, "honest", *"abc")
    stranger: Any = QuoteSigner(SecretKey(b"\x08" * 32))
    for note in ("", "nonsense", sign_head(9, b"\x01" * 32, stranger)):
        with pytest.raises(NoteError):
            book.witnessed(note)
    with store.reading() as tx:
        assert tx.log_alarms.count() == 0


def test_the_user_of_a_dropped_or_altered_swap_sees_it(tmp_path: Path) -> None:
    """The user holds a receipt's place from a signed head, and asks for it under a later one."""
    _, honest = open_log(tmp_path, "honest", *"abcde")
    leaf, _ = honest.inclusion(2, 5)
    _, forged = open_log(tmp_path, "forged", *"abXdefg")
    later = read_head(forged.head().note, KEY)
    _, path = forged.inclusion(2, 7)
    assert not merkle.is_included(leaf, 2, later.size, path, later.root)


def test_the_tree_is_built_from_the_receipts_of_the_release_before(any_url: str) -> None:
    store = Store.open(any_url)
    fill(store, *(str(number) for number in range(11)))
    with store.reading() as tx:
        root = tx.receipts.root(11)
    planned = PlannedIntent(f"anchor:{root.hex()}:11", Purpose.ANCHOR, instances.ZION)
    with store.transaction() as tx:
        tx.intents.plan(planned)
    store.close()
    _move(any_url, "0012")
    store = Store.open(any_url)
    fill(store, "11", "0")
    with store.reading() as tx:
        assert tx.receipts.root(11) == root
        hashes = [merkle.leaf_hash(str(number).encode()) for number in range(12)]
        assert tx.receipts.root(12) == merkle.root(hashes)
        assert tx.receipts.size() == 12
        assert [(head.size, head.subject) for head in tx.log_anchors.over(0)] == [(11, planned.subject)]
    store.close()
