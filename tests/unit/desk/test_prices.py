"""Prices from several sources: who is believed, what must wait, and that a restart forgets nothing."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import httpx
import msgspec
import pytest

from bridge.config.sections import PricesConfig
from bridge.desk import price_feeds
from bridge.desk.consensus import Agreed, NoAgreementError, Rules, agree, quorum_of
from bridge.desk.price_feeds import Feed, FeedError, HttpFeed, Print, StaticFeed
from bridge.desk.prices import PriceBook, PriceUnavailableError
from bridge.store import Store

ETH, ZION, USD = "ethereum:ETH", "zion:ZION", "ethereum:USDC"
RULES = Rules(max_age=60, quorum=3, max_range_ppm=10_000, volatility_ppm=600_000)
NOW = 1_800_000_000


class Source:
    """A feed that says what it is told to."""

    def __init__(self, name: str, **prices: str) -> None:
        self.name = name
        self.prices = {key.replace("_", ":"): Fraction(text) for key, text in prices.items()}
        self.ages: dict[str, int] = {}
        self.silent = False
        self.now = NOW

    def read(self) -> Mapping[str, Print]:
        if self.silent:
            raise FeedError("it is silent", "wake it")
        return {
            asset: Print(value, self.now - self.ages.get(asset, 0)) for asset, value in self.prices.items()
        }


class Desk:
    """Sources, a clock and a book."""

    def __init__(self, folder: Path, count: int = 5, **config: object) -> None:
        self.now = NOW
        self.sources = [
            Source(f"source{number}", ethereum_ETH="2000", zion_ZION="0.5", ethereum_USDC="1")
            for number in range(count)
        ]
        self.config = PricesConfig.model_validate({"source": "http", "url": "http://one", **config})
        self.store = Store.open(f"sqlite:///{folder}/desk.db", clock=lambda: self.now * 1000)
        self.book = self.make()

    def make(self) -> PriceBook:
        """The same desk after a restart."""
        return PriceBook(self.config, self.sources, [ETH, ZION, USD], lambda: self.now, self.store)

    def later(self, seconds: int = 10, *, asset: str = ETH, price: str | Fraction = "") -> None:
        self.now += seconds
        for source in self.sources:
            source.now = self.now
            if price:
                source.prices[asset] = Fraction(price)
        self.book.refresh()

    def price(self, asset: str = ETH) -> Fraction:
        return self.book.price(asset).value


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.book.refresh()
    return made


def prints(*values: str | Fraction, ages: Mapping[int, int] | None = None) -> dict[str, Print | None]:
    ages = ages or {}
    return {
        f"source{number}": Print(Fraction(value), NOW - ages.get(number, 0))
        for number, value in enumerate(values)
    }


# -- what the sources agree on ----------------------------------------------------------------


def test_the_median_of_those_that_agree_is_the_price_and_the_rest_is_named() -> None:
    found = agree(prints("2000", "2001", "1999", "2000.5", "2100"), RULES, NOW)
    assert found.value == Fraction("2000.25")
    assert (found.low, found.high) == (Fraction(1999), Fraction(2001))
    assert found.left_out == {"source4": "4.97 % away from the others"}


@pytest.mark.parametrize("factor", [Fraction(10**6), Fraction(1, 10**6)])
@pytest.mark.parametrize(("count", "liars"), [(3, 1), (4, 1), (5, 2), (7, 3), (10, 4)])
def test_fewer_than_half_of_the_sources_cannot_move_the_price(
    factor: Fraction, count: int, liars: int
) -> None:
    chosen = random.Random(count)
    honest = [Fraction(20_000 + chosen.randint(-5, 5), 10) for _ in range(count - liars)]
    lies = [Fraction(2_000) * factor * (1 + Fraction(number, 100)) for number in range(liars)]
    rules = msgspec.structs.replace(RULES, quorum=quorum_of(count))
    try:
        found = agree(prints(*lies, *honest), rules, NOW)
    except NoAgreementError:
        assert count - liars < rules.quorum
        return
    assert min(honest) <= found.low <= found.value <= found.high <= max(honest)
    assert set(found.left_out) == {f"source{number}" for number in range(liars)}


def test_one_live_source_is_no_quorum_and_the_silent_ones_are_named() -> None:
    seen: dict[str, Print | None] = {**prints("2000", "2000"), "source2": None, "source3": None}
    with pytest.raises(NoAgreementError, match="2 of 4 sources can be used, 3 are needed") as caught:
        agree(seen, RULES, NOW)
    assert set(caught.value.left_out) == {"source2", "source3"}
    assert caught.value.hint


def test_all_but_one_live_is_enough_for_three() -> None:
    seen: dict[str, Print | None] = {**prints("2000", "2000.2"), "source2": None}
    assert agree(seen, msgspec.structs.replace(RULES, quorum=2), NOW).value == Fraction("2000.1")


def test_age_counts_by_asset_and_print() -> None:
    found = agree(
        prints("2000", "2000", "2000", "2000", ages={0: 61, 1: 60, 2: -31}),
        RULES.__class__(60, 2, 10_000, 0),
        NOW,
    )
    assert found.left_out == {
        "source0": "its price is 61 s old, 60 s are allowed",
        "source2": "its time lies in the future",
    }
    assert found.at == NOW - 60


def test_two_sources_that_differ_much_give_no_price() -> None:
    two = msgspec.structs.replace(RULES, quorum=2)
    with pytest.raises(NoAgreementError, match=r"differ by 2\.95 %"):
        agree(prints("2000", "2060"), two, NOW)
    assert agree(prints("2000", "2019"), two, NOW).high == 2019


def test_quorum_is_more_than_half_and_at_least_two() -> None:
    assert [quorum_of(count) for count in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]


# -- what a feed may say ----------------------------------------------------------------------


def http_feed(body: bytes) -> HttpFeed:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    return HttpFeed("https://prices.example/v1?key=secret", transport)


@pytest.mark.parametrize(
    "number", ["1e3000000", '"1e3000000"', '"1e-3000000"', '"NaN"', "-1", "0", '"' + "9" * 40 + '"', '"1e61"']
)
def test_a_price_beyond_all_bounds_is_left_out_and_costs_nothing(number: str) -> None:
    body = f'{{"time": {NOW}, "prices": {{"zion:ZION": {number}, "ethereum:ETH": "2000.25"}}}}'.encode()
    began = time.process_time()
    found = http_feed(body).read()
    assert time.process_time() - began < 0.1
    assert found == {ETH: Print(Fraction(200_025, 100), NOW)}


def test_a_feed_may_give_each_asset_its_own_time() -> None:
    body = b'{"time": 100, "prices": {"zion:ZION": 0.5, "ethereum:ETH": 2000}, "times": {"zion:ZION": 70}}'
    found = http_feed(body).read()
    assert (found[ZION].at, found[ETH].at) == (70, 100)


@pytest.mark.parametrize("url", ["http://[", "http://x:99999/", "nonsense", "http://a b/"])
def test_an_address_that_is_none_is_a_feed_that_cannot_be_read(url: str) -> None:
    with pytest.raises(FeedError):
        HttpFeed(url).read()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_feed_that_sends_a_byte_now_and_then_holds_up_nothing(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_feeds, "READ_SECONDS", 0.3)

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(head)
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=drip, args=(listening,), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(FeedError, match="TimeoutError"):
            HttpFeed(f"http://127.0.0.1:{listening.getsockname()[1]}/").read()
    assert time.monotonic() - began < 3


def test_a_feed_is_named_by_its_host_alone() -> None:
    assert http_feed(b"").name == "prices.example"
    with pytest.raises(FeedError) as caught:
        http_feed(b"x").read()
    assert "secret" not in str(caught.value)


# -- the book ---------------------------------------------------------------------------------


def test_sources_that_fall_silent_are_left_out_and_too_few_stop_quoting(desk: Desk) -> None:
    desk.sources[0].silent = desk.sources[1].silent = True
    desk.later(61, price="2001")
    assert desk.price() == 2001
    assert set(desk.book.price(ETH).left_out) == {"source0", "source1"}
    desk.sources[2].silent = True
    desk.later(61, price="2001")
    with pytest.raises(PriceUnavailableError, match="2 of 5 sources"):
        desk.price()
    for source in desk.sources:
        source.silent = True
    with pytest.raises(PriceUnavailableError, match="silent"):
        desk.later(10)


def test_one_stale_asset_does_not_stop_the_others(desk: Desk) -> None:
    for source in desk.sources:
        source.ages[ZION] = 120
    desk.later(61)
    assert desk.price(ETH) == 2000
    with pytest.raises(PriceUnavailableError, match="zion:ZION is 61 s old"):
        desk.price(ZION)


def test_an_asset_may_have_its_own_age(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_ages={ZION: 300})
    for source in desk.sources:
        source.ages[ZION] = 120
    desk.book.refresh()
    assert desk.price(ZION) == Fraction(1, 2)


def test_a_single_feed_gives_no_price_unless_it_is_allowed_to(tmp_path: Path) -> None:
    desk = Desk(tmp_path, count=1)
    desk.book.refresh()
    with pytest.raises(PriceUnavailableError, match="2 are needed"):
        desk.price()
    alone = PriceBook(desk.config, desk.sources, [ETH], lambda: desk.now, alone=True)
    alone.refresh()
    assert alone.price(ETH).value == 2000


def test_a_source_of_a_broken_kind_stops_nothing(desk: Desk) -> None:
    class Broken(StaticFeed):
        name = "broken"

        def read(self) -> Mapping[str, Print]:
            raise RuntimeError("oops")

    feeds: list[Feed] = [*desk.sources, Broken({}, lambda: NOW)]
    book = PriceBook(desk.config, feeds, [ETH], lambda: desk.now)
    book.refresh()
    assert book.price(ETH).left_out == {"broken": "it gives no price"}


def test_a_price_from_later_than_now_is_not_sold_at(desk: Desk) -> None:
    """A clock was set back: how old the price is is not known, and it would look new for as long again."""
    desk.now -= 60
    assert desk.price() == 2000
    desk.now -= 1
    with pytest.raises(PriceUnavailableError, match="from 61 s later than now: was a clock set back"):
        desk.price()


# -- steps ------------------------------------------------------------------------------------


def test_a_glitch_of_every_source_is_never_sold_at(desk: Desk) -> None:
    """A feed that says 6,000 times too much for a while, the only one or all of them at once."""
    for _ in range(20):
        desk.later(30)
    desk.later(10, price="12000000")
    with pytest.raises(PriceUnavailableError, match="made a step"):
        desk.price()
    for _ in range(3):
        desk.later(20, price="2000")
    assert desk.price() == 2000


def test_a_step_under_an_old_time_is_a_step(desk: Desk) -> None:
    """Feeds that give another price with the time of the last one, and one that has not moved on."""
    for source in desk.sources:
        source.prices[ETH] = Fraction(12_000_000)
    desk.book.refresh()
    with pytest.raises(PriceUnavailableError, match="made a step"):
        desk.price()
    with desk.store.reading() as tx:
        stored = tx.market.price(ETH)
    assert stored is not None
    assert stored.wait


def test_a_small_move_under_an_old_time_is_followed(desk: Desk) -> None:
    for source in desk.sources:
        source.prices[ETH] = Fraction(2_001)
    desk.book.refresh()
    assert desk.price() == 2_001


def test_a_step_that_stays_is_true_after_half_a_minute(desk: Desk) -> None:
    for price in ("2040", "2041"):
        desk.later(10, price=price)
        with pytest.raises(PriceUnavailableError, match="made a step"):
            desk.price()
    desk.later(20, price="2040")
    assert desk.price() == 2040
    assert desk.book.movement(ETH, ZION, 730).jumps > 0
    desk.later(10, price="2000")
    with pytest.raises(PriceUnavailableError, match="made a step"):
        desk.price()


def test_a_huge_step_must_stand_for_ten_minutes(desk: Desk) -> None:
    for _ in range(60):
        desk.later(10, price="3000")
        with pytest.raises(PriceUnavailableError, match="600 s"):
            desk.price()
    desk.later(10, price="3001")
    assert desk.price() == 3001


def test_prices_that_never_stand_still_wait_for_as_long_as_they_jump(desk: Desk) -> None:
    for number in range(30):
        desk.later(10, price=Fraction(2_040 + 40 * (number % 3)))
        with pytest.raises(PriceUnavailableError, match="made a step"):
            desk.price()


def test_a_restart_in_the_middle_of_a_step_forgets_nothing(desk: Desk) -> None:
    desk.later(10, price="2100")
    desk.book = desk.make()
    with pytest.raises(PriceUnavailableError, match="no price for ethereum:ETH yet"):
        desk.price()
    desk.later(10, price="2100")
    with pytest.raises(PriceUnavailableError, match="made a step"):
        desk.price()


def test_the_states_are_the_same_bit_for_bit_after_restarts(tmp_path: Path) -> None:
    def run(folder: Path, *, restart: bool) -> dict[str, str]:
        folder.mkdir()
        desk = Desk(folder)
        chosen, value = random.Random(4), 2_000.0
        for _ in range(120):
            value *= 1 + chosen.gauss(0, 0.0008)
            desk.later(chosen.randint(5, 90), price=Fraction(f"{value:.4f}"))
            if restart:
                desk.book = desk.make()
        names = [f"guard:{ETH}", f"price:{ETH}", f"volatility:{ETH}|{ZION}"]
        with desk.store.reading() as tx:
            return tx.market.bodies(names)

    assert run(tmp_path / "once", restart=False) == run(tmp_path / "often", restart=True)


def test_a_state_that_cannot_be_read_is_begun_anew(desk: Desk) -> None:
    with desk.store.transaction() as tx:
        tx.market.put({f"guard:{ETH}": "{", f"price:{ETH}": "[]"})
    desk.later(10, price="2001")
    assert desk.price() == 2001


# -- pegs -------------------------------------------------------------------------------------


def test_a_coin_off_its_peg_costs_the_difference_and_a_lost_peg_pauses_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, pegged=[USD])
    desk.book.refresh()
    assert desk.book.movement(USD, ETH, 0).pegs == 0
    for _ in range(11):
        desk.later(10, asset=USD, price="0.992")
    assert desk.book.movement(USD, ETH, 0).pegs == 8_000_000
    assert desk.price(USD) == Fraction("0.992"), "priced like anything else, never as 1"
    for _ in range(8):
        desk.later(10, asset=USD, price="0.97")
    with pytest.raises(PriceUnavailableError, match="lost its peg"):
        desk.price(USD)
    for _ in range(59):
        desk.later(30, asset=USD, price="0.995")
    with pytest.raises(PriceUnavailableError, match="lost its peg"):
        desk.price(USD)
    for _ in range(5):
        desk.later(30, asset=USD, price="0.995")
    assert desk.price(USD) == Fraction("0.995")


# -- volatility -------------------------------------------------------------------------------


def test_a_pair_that_moves_too_much_is_not_sold(tmp_path: Path) -> None:
    desk = Desk(tmp_path, volatility_cap_ppm=1_000_000)
    desk.book.refresh()
    assert desk.book.movement(ETH, ZION, 0).volatility_ppm == 800_000
    value = Fraction(2_000)
    for number in range(40):
        value *= 1 + Fraction(4 if number % 2 else -4, 1_000)
        desk.later(60, price=value)
    with pytest.raises(PriceUnavailableError, match="moves too much"):
        desk.book.movement(ETH, ZION, 0)


def test_who_agreed_is_kept_with_the_price(desk: Desk) -> None:
    with desk.store.reading() as tx:
        stored = tx.market.price(ETH)
    assert stored is not None
    assert stored.sources == tuple(f"source{number}" for number in range(5))
    assert isinstance(agree(prints("1", "1", "1"), RULES, NOW), Agreed)
