"""The user's side: no crash and no lying bridge costs the user money."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from bridge.api.services import Services
from bridge.client.client import BridgeClient
from bridge.client.errors import BridgeRefusedError, BridgeUnreachableError, UnsafeError
from bridge.client.proxied import HttpxTransport
from bridge.client.recovery import LIGHT, RecoveryDir, RecoveryError
from bridge.client.swap import LockWatch, UserSwap, checked_quote
from bridge.commands.output import Output
from bridge.commands.swap.claim import until_bridge_takes_it, until_safe
from bridge.keys.keystore import SecretKey
from bridge.keys.quote_signature import QuoteSigner
from bridge.protocol.events import PriceChecked
from bridge.protocol.types import (
    Amount,
    CounterlockRange,
    LegRole,
    LockTerms,
    PriceSeen,
    SwapId,
    UnixSeconds,
)
from bridge.store import Store
from bridge.wire.problems import Problem
from bridge.wire.swaps import RestoreState, SwapCreated, SwapView
from relayers.fake.adapter import FakePort
from relayers.fake.chain import FakeChain
from relayers.fake.wallet import FakeWallet
from tests import instances
from tests.unit.api import play
from tests.unit.api.play import ETH, ZION, Clock, healthy_chains

PASSWORD = "recovery"


@pytest.fixture
def recovery(tmp_path: Path) -> RecoveryDir:
    return RecoveryDir(tmp_path / "swaps")


@pytest.fixture
async def bridge(app: FastAPI) -> AsyncIterator[BridgeClient]:
    async with BridgeClient(
        "http://bridge", transport=HttpxTransport("http://bridge", httpx.ASGITransport(app))
    ) as client:
        yield client


class Node:
    """The user's own ZION node, with the bridge's wallet on it."""

    def __init__(self, swap: UserSwap) -> None:
        self.terms = swap.record.destination
        self.depth = swap.record.destination_confirmations
        self.chain = FakeChain(instances.ZION, self.terms.asset, block_interval=1)
        self.chain.credit("bridge", self.terms.asset, 10**30)
        self.bridge = FakeWallet(self.chain, "bridge")
        self.watch = LockWatch(FakePort(self.chain, "user"), self.terms)

    def lock(self, terms: LockTerms | None = None) -> None:
        self.bridge.lock(terms or self.terms)
        self.chain.mine(1)


async def begin(bridge: BridgeClient, recovery: RecoveryDir, **more: Any) -> UserSwap:
    quote = await bridge.quote(ETH, ZION, 10**18, gasless=True)
    return await UserSwap.begin(
        bridge,
        recovery,
        quote,
        refund_address="alice",
        recipient="alice2",
        password=PASSWORD,
        cost=LIGHT,
        **more,
    )


async def test_the_secret_is_on_disk_before_the_bridge_hears_of_it(
    bridge: BridgeClient, recovery: RecoveryDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = bridge.create_swap

    async def lost(*arguments: Any) -> SwapCreated:
        assert len(recovery.readable()[0]) == 1
        await create(*arguments)
        raise BridgeUnreachableError("the answer was lost")

    monkeypatch.setattr(bridge, "create_swap", lost)
    with pytest.raises(BridgeUnreachableError):
        await begin(bridge, recovery)
    monkeypatch.setattr(bridge, "create_swap", create)
    (record,) = recovery.readable()[0]
    assert record.swap_id == ""
    again = UserSwap.resume(bridge, recovery, record)
    await again.place()  # finds the swap that was made: no second one
    assert recovery.find(again.id).preimage(PASSWORD).opens(record.hashlock)
    assert (await again.status()).hashlock == record.hashlock.hex()


@pytest.mark.parametrize("part", ["amount", "deadline", "recipient", "hashlock"])
async def test_a_bridge_that_answers_with_other_terms_than_it_quoted_is_left(
    bridge: BridgeClient, recovery: RecoveryDir, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    create = bridge.create_swap

    async def cheat(*arguments: Any) -> SwapCreated:
        body = msgspec.to_builtins(await create(*arguments))
        terms = body["destination"]["terms"]
        if part == "amount":
            terms["money"]["amount"] = "1"
        elif part == "deadline":
            terms["deadline"]["unix"] -= 3600
        elif part == "recipient":
            terms["recipient"] = "mallory"
        else:
            terms["hashlock"] = "00" * 32
        return msgspec.convert(body, SwapCreated)

    monkeypatch.setattr(bridge, "create_swap", cheat)
    with pytest.raises(UnsafeError, match="other terms"):
        await begin(bridge, recovery)


@pytest.mark.parametrize("part", ["text", "signature", "public_key", "another"])
async def test_a_bridge_whose_receipt_would_not_bring_the_swap_back_is_left(
    bridge: BridgeClient, recovery: RecoveryDir, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    first = await begin(bridge, recovery)
    create = bridge.create_swap

    async def cheat(*arguments: Any) -> SwapCreated:
        body = msgspec.to_builtins(await create(*arguments))
        if part == "another":
            body["receipt"]["text"] = first.record.receipt
            body["receipt"]["signature"] = first.record.receipt_signature
        elif part == "public_key":
            other = QuoteSigner(SecretKey(b"\x07" * 32))
            body["receipt"]["signature"] = other.sign_receipt(body["receipt"]["text"])
            body["receipt"]["public_key"] = other.public_key
        else:
            body["receipt"][part] = body["receipt"][part].replace("1", "2")
        return msgspec.convert(body, SwapCreated)

    monkeypatch.setattr(bridge, "create_swap", cheat)
    with pytest.raises(UnsafeError, match="receipt"):
        await begin(bridge, recovery)


async def test_the_receipt_is_in_the_recovery_file_and_brings_the_swap_back(
    bridge: BridgeClient, recovery: RecoveryDir, services: Services, tmp_path: Path, clock: Clock
) -> None:
    mine = await begin(bridge, recovery)
    older = Store.open(f"sqlite:///{tmp_path}/older.db", secrets_key=bytes(32), clock=clock)
    healthy_chains(older, clock)
    services.acceptances._store = older
    again = UserSwap.resume(bridge, recovery, recovery.find(mine.id))
    for _ in range(2):
        answer = await again.restore()
        assert (answer.id, answer.state) == (mine.id, RestoreState.READING)
    with older.reading() as tx:
        assert [lost.swap_id for lost in tx.restorations.going_on()] == [mine.id]
    older.close()


async def test_a_recovery_file_without_a_receipt_says_what_to_do(
    bridge: BridgeClient, recovery: RecoveryDir
) -> None:
    mine = await begin(bridge, recovery)
    mine._save(receipt="")
    with pytest.raises(UnsafeError, match="no receipt") as caught:
        await mine.restore()
    assert "refund" in caught.value.hint


async def test_the_lane_of_the_bridges_lock_is_chosen_once(
    bridge: BridgeClient, recovery: RecoveryDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, lane = bridge.create_swap, 3

    async def answer(*arguments: Any) -> SwapCreated:
        body = msgspec.to_builtins(await create(*arguments))
        body["destination"]["terms"]["lane"] = lane
        body["receipt"] = None  # it names the lane, too
        return msgspec.convert(body, SwapCreated)

    monkeypatch.setattr(bridge, "create_swap", answer)
    mine = await begin(bridge, recovery)
    assert mine.record.destination.lane == 3
    await mine.place()
    lane = 4
    with pytest.raises(UnsafeError, match="other terms"):
        await mine.place()
    assert recovery.find(mine.id).destination.lane == 3


async def test_the_bridge_takes_no_secret_before_it_calls_its_own_lock_final(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    node.lock()
    assert not await swap.may_reveal_now(node.watch)
    node.chain.mine(node.depth - 1)
    assert await swap.may_reveal_now(node.watch)
    assert not await swap.bridge_takes_secret(), "the user's node is ahead of the bridge"
    await asyncio.to_thread(play.lock_both, store, swap.id)
    assert await swap.bridge_takes_secret()


async def test_the_secret_stays_until_the_bridges_lock_is_deep_enough_on_the_users_own_node(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    await asyncio.to_thread(play.lock_both, store, swap.id)  # what the bridge says does not count
    with pytest.raises(UnsafeError, match="not deep enough"):
        await swap.reveal_to_bridge(PASSWORD, node.watch)
    node.lock()
    assert not await swap.may_reveal_now(node.watch)
    node.chain.mine(node.depth - 2)
    with pytest.raises(UnsafeError, match="not deep enough"):
        await swap.reveal_to_bridge(PASSWORD, node.watch)
    assert not swap.record.revealed
    node.chain.mine(1)
    view = await swap.reveal_to_bridge(PASSWORD, node.watch)
    assert view.secret_shared
    assert recovery.find(swap.id).revealed


@pytest.mark.parametrize("change", [{"amount": 1}, {"recipient": "mallory"}, {"deadline": play.START + 60}])
async def test_a_lock_with_other_terms_is_no_lock(
    bridge: BridgeClient, recovery: RecoveryDir, change: dict[str, Any]
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    node.lock(msgspec.structs.replace(node.terms, **change))
    node.chain.mine(node.depth)
    assert not await swap.may_reveal_now(node.watch)


async def test_a_reorg_starts_the_count_anew(bridge: BridgeClient, recovery: RecoveryDir) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    node.lock()
    await node.watch.look()
    node.chain.mine(node.depth - 2)
    lock_tx = node.chain.blocks[1].outcomes[0].tx.tx_id
    node.chain.reorg(node.depth - 1, [lock_tx])
    assert not await swap.may_reveal_now(node.watch)
    node.lock()
    node.chain.mine(node.depth - 2)
    assert not await swap.may_reveal_now(node.watch)


async def test_the_secret_is_not_revealed_after_the_reveal_deadline(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    await asyncio.to_thread(play.lock_both, store, swap.id)
    node.lock()
    await node.watch.look()
    timing = swap.record.destination_timing
    last = node.terms.deadline - timing.inclusion_p99 - timing.clock_skew
    node.chain.mine(node.depth)
    node.chain.mine(1, interval=last - node.chain.head.time)
    assert await swap.may_reveal_now(node.watch)
    node.chain.mine(1)
    with pytest.raises(UnsafeError, match="had to be revealed"):
        await swap.reveal_to_bridge(PASSWORD, node.watch)
    assert not (await swap.status()).secret_shared


# -- what the quote leaves open -----------------------------------------------------------------


def decide(store: Store, swap: UserSwap, amount: int, earlier: int = 600) -> LockTerms:
    """The bridge decides on an amount and a deadline, so much earlier than quoted."""
    play.lock(store, swap.id, LegRole.SOURCE)
    quoted = swap.record.destination
    terms = msgspec.structs.replace(quoted, amount=Amount(amount), deadline=quoted.deadline - earlier)
    seen = PriceSeen("2000", "0.5", play.START, 0, ("one",))
    event = PriceChecked(seen, go=True, amount=terms.amount, deadline=terms.deadline)
    assert play.happen(store, swap.id, event).destination.terms == terms
    return terms


def limits(swap: UserSwap) -> CounterlockRange:
    left_open = swap.record.counterlock
    assert left_open is not None
    return left_open


async def test_what_was_decided_within_the_signed_limits_is_what_the_user_waits_for(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store
) -> None:
    swap = await begin(bridge, recovery)
    node, least = Node(swap), limits(swap).minimum
    assert least < swap.record.destination.amount
    terms = await asyncio.to_thread(decide, store, swap, least)
    node.lock(terms)
    assert not await swap.may_reveal_now(node.watch)
    node.chain.mine(node.depth)
    assert await swap.may_reveal_now(node.watch)
    assert recovery.find(swap.id).destination == terms
    again = UserSwap.resume(bridge, recovery, recovery.find(swap.id))
    await again.place()  # although the swap's terms are no longer those of the quote
    assert again.record.destination == terms
    await asyncio.to_thread(play.lock, store, swap.id, LegRole.DESTINATION)
    assert (await again.reveal_to_bridge(PASSWORD, node.watch)).secret_shared
    view = await again.status()
    assert view.counterlock is not None
    assert (view.counterlock.fixed, view.counterlock.price is not None) == (True, True)
    assert view.reveal_by.unix < terms.deadline


@pytest.mark.parametrize("part", ["amount", "deadline", "recipient", "number"])
async def test_what_the_bridge_decides_beyond_the_signed_limits_keeps_the_secret(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    swap = await begin(bridge, recovery)
    node, left_open = Node(swap), limits(swap)
    await asyncio.to_thread(decide, store, swap, left_open.minimum)
    honest = bridge.swap

    async def lie(swap_id: SwapId) -> SwapView:
        body = msgspec.to_builtins(await honest(swap_id))
        terms = body["destination"]["terms"]
        if part == "amount":
            terms["money"]["amount"] = str(left_open.minimum - 1)
        elif part == "deadline":
            terms["deadline"]["unix"] = left_open.latest + 1
        elif part == "recipient":
            terms["recipient"] = "mallory"
        else:
            terms["money"]["amount"] = "much"
        return msgspec.convert(body, SwapView)

    monkeypatch.setattr(bridge, "swap", lie)
    before = swap.record
    with pytest.raises(UnsafeError) as caught:
        await swap.may_reveal_now(node.watch)
    assert "keep the secret" in caught.value.hint
    assert swap.record == before


async def test_a_lock_with_another_amount_than_the_bridge_names_is_no_lock(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    terms = await asyncio.to_thread(decide, store, swap, limits(swap).maximum)
    node.lock(msgspec.structs.replace(terms, amount=limits(swap).minimum))
    node.chain.mine(node.depth)
    assert not await swap.may_reveal_now(node.watch)


async def test_a_deadline_that_leaves_no_time_keeps_the_secret(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = await begin(bridge, recovery)
    node, honest = Node(swap), bridge.swap
    terms = await asyncio.to_thread(decide, store, swap, limits(swap).minimum)
    soon = node.chain.head.time + 5

    async def hurry(swap_id: SwapId) -> SwapView:
        body = msgspec.to_builtins(await honest(swap_id))
        body["destination"]["terms"]["deadline"]["unix"] = soon
        return msgspec.convert(body, SwapView)

    monkeypatch.setattr(bridge, "swap", hurry)
    node.lock(msgspec.structs.replace(terms, deadline=UnixSeconds(soon)))
    with pytest.raises(UnsafeError, match="had to be revealed"):
        await swap.may_reveal_now(node.watch)


def silence(kind: str) -> BridgeUnreachableError | BridgeRefusedError:
    """What a client hears of a bridge that is being started again, has too much to do, or lost the swap."""
    if kind == "unreachable":
        return BridgeUnreachableError("the bridge did not answer")
    status = {"busy": 503, "lost": 404}[kind]
    problem = Problem(f"urn:rainbow-bridge:problem:{kind}", kind, status, kind, "")
    return BridgeRefusedError(problem, 2 if kind == "busy" else None)


@pytest.mark.parametrize("kind", ["unreachable", "busy", "lost"])
async def test_a_known_lock_needs_no_bridge_any_more(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    terms = await asyncio.to_thread(decide, store, swap, limits(swap).minimum)
    assert not await swap.may_reveal_now(node.watch)

    async def gone(_: SwapId) -> SwapView:
        raise silence(kind)

    monkeypatch.setattr(bridge, "swap", gone)
    assert not await swap.may_reveal_now(node.watch)
    node.lock(terms)
    assert not await swap.may_reveal_now(node.watch)
    node.chain.mine(node.depth)
    assert await swap.may_reveal_now(node.watch)


@pytest.mark.parametrize("kind", ["unreachable", "busy"])
async def test_a_bridge_that_is_silent_for_a_while_does_not_end_the_wait_for_its_lock(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    swap = await begin(bridge, recovery)
    node, honest, asked = Node(swap), bridge.swap, 0

    async def restarted(swap_id: SwapId) -> SwapView:
        nonlocal asked
        asked += 1
        if asked in {2, 3}:
            raise silence(kind)
        if asked == 4:
            node.lock(await asyncio.to_thread(decide, store, swap, limits(swap).minimum))
        if asked > 4:
            raise AssertionError("the terms are known")
        return await honest(swap_id)

    async def pause(_: float) -> None:
        if asked >= 4:
            node.chain.mine(1)

    monkeypatch.setattr(bridge, "swap", restarted)
    monkeypatch.setattr(f"{until_safe.__module__}.asyncio", SimpleNamespace(sleep=pause))
    await until_safe(swap, node.watch, Output(as_json=True))
    assert await swap.may_reveal_now(node.watch)


@pytest.mark.parametrize(("kind", "after"), [("unreachable", 0), ("busy", 0), ("lost", 1)])
async def test_a_bridge_that_never_answered_or_does_not_know_the_swap_is_told_at_once(
    bridge: BridgeClient, recovery: RecoveryDir, monkeypatch: pytest.MonkeyPatch, kind: str, after: int
) -> None:
    swap = await begin(bridge, recovery)
    node, honest, asked = Node(swap), bridge.swap, 0

    async def gone(swap_id: SwapId) -> SwapView:
        nonlocal asked
        asked += 1
        if asked <= after:
            return await honest(swap_id)
        raise silence(kind)

    async def pause(_: float) -> None:
        assert asked <= after

    monkeypatch.setattr(bridge, "swap", gone)
    monkeypatch.setattr(f"{until_safe.__module__}.asyncio", SimpleNamespace(sleep=pause))
    with pytest.raises(type(silence(kind))):
        await until_safe(swap, node.watch, Output(as_json=True))


async def test_a_bridge_that_stays_silent_is_waited_for_until_it_is_too_late(
    bridge: BridgeClient, recovery: RecoveryDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = await begin(bridge, recovery)
    node, honest, asked = Node(swap), bridge.swap, 0

    async def gone(swap_id: SwapId) -> SwapView:
        nonlocal asked
        asked += 1
        if asked == 1:
            return await honest(swap_id)
        raise silence("unreachable")

    async def pause(_: float) -> None:
        assert asked < 6
        if asked == 5:
            node.chain.mine(1, interval=node.terms.deadline - node.chain.head.time)

    monkeypatch.setattr(bridge, "swap", gone)
    monkeypatch.setattr(f"{until_safe.__module__}.asyncio", SimpleNamespace(sleep=pause))
    with pytest.raises(UnsafeError, match="had to be revealed"):
        await until_safe(swap, node.watch, Output(as_json=True))
    assert asked == 6


async def test_after_the_secret_is_out_the_terms_stay(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    node.lock()
    assert not await swap.may_reveal_now(node.watch)
    node.chain.mine(node.depth)
    swap._save(revealed=True)
    before = swap.record
    await asyncio.to_thread(decide, store, swap, limits(swap).minimum)
    assert await swap.may_reveal_now(node.watch)
    assert swap.record == before


async def test_a_quote_that_shows_another_least_amount_than_it_signs_is_left(bridge: BridgeClient) -> None:
    quote = await bridge.quote(ETH, ZION, 10**18)
    more = msgspec.structs.replace(quote.destination_min, amount=str(int(quote.destination_min.amount) + 1))
    with pytest.raises(UnsafeError, match="other terms"):
        checked_quote(msgspec.structs.replace(quote, destination_min=more))


async def test_a_bridge_that_never_sees_its_lock_does_not_make_the_user_wait_past_the_deadline(
    bridge: BridgeClient, recovery: RecoveryDir
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    node.lock()
    node.chain.mine(node.depth)
    assert not await swap.bridge_takes_secret()
    node.chain.mine(1, interval=node.terms.deadline - node.chain.head.time)
    with pytest.raises(UnsafeError, match="had to be revealed"):
        await asyncio.wait_for(until_bridge_takes_it(swap, node.watch, Output(as_json=True)), 5)


async def test_after_a_crash_between_noting_and_telling_the_secret_goes_out_late_only_if_it_is_out_already(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    await asyncio.to_thread(play.lock_both, store, swap.id)
    node.lock()
    node.chain.mine(node.depth)
    recovery.save(msgspec.structs.replace(swap.record, revealed=True))
    again = UserSwap.resume(bridge, recovery, recovery.find(swap.id))
    node.chain.mine(1, interval=node.terms.deadline - node.chain.head.time)
    with pytest.raises(UnsafeError):
        await again.reveal_to_bridge(PASSWORD, node.watch)
    await bridge.claim(swap.id, again.record.preimage(PASSWORD))  # it had gone out after all
    assert (await again.reveal_to_bridge(PASSWORD, node.watch)).secret_shared


async def test_a_claim_whose_answer_got_lost_does_not_stand_in_its_own_way(
    bridge: BridgeClient, recovery: RecoveryDir, store: Store
) -> None:
    swap = await begin(bridge, recovery)
    node = Node(swap)
    await asyncio.to_thread(play.lock_both, store, swap.id)
    node.lock()
    recovery.save(msgspec.structs.replace(swap.record, revealed=True))
    again = UserSwap.resume(bridge, recovery, recovery.find(swap.id))
    # The node took the claim and put it into a block, but its answer was lost, and the bridge does not know.
    node.bridge.claim(FakePort(node.chain, "user").lock_id(node.terms), swap.record.preimage(PASSWORD))
    node.chain.mine(1)
    assert not (await again.status()).secret_shared
    assert (await again.reveal_to_bridge(PASSWORD, node.watch)).secret_shared


async def test_a_recovery_file_is_private_sealed_and_says_when_it_is_damaged(
    bridge: BridgeClient, recovery: RecoveryDir
) -> None:
    swap = await begin(bridge, recovery)
    (file,) = recovery.path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    secret = swap.record.preimage(PASSWORD).reveal()
    assert secret.hex() not in file.read_text()
    assert secret.hex() not in repr(swap.record)
    with pytest.raises(RecoveryError, match="password"):
        swap.record.preimage("wrong")
    file.chmod(0o644)
    with pytest.raises(RecoveryError, match="open to other users"):
        recovery.load(swap.record.hashlock)
    file.chmod(0o600)
    file.write_text("{")
    with pytest.raises(RecoveryError, match="damaged"):
        recovery.load(swap.record.hashlock)
    other = await begin(bridge, recovery)
    records, damaged = recovery.readable()
    assert [record.swap_id for record in records] == [other.id]
    assert str(file) in damaged[0].message
    assert recovery.find(other.id[:8]).swap_id == other.id
    with pytest.raises(RecoveryError, match="1 cannot be read"):
        recovery.find(swap.id)
