"""The pool: looked at before use, left when it fails, asked twice where money depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bridge.chains.endpoints.agreed_status import agreed_status
from bridge.chains.endpoints.agreement import Agreed, NotAgreed
from bridge.chains.endpoints.ancestry import DISTANCES, Ancestry
from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.chains.endpoints.names import endpoint_names
from bridge.chains.endpoints.pool import Pool
from bridge.chains.endpoints.selection import Head, Rules
from bridge.chains.errors import PortError, PortUnavailableError
from bridge.chains.port import BroadcastOutcome, BroadcastResult, TxState, TxStatus
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds


class Node:
    """An endpoint that says what a test wants of it."""

    def __init__(self, name: str, height: int = 100) -> None:
        self.name = name
        self.network = "ours"
        self.head = Head(height, 1_000)
        self.down = False
        self.identified = 0
        self.closed = False
        self.chain: dict[int, str] = {}
        """Blocks that it shows; without any it has one for each height up to its head's."""

    def block(self, height: int) -> BlockRef | None:
        found = self.chain.get(height) if self.chain else f"block {height}"
        if found is None or (not self.chain and height > self.head.height):
            return None
        return BlockRef(BlockHeight(height), found, "", UnixSeconds(0))

    async def answer(self) -> str:
        if self.down:
            raise PortUnavailableError(f"{self.name} is down", "start it")
        return self.name

    async def close(self) -> None:
        self.closed = True


async def identify(node: Node) -> None:
    await node.answer()
    node.identified += 1
    if node.network != "ours":
        raise PortError(f"the RPC serves {node.network}", "correct the URL")


async def head(node: Node) -> Head:
    await node.answer()
    return node.head


async def recent(node: Node) -> list[BlockRef]:
    await node.answer()
    found = [node.block(node.head.height - back) for back in DISTANCES]
    return [block for block in found if block is not None]


async def shows(node: Node, block: BlockRef) -> bool:
    await node.answer()
    return node.block(block.height) == block


def ask(node: Node) -> Awaitable[str]:
    return node.answer()


