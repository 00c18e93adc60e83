"""The parts of the core by themselves: budgets, the address book, orphans, presync, eviction."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain.network.codec import Header, WtxId, wtxid_of
from chain.network.core.addresses import AddressBook
from chain.network.core.branch import Branch, HeaderFaultError
from chain.network.core.connections import Connections
from chain.network.core.core import Core
from chain.network.core.events import (
    CheckBlock,
    Connected,
    Dial,
    Drop,
    Effect,
    Fault,
    Kind,
    PeerId,
    Received,
    Send,
    Tick,
)
from chain.network.core.limits import Bucket
from chain.network.core.orphans import MAX_ORPHANS, MAX_PER_PEER, Orphans
from chain.network.core.peers import Peer, Settings, Shared
from chain.network.core.presync import Phase, Presync
from chain.network.core.rolling import RollingSet
from chain.network.ledger import TransactionFault, TransactionVerdict
from chain.network.message_codec import encode_message
from chain.network.messages import (
    AddressEntry,
    Addresses,
    BlockMessage,
    GetHeaders,
    GetTransactions,
    Headers,
    Hello,
    Inventory,
    Message,
    Ping,
    Ready,
    Transactions,
    Type,
)
from chain.network.node_ledger import NodeLedger
from chain.network.peer_address import PeerAddress, address_of
from chain.rules.header import compact_to_target
from chain.rules.params import DEV
from chain.rules.types import BlockId
from kernels import cosmic_harmony
from tests.unit.chain.harness import Sandbox

NOW = 1_800_000_000


@pytest.fixture
def ledger(box: Sandbox) -> NodeLedger:
    return NodeLedger(box.chain, box.mempool, box.accept, box.mempool.admit)


class Talk:
    """One core and what a test says to it as a peer."""

    def __init__(self, ledger: NodeLedger, **settings: object) -> None:
        self.ledger = ledger
        chosen = {"local": True, "discover": False, **settings}
        self.core = Core(ledger, Settings(**chosen), random.Random(1))  # type: ignore[arg-type]
        self.now = 0.0

    def connect(self, number: int, host: str = "127.9.0.1", kind: Kind = Kind.INBOUND) -> list[Effect]:
        return self.core.handle(Connected(PeerId(number), address_of(host, 5), kind), self.now)

    def say(self, number: int, message: Message) -> list[Effect]:
        return self.core.handle(Received(PeerId(number), *encode_message(message)), self.now)

    def hello(self, **changed: object) -> Hello:
        fields: dict[str, object] = {
            "protocol": 1, "genesis": self.ledger.genesis_id, "services": 1, "nonce": 5, "height": 0,
            "work": bytes(32), "time": NOW, "agent": "test", "port": 0, "relay": True, **changed,
        }  # fmt: skip
        return Hello(**fields)  # type: ignore[arg-type]

    def meet(self, number: int, host: str = "127.9.0.1", kind: Kind = Kind.INBOUND) -> list[Effect]:
        effects = self.connect(number, host, kind)
        effects += self.say(number, self.hello(nonce=number + 1_000))
        return effects + self.say(number, Ready())


@pytest.fixture
def talk(ledger: NodeLedger) -> Talk:
    return Talk(ledger)


def sent(effects: list[Effect]) -> list[Message]:
    return [one.message for one in effects if isinstance(one, Send)]


def dropped(effects: list[Effect]) -> list[Fault]:
    return [one.fault for one in effects if isinstance(one, Drop)]


# the handshake --------------------------------------------------------------------------------------


def test_both_sides_greet_and_then_talk(talk: Talk) -> None:
    effects = talk.meet(1, kind=Kind.FULL)
    kinds = [type(message) for message in sent(effects)]
    assert kinds[:2] == [Hello, Ready]
    assert GetHeaders in kinds
    assert not dropped(effects)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [({"genesis": bytes(32)}, Fault.OTHER_NETWORK), ({"protocol": 0}, Fault.OLD_PROTOCOL)],
)
def test_a_hello_of_another_network_ends_it(talk: Talk, changed: dict[str, object], fault: Fault) -> None:
    talk.connect(1)
    assert dropped(talk.say(1, talk.hello(**changed))) == [fault]
    assert not dropped(talk.connect(2)), "it is not refused for that"


def test_talking_before_the_greeting_or_greeting_twice_is_a_fault(talk: Talk) -> None:
    talk.connect(1, "127.9.0.1")
    assert dropped(talk.say(1, Ping(1))) == [Fault.OUT_OF_PLACE]
    talk.meet(2, "127.9.0.2")
    assert dropped(talk.say(2, talk.hello())) == [Fault.OUT_OF_PLACE]
    assert dropped(talk.connect(3, "127.9.0.2")) == [Fault.DISCOURAGED]


def test_a_peer_that_never_greets_is_left(talk: Talk) -> None:
    talk.connect(1)
    talk.now = 61.0
    assert dropped(talk.core.handle(Tick(), talk.now)) == [Fault.NO_HELLO]


def test_malformed_bytes_cost_the_connection_and_a_day(talk: Talk) -> None:
    talk.meet(1)
    assert dropped(talk.core.handle(Received(PeerId(1), Type.PING, b"short"), 0.0)) == [Fault.MALFORMED]
    assert dropped(talk.connect(2)) == [Fault.DISCOURAGED]
    talk.now = 86_401.0
    assert not dropped(talk.connect(3))


def test_a_block_that_nobody_asked_for_is_a_fault_and_is_not_checked(talk: Talk, box: Sandbox) -> None:
    talk.meet(1)
    effects = talk.say(1, BlockMessage(box.forge()))
    assert dropped(effects) == [Fault.UNASKED]
    assert not [one for one in effects if isinstance(one, CheckBlock)]


def test_pings_above_their_budget_are_not_answered(talk: Talk) -> None:
    talk.meet(1)
    answers = [len(sent(talk.say(1, Ping(n)))) for n in range(30)]
    assert sum(answers) == 10
    assert not dropped(talk.say(1, Ping(99)))


def test_types_of_later_versions_are_skipped_until_they_flood(talk: Talk) -> None:
    talk.meet(1)
    effects = [talk.core.handle(Received(PeerId(1), 77, b"x"), 0.0) for _ in range(11)]
    assert [dropped(one) for one in effects] == [[]] * 10 + [[Fault.OVER_BUDGET]]


def test_headers_that_never_connect_end_it(talk: Talk, box: Sandbox) -> None:
    talk.meet(1)
    header = replace(box.forge().header, previous=BlockId(bytes(31) + b"\x01"))
    seen = [dropped(talk.say(1, Headers((header,)))) for _ in range(11)]
    assert seen == [[]] * 10 + [[Fault.UNCONNECTED]]


# connections ----------------------------------------------------------------------------------------


def test_a_named_peer_is_dialled_again_and_again(ledger: NodeLedger) -> None:
    place = address_of("127.9.9.9", 7)
    talk = Talk(ledger, manual=(place,))
    assert Dial(place, Kind.MANUAL) in talk.core.handle(Tick(), 1.0)
    assert Dial(place, Kind.MANUAL) not in talk.core.handle(Tick(), 1.5)
    talk.core.connections.dial_failed(place)
    assert Dial(place, Kind.MANUAL) in talk.core.handle(Tick(), 4.0)


def test_outbound_connections_are_of_different_netgroups(ledger: NodeLedger) -> None:
    talk = Talk(ledger, discover=True, local=False)
    book, now = talk.core.connections.book, ledger.now()
    for n in range(200):
        book.add(address_of(f"8.8.{n}.1", 80), b"source", now, now)
    book.add(address_of("9.9.9.9", 80), b"source", now, now)
    dials = []
    for turn in range(40):
        dials += [one for one in talk.core.handle(Tick(), 1.0 + turn) if isinstance(one, Dial)]
    assert len(dials) == 2
    assert len({one.address.group for one in dials}) == 2


def test_a_full_node_evicts_the_young_crowd_and_not_the_old_peers(ledger: NodeLedger) -> None:
    talk = Talk(ledger, inbound=40)
    for n in range(20):
        talk.now = float(n)
        talk.meet(n, f"1{n}.1.1.1")
    effects: list[Effect] = []
    for n in range(200):
        talk.now = 100.0 + n
        effects += talk.meet(100 + n, f"99.9.{n}.1")
    assert set(dropped(effects)) == {Fault.EVICTED}
    assert {peer.id for peer in talk.core.peers} >= set(range(20))
    assert len(talk.core.peers) == 40


def test_eight_refused_hosts_refuse_their_subnet_and_this_machine_is_never_refused(
    ledger: NodeLedger,
) -> None:
    shared = Shared(ledger, Settings(), random.Random(1))
    connections = Connections(shared, AddressBook(random.Random(2)))
    for n in range(7):
        connections.discourage(address_of(f"8.1.2.{n}", 1))
    assert not connections.is_discouraged(address_of("8.1.2.200", 1))
    connections.discourage(address_of("8.1.2.7", 1))
    assert connections.is_discouraged(address_of("8.1.2.200", 1))
    assert not connections.is_discouraged(address_of("8.1.3.1", 1))
    connections.discourage(address_of("127.0.0.1", 1))
    assert not connections.is_discouraged(address_of("127.0.0.1", 1))


# the address book -----------------------------------------------------------------------------------


def test_one_source_cannot_fill_the_address_book() -> None:
    book = AddressBook(random.Random(1))
    chance = random.Random(3)
    for _ in range(20_000):
        book.add(PeerAddress(address_of("1.1.1.1", 1).net, chance.randbytes(4), 80), b"liar", NOW, NOW)
    assert len(book) <= 64 * 64
    honest = sum(book.add(address_of(f"20.{n}.1.1", 80), b"honest %d" % n, NOW, NOW) for n in range(100))
    assert honest > 80


def test_an_address_flood_over_a_connection_is_cut_by_its_budget(talk: Talk) -> None:
    talk.meet(1, "99.1.1.1")
    entries = tuple(AddressEntry(NOW, 1, address_of(f"50.{n % 250}.{n // 250}.1", 80)) for n in range(1_000))
    for _ in range(15):
        talk.say(1, Addresses(entries))
    assert len(talk.core.connections.book) <= 1


def test_a_book_survives_its_file_and_damage_is_refused() -> None:
    book = AddressBook(random.Random(1))
    for n in range(50):
        book.add(address_of(f"20.{n}.1.1", 80), b"s%d" % n, NOW, NOW)
    for n in range(10):
        book.good(address_of(f"20.{n}.1.1", 80), NOW)
    book.anchors = (address_of("20.1.1.1", 80),)
    again = AddressBook.load(book.save(), random.Random(2), NOW)
    assert (len(again), again.tried, again.anchors) == (len(book), 10, book.anchors)
    for data in (b"", b"\x90", book.save()[:-5], b"\xff" * 50):
        with pytest.raises(ValueError):  # noqa: PT011 - every kind of damage
            AddressBook.load(data, random.Random(2), NOW)


def test_stale_and_failing_addresses_are_not_chosen() -> None:
    book = AddressBook(random.Random(1))
    place = address_of("20.1.1.1", 80)
    assert not book.add(place, b"s", NOW - 40 * 86_400, NOW)
    assert book.add(place, b"s", NOW, NOW)
    assert book.pick(NOW) == place
    for _ in range(3):
        book.failed(place, NOW)
    assert book.pick(NOW + 100_000) is None


# small parts ----------------------------------------------------------------------------------------


def test_a_bucket_gives_what_it_holds_and_refills_by_time() -> None:
    bucket = Bucket(2, 0.5)
    assert [bucket.take(0.0), bucket.take(0.0), bucket.take(0.0)] == [True, True, False]
    assert [bucket.take(2.0), bucket.take(2.0)] == [True, False]
    assert not bucket.take(1.0), "time does not run backwards"


def test_a_rolling_set_is_bounded() -> None:
    known = RollingSet(10)
    for n in range(1_000):
        known.add(b"%d" % n)
    assert len(known) <= 20
    assert b"999" in known
    assert b"5" not in known


def test_orphans_have_quotas_and_a_lifetime(ledger: NodeLedger) -> None:
    shared = Shared(ledger, Settings(), random.Random(1))
    orphans = Orphans(shared)

    def add(peer: int, sender: int, nonce: int) -> None:
        wtxid = WtxId(b"%d %d %d" % (peer, sender, nonce))
        verdict = TransactionVerdict(wtxid, False, 1, TransactionFault.WAITS, "", b"s%d" % sender, nonce)
        orphans.add(PeerId(peer), b"raw %d %d" % (sender, nonce), verdict)

    for n in range(500):
        add(1, n, 5)
    assert len(orphans) == MAX_PER_PEER
    for n in range(3_000):
        add(2 + n // 90, 1_000 + n, 5)
    assert len(orphans) == MAX_ORPHANS
    orphans.forget(PeerId(34))
    add(99, 7_777, 5)
    assert orphans.released_by(b"s7777", 4) == [b"raw 7777 5"]
    assert orphans.released_by(b"s7777", 4) == []
    shared.now = 1_201.0
    orphans.expire()
    assert len(orphans) == 0


def test_a_transaction_is_asked_of_one_peer_and_then_not_counted_against_the_others(talk: Talk) -> None:
    for number in (1, 2):
        talk.meet(number, f"127.9.0.{number}", Kind.FULL)
    raw = bytes(328)
    asked = [one for n in (1, 2) for one in sent(talk.say(n, Inventory((wtxid_of(raw),))))]
    assert asked == [GetTransactions((wtxid_of(raw),))]
    assert [peer.announced for peer in talk.core.peers] == [0, 1]
    talk.say(1, Transactions((raw,)))
    assert [peer.announced for peer in talk.core.peers] == [0, 0]


def test_where_a_peer_listens_is_noted_and_passed_on(talk: Talk) -> None:
    talk.meet(1, "127.9.0.1")
    talk.connect(2, "127.9.0.2")
    talk.say(2, talk.hello(port=77, nonce=9))
    told = [
        one for one in talk.say(2, Ready()) if isinstance(one, Send) and isinstance(one.message, Addresses)
    ]
    assert [one.peer for one in told] == [1]
    assert talk.core.connections.book.get(address_of("127.9.0.2", 77)) is not None


# presync --------------------------------------------------------------------------------------------


@pytest.fixture
def chain_of_headers(tmp_path: Path) -> Iterator[list[Header]]:
    box = Sandbox(tmp_path / "long")
    for _ in range(30):
        box.mine()
    yield [record.header for n in range(31) if (record := box.chain.header(box.chain.ids_between(n, n)[0]))]
    box.close()


def _presync(headers: list[Header], needed: int) -> Presync:
    def branch() -> Branch:
        return Branch(DEV, [headers[0]], 0)

    return Presync(headers[0].id, branch(), branch(), needed, b"salt", 0.0)


def test_a_branch_with_little_work_leaves_nothing_behind(chain_of_headers: list[Header]) -> None:
    presync = _presync(chain_of_headers, 10**9)
    progress = presync.on_headers(chain_of_headers[1:], NOW, full=False)
    assert (progress.taken, progress.done) == ((), True)


def test_a_branch_with_enough_work_is_read_twice_and_taken(chain_of_headers: list[Header]) -> None:
    presync = _presync(chain_of_headers, 1)
    first = presync.on_headers(chain_of_headers[1:16], NOW, full=True)
    assert (first.taken, first.ask_after, presync.phase) == ((), chain_of_headers[0].id, Phase.READ)
    second = presync.on_headers(chain_of_headers[1:], NOW, full=False)
    assert (list(second.taken), second.done) == (chain_of_headers[1:], True)


def test_a_branch_that_is_shorter_the_second_time_is_a_lie(chain_of_headers: list[Header]) -> None:
    presync = _presync(chain_of_headers, 16 * 20)
    presync.on_headers(chain_of_headers[1:], NOW, full=True)
    assert presync.phase is Phase.READ
    with pytest.raises(HeaderFaultError) as found:
        presync.on_headers(chain_of_headers[1:3], NOW, full=False)
    assert found.value.fault is Fault.BAD_PRESYNC


def test_a_header_without_work_is_found_among_good_ones(chain_of_headers: list[Header]) -> None:
    last, target = chain_of_headers[30], compact_to_target(DEV.pow_limit)
    nonce = next(n for n in range(1_000) if not cosmic_harmony.verify(last.raw, n, target))
    headers = [*chain_of_headers[1:30], replace(last, nonce=nonce)]
    branch = Branch(DEV, [chain_of_headers[0]], 0)
    with pytest.raises(HeaderFaultError) as found:
        branch.extend(headers, NOW)
    assert found.value.fault is Fault.BAD_WORK


def test_peers_do_not_share_their_state() -> None:
    one, other = (Peer(PeerId(n), address_of("8.8.8.8", 1), Kind.FULL, 0.0, n) for n in (1, 2))
    one.known.add(b"x")
    one.in_flight.add(bytes(32))  # type: ignore[arg-type]
    assert b"x" not in other.known
    assert not other.in_flight