class Times:
    """Clocks that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def pool(self, *nodes: Node, rules: Rules = Rules(), heads: bool = True) -> Pool[Node]:
        names = endpoint_names([f"https://{node.name}.example/secret-key" for node in nodes], "the X RPC")
        return Pool(
            nodes,
            names,
            "the X RPC",
            rules=rules,
            identify=identify,
            head=head if heads else None,
            ancestry=Ancestry(recent, shows) if heads else None,
            clock=lambda: 1_000.0 + self.now,
            monotonic=lambda: self.now,
        )


@pytest.fixture
def times() -> Times:
    return Times()


async def test_only_unavailability_sends_a_request_on(times: Times) -> None:
    asked: list[str] = []

    async def refuses(node: Node) -> str:
        asked.append(node.name)
        raise PortError("refused")

    async def first_is_down(node: Node) -> str:
        asked.append(node.name)
        if node.name == "a":
            raise PortUnavailableError("down")
        return node.name

    async def all_are_down(node: Node) -> str:
        asked.append(node.name)
        raise PortUnavailableError(f"{node.name} is down")

    a, b, c = nodes = Node("a"), Node("b"), Node("c")
    pool = times.pool(*nodes)
    with pytest.raises(PortError, match="refused"):
        await pool.ask(refuses)
    assert asked == ["a"]
    assert await pool.ask(first_is_down) == "b"
    assert pool.current is b
    asked.clear()
    with pytest.raises(PortUnavailableError, match="a is down"):
        await pool.ask(all_are_down)
    assert asked == ["b", "c", "a"]
    assert pool.clients == (a, b, c)


async def test_requests_under_way_to_an_endpoint_that_fails_all_go_to_the_next(times: Times) -> None:
    both_asked = asyncio.Barrier(2)

    async def request(node: Node) -> str:
        if node.name == "a":
            await both_asked.wait()
            raise PortUnavailableError("down")
        return node.name

    pool = times.pool(Node("a"), Node("b"), Node("c"))
    assert set(await asyncio.gather(pool.ask(request), pool.ask(request))) == {"b"}


async def test_an_endpoint_is_identified_before_its_first_use_and_after_each_new_line(times: Times) -> None:
    a = Node("a")
    pool = times.pool(a)
    assert (await pool.ask(ask), a.identified) == ("a", 1)
    assert (await pool.ask(ask), a.identified) == ("a", 1)
    pool.reconnected(a)
    assert (await pool.ask(ask), a.identified) == ("a", 2)
    a.down = True
    with pytest.raises(PortUnavailableError):
        await pool.ask(ask)
    a.down = False
    assert (await pool.ask(ask), a.identified) == ("a", 3)


async def test_an_answer_over_a_new_line_is_believed_only_after_another_look(times: Times) -> None:
    a, b = Node("a"), Node("b")
    pool = times.pool(a, b)

    async def another_node_answers(node: Node) -> str:
        if node is a:
            pool.reconnected(a)
            a.network = "another network"
        return node.name

    assert await pool.ask(another_node_answers) == "b"


async def test_a_foreign_endpoint_is_left_by_name_and_looked_at_again_later(times: Times) -> None:
    a, b = Node("a"), Node("b")
    a.network = "chain id 1"
    pool = times.pool(a, b)
    for _ in range(3):
        assert await pool.ask(ask) == "b"
    assert a.identified == 2, "it has said so twice, and is left alone then"
    first, second = await pool.examine()
    assert first.name == "the X RPC, endpoint 1 of 2 (a.example)"
    assert first.trouble is not None
    assert (first.trouble.reason, first.trouble.hint) == ("the RPC serves chain id 1", "correct the URL")
    assert second.trouble is None
    a.network, b.down = "ours", True
    times.now += 61
    assert await pool.ask(ask) == "a"


async def test_one_garbled_answer_makes_no_endpoint_foreign(times: Times) -> None:
    a = Node("a")
    pool = times.pool(a)
    said: list[str] = ["garbage", "ours"]

    async def garbled(node: Node) -> None:
        if (network := said.pop(0)) != "ours":
            raise PortError(f"the RPC serves {network}", "correct the URL")

    pool._identify = garbled
    assert await pool.ask(ask) == "a"


async def test_when_all_are_foreign_it_is_said_what_to_do(times: Times) -> None:
    a = Node("a")
    a.network = "chain id 1"
    pool = times.pool(a)
    for _ in range(2):
        with pytest.raises(PortError, match="serves chain id 1") as refused:
            await pool.ask(ask)
        assert not isinstance(refused.value, PortUnavailableError)
        assert refused.value.hint == "correct the URL"
    assert a.identified == 2


async def test_one_that_stands_still_is_left_for_one_that_is_ahead(times: Times) -> None:
    a, b = Node("a"), Node("b")
    pool = times.pool(a, b, rules=Rules(probe_every=5.0))
    assert await pool.ask(ask) == "a"
    b.head = Head(140, 1_480)
    assert await pool.ask(ask) == "a", "not looked at again yet"
    times.now += 5
    assert await pool.ask(ask) == "b"
    a.head = b.head
    times.now += 5
    assert await pool.ask(ask) == "b", "it stays where it is"
    b.down = True
    assert await pool.ask(ask) == "a"


async def test_of_two_a_liar_with_a_higher_head_does_not_exclude_the_other(times: Times) -> None:
    a, liar = Node("a"), Node("liar")
    pool = times.pool(a, liar, rules=Rules(probe_every=5.0))
    for invented in ({}, {140: "x", 139: "y", 135: "z", 110: "w", 100: "another block 100"}):
        liar.head, liar.chain = Head(140, 1_480), invented or {1: "nothing of what it says"}
        times.now += 5
        assert await pool.ask(ask) == "a", "it stays where it is"
        assert await pool.agree(ask, key=len) == NotAgreed(
            "the X RPC, endpoint 1 of 2 (a.example) and the X RPC, endpoint 2 of 2 (liar.example) "
            "do not say the same"
        ), "both are asked"
        honest, lying = await pool.examine()
        assert honest.trouble is None
        assert lying.trouble is not None
        assert "does not have that one's blocks" in lying.trouble.reason
    # Once it has our chain below its head it may be right, and the other one lags.
    liar.chain = {height: f"block {height}" for height in range(141)}
    times.now += 5
    assert await pool.ask(ask) == "liar"
    lagging, _ = await pool.examine()
    assert lagging.trouble is not None
    assert "40 blocks behind" in lagging.trouble.reason


async def test_one_that_lags_on_a_branch_that_was_left_is_still_found_to_lag(times: Times) -> None:
    a, b = Node("a"), Node("b", 140)
    a.chain = {height: f"block {height}" for height in range(96)} | {h: f"orphan {h}" for h in range(96, 101)}
    b.head = Head(140, 1_480)
    pool = times.pool(a, b)
    assert await pool.ask(ask) == "b", "their chains meet at block 95 at the latest"
    assert isinstance(await pool.agree(ask), NotAgreed)


async def test_one_that_shows_no_block_bars_nobody_and_is_barred_by_nobody(times: Times) -> None:
    a, b = Node("a"), Node("b")
    pool = times.pool(a, b, rules=Rules(probe_every=5.0))
    await pool.ask(ask)
    b.head, b.down = Head(140, 1_480), True
    times.now += 5
    assert await pool.ask(ask) == "a"


async def test_a_single_endpoint_whose_head_is_old_is_unavailable_and_says_so(times: Times) -> None:
    a = Node("a")
    pool = times.pool(a, rules=Rules(max_age=300.0))
    assert await pool.ask(ask) == "a"
    times.now += 301
    with pytest.raises(
        PortUnavailableError, match=r"endpoint 1 of 1 \(a.example\) stands still: .* 301 s"
    ) as old:
        await pool.ask(ask)
    assert "peers" in old.value.hint
    a.head = Head(101, 1_300)
    times.now += 5
    assert await pool.ask(ask) == "a"


async def test_a_slow_head_delays_nobody_for_long(times: Times) -> None:
    a, b = Node("a"), Node("b")
    never = asyncio.Event()

    async def hangs(node: Node) -> Head:
        if node is b:
            await never.wait()
        return node.head

    pool = times.pool(a, b)
    pool._head = hangs
    async with asyncio.timeout(4):
        assert await pool.ask(ask) == "a"
    async with asyncio.timeout(0.5):
        assert await pool.ask(ask) == "a"
    await pool.close()
    assert a.closed
    assert b.closed


async def test_a_malformed_answer_sends_the_request_on(times: Times) -> None:
    async def reads(node: Node) -> int:
        return {"b": 1}[node.name]

    pool = times.pool(Node("a"), Node("b"))
    assert await pool.ask(reads) == 1
    with pytest.raises(EndpointError, match=r"\(a.example\) answered in a shape"):
        await times.pool(Node("a")).ask(reads)


async def test_a_pause_that_is_asked_for_is_kept_and_progress_prolongs_the_patience() -> None:
    a = Node("a")
    served = 0

    async def three_steps(node: Node) -> int:
        nonlocal served
        served += 1
        if served < 4:
            raise EndpointError("slower", kind=Answer.RATE_LIMITED, retry_after=0.2, progress=True)
        return served

    names = endpoint_names(["http://a"], "the X RPC")
    pool = Pool([a], names, "the X RPC", rules=Rules(patience=0.3))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await pool.ask(three_steps) == 4
    assert 0.6 <= loop.time() - began < 3
    served = -1_000

    async def never(node: Node) -> int:
        raise EndpointError("slower", kind=Answer.RATE_LIMITED, retry_after=0.2)

    with pytest.raises(EndpointError, match="slower"):
        await pool.ask(never)


async def test_a_pause_of_one_endpoint_is_no_reason_to_wait_for_the_other(times: Times) -> None:
    async def limited(node: Node) -> str:
        if node.name == "a":
            raise EndpointError("slower", kind=Answer.RATE_LIMITED, retry_after=500)
        return node.name

    pool = times.pool(Node("a"), Node("b"))
    for _ in range(2):
        assert await pool.ask(limited) == "b"


async def test_two_endpoints_must_say_the_same_where_two_are_configured(times: Times) -> None:
    a, b, c = Node("a"), Node("b"), Node("c")

    def says(**answers: object) -> Callable[[Node], Awaitable[object]]:
        async def question(node: Node) -> object:
            await node.answer()
            return answers[node.name]

        return question

    assert await times.pool(Node("a")).agree(says(a="open")) == Agreed("open", 1)
    pool = times.pool(a, b)
    assert await pool.agree(says(a="open", b="open")) == Agreed("open", 2)
    apart = await pool.agree(says(a="open", b="claimed"))
    assert isinstance(apart, NotAgreed)
    assert apart.reason == (
        "the X RPC, endpoint 1 of 2 (a.example) and the X RPC, endpoint 2 of 2 (b.example) "
        "do not say the same"
    )
    b.down = True
    alone = await pool.agree(says(a="open", b="open"))
    assert isinstance(alone, NotAgreed)
    assert alone.reason == "only the X RPC, endpoint 1 of 2 (a.example) answers, of 2 that are configured"
    a.down = True
    with pytest.raises(PortUnavailableError):
        await pool.agree(says())
    a.down = False
    assert await times.pool(a, b, c).agree(says(a=1, c=1)) == Agreed(1, 2), "a third one steps in"
    assert await times.pool(a, c).agree(says(a="OPEN", c="open"), key=lambda said: str(said).lower()) == (
        Agreed("OPEN", 2)
    )


async def test_of_two_depths_of_a_transaction_the_smaller_counts(times: Times) -> None:
    """An endpoint whose head may be `Rules.lag` ahead must not make final what is not."""
    place = BlockRef(BlockHeight(90), "block 90", "block 89", UnixSeconds(900))

    def says(**depths: int) -> Callable[[Node], Awaitable[TxStatus]]:
        async def look(node: Node) -> TxStatus:
            await node.answer()
            return TxStatus(TxState.INCLUDED, place, depths[node.name])

        return look

    pool = times.pool(Node("a"), Node("b"))
    for told in ({"a": 14, "b": 11}, {"a": 11, "b": 14}):
        status = await agreed_status(pool, says(**told), RuntimeError)
        assert status == TxStatus(TxState.INCLUDED, place, 11)
    alone = await agreed_status(times.pool(Node("a")), says(a=14), RuntimeError)
    assert alone.confirmations == 14


async def test_where_a_transaction_is_two_must_say_alike_though_the_chain_moves(times: Times) -> None:
    places = {
        name: BlockRef(BlockHeight(90), f"{name} 90", f"{name} 89", UnixSeconds(900)) for name in ("a", "b")
    }
    moves = 0

    async def apart(node: Node) -> TxStatus:
        return TxStatus(TxState.INCLUDED, places[node.name], 11)

    async def moving(node: Node) -> TxStatus:
        nonlocal moves
        moves += 1
        if moves < 3:
            raise RuntimeError
        return TxStatus(TxState.PENDING)

    pool = times.pool(Node("a"), Node("b"))
    status = await agreed_status(pool, apart, RuntimeError)
    assert status.state is TxState.UNSURE
    assert "do not say the same" in status.reason
    assert await agreed_status(pool, moving, RuntimeError) == TxStatus(TxState.PENDING)


async def test_one_that_lags_is_no_second_opinion(times: Times) -> None:
    a, b = Node("a"), Node("b", height=50)
    b.head = Head(50, 400)
    assert isinstance(await times.pool(a, b).agree(ask), NotAgreed)


async def test_a_transaction_goes_to_all_and_one_taker_is_enough(times: Times) -> None:
    a, b, c = Node("a"), Node("b"), Node("c")
    c.network = "chain id 1"
    seen: list[str] = []
    outcomes = {"a": BroadcastOutcome.REJECTED, "b": BroadcastOutcome.ACCEPTED}

    async def send(node: Node) -> BroadcastResult:
        await node.answer()
        seen.append(node.name)
        return BroadcastResult(outcomes[node.name])

    pool = times.pool(a, b, c)
    assert (await pool.broadcast(send)).outcome is BroadcastOutcome.ACCEPTED
    assert sorted(seen) == ["a", "b"], "nothing is sent to another network"
    b.down = True
    assert (await pool.broadcast(send)).outcome is BroadcastOutcome.REJECTED
    a.down = True
    with pytest.raises(PortUnavailableError):
        await pool.broadcast(send)


async def test_a_slow_endpoint_does_not_hold_up_a_transaction_that_another_one_took(times: Times) -> None:
    finished = asyncio.Event()

    async def send(node: Node) -> BroadcastResult:
        if node.name == "a":
            await finished.wait()
        return BroadcastResult(BroadcastOutcome.ACCEPTED)

    pool = times.pool(Node("a"), Node("b"))
    async with asyncio.timeout(3):
        assert (await pool.broadcast(send)).outcome is BroadcastOutcome.ACCEPTED
    assert len(pool._sending) == 1, "it is still being sent to the slow one"
    await pool.close()
    assert not pool._sending


async def test_there_must_be_an_endpoint(times: Times) -> None:
    with pytest.raises(PortError, match="no URL of the X RPC") as refused:
        times.pool()
    assert refused.value.hint
