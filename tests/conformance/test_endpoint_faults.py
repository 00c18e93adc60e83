"""Adapters behind endpoints with one fault each: all events found and none invented, or unavailable and
saying why. With a second, sound endpoint all must be found, whatever the first one does.

`make endpoint-faults` scans 1,000 blocks with 100 locks and prints the figures."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.endpoints.pool import Pool
from bridge.chains.endpoints.selection import Rules
from bridge.chains.errors import PortError
from bridge.chains.port import ChainPort, Claimed, HtlcEvent, Locked, Refunded
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import BlockRef, LockTerms, Preimage
from relayers.cardano import adapter as cardano
from relayers.evm import adapter as evm
from relayers.solana import adapter as solana
from relayers.stellar import adapter as stellar
from relayers.zion import adapter as zion
from tests.conformance.conftest import Rigs
from tests.conformance.fault_dialects import EvmDialect, SolanaDialect, StellarDialect, ZionDialect
from tests.conformance.fault_proxy import Dialect, Fault, FaultProxy
from tests.conformance.own_node_fault_proxy import OwnNodeFaultProxy
from tests.conformance.rest_fault_proxy import BlockfrostFaultProxy
from tests.conformance.rig import Scene, Watcher

pytestmark = pytest.mark.long  # each waits for time limits, and holds only on a machine with time to spare

BLOCKS = int(os.environ.get("ENDPOINT_FAULTS_BLOCKS", "30"))
LOCKS = int(os.environ.get("ENDPOINT_FAULTS_LOCKS", "5"))
SEED = int(os.environ.get("ENDPOINT_FAULTS_SEED", "1"))
FIGURES = os.environ.get("ENDPOINT_FAULTS_FIGURES", "")
"""A file that gets one JSON line for each case."""

LIMIT = float(os.environ.get("ENDPOINT_FAULTS_LIMIT", 15 + BLOCKS / 10))
"""Seconds within which a scan must have found everything, where it can."""

CHAINS = ("ethereum", "zion", "solana", "stellar", "cardano", "cardano_own_node")
DIALECTS: dict[str, Callable[[], Dialect]] = {
    "ethereum": EvmDialect,
    "zion": ZionDialect,
    "solana": SolanaDialect,
    "stellar": StellarDialect,
}
OPENERS: dict[str, Callable[[Any, bytes], Any]] = {
    "ethereum": evm.open_port,
    "zion": zion.open_port,
    "solana": solana.open_port,
    "stellar": stellar.open_port,
    "cardano": cardano.open_port,
    "cardano_own_node": cardano.open_port,
}
AnyProxy = FaultProxy | BlockfrostFaultProxy | OwnNodeFaultProxy

NO_BATCHES = {"zion", "stellar", "cardano", "cardano_own_node"}
HOPELESS = {Fault.FROZEN, Fault.FOREIGN, Fault.PRUNED}
"""Alone, such an endpoint cannot show all: it must be said why."""


@dataclass(frozen=True)
class History:
    """What stands on the chain: the block before it, its last block, and its events by transaction."""

    chain: str
    rig: Any
    start: BlockRef
    last: BlockRef
    events: tuple[HtlcEvent, ...]

    @property
    def middle(self) -> int:
        """The height in the middle of it, as the chain's faults count heights."""
        low, high = (_unit(self.chain, block) for block in (self.start, self.last))
        return (low + high) // 2


def _unit(chain: str, block: BlockRef) -> int:
    return int(block.id[:16], 16) if chain == "solana" else block.height


_histories: dict[str, History] = {}


async def history_of(rigs: Rigs, chain: str) -> History:
    """Make it once for each chain: locks all along, every second one claimed."""
    if chain in _histories:
        return _histories[chain]
    if chain == "cardano_own_node":  # the same ledger, seen by another service
        _histories[chain] = replace(await history_of(rigs, "cardano"), chain=chain)
        return _histories[chain]
    rig: Any = await rigs.get(chain)
    scene = Scene(rig, "endpoint-faults")
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    await rig.devnet.mine(12)
    watcher = Watcher(ours)
    await watcher.look()
    start = watcher.ring[-1]
    between = max(1, BLOCKS // LOCKS - 2)
    for number in range(LOCKS):
        secret = Preimage(number.to_bytes(32, "big"))
        terms: LockTerms = await scene.terms(theirs, ours, secret)
        await scene.done(theirs, LockAction(terms))
        if number % 2:
            await scene.done(ours, ClaimAction(terms, secret))
        await rig.devnet.mine(between)
    await rig.devnet.mine(12)
    events: list[HtlcEvent] = []
    while (scan := await watcher.look()).blocks:
        events += scan.events
    made = History(chain, rig, start, watcher.ring[-1], tuple(events))
    assert sum(isinstance(event, Locked) for event in made.events) == LOCKS
    assert sum(isinstance(event, Claimed) for event in made.events) == LOCKS // 2
    assert made.last.height - start.height >= BLOCKS - LOCKS
    _histories[chain] = made
    return made


def pool_of(port: Any) -> Pool[Any]:
    for name in ("_nodes", "_rpc"):
        if hasattr(port, name):
            holder = getattr(port, name)
            return holder._pool if name == "_nodes" else holder.pool  # type: ignore[no-any-return]
    return port._pool  # type: ignore[no-any-return]


def watch_closely(port: Any) -> None:
    """Look at the heads before each request: tests have no time to wait for the next look."""
    pool = pool_of(port)
    rules = msgspec.structs.replace(
        pool._rules, probe_every=0.0, rest=0.2, longest_rest=1.0, lag=3, lag_seconds=0
    )
    pool._rules = pool._selection.rules = rules


@dataclass(frozen=True)
class Outcome:
    """How a scan through bad endpoints ended."""

    chain: str
    fault: str
    second: bool
    found: int
    of: int
    reached: int
    seconds: float
    bad_answers: int
    said: str


async def scan_all(
    history: History, port: ChainPort, target: int, limit: float, patience: int
) -> tuple[BlockRef, tuple[HtlcEvent, ...], str]:
    """Scan from the start until block `target`, or until `patience` failures (or idle scans) in a row.

    Return the last block that was reached, the events up to it, and the last failure's words.
    """
    ring = [history.start]
    found: list[HtlcEvent] = []
    said, failures = "", 0
    end = time.monotonic() + limit
    while ring[-1].height < target and time.monotonic() < end and failures < patience:
        try:
            scan = await port.scan(tuple(ring), 100)
        except PortError as error:
            said, failures = f"{error} ({error.hint or 'WITHOUT A HINT'})", failures + 1
            await asyncio.sleep(0.02)
            continue
        assert not scan.orphaned, "no block of this history was ever replaced"
        for block in scan.blocks:
            assert (block.parent, block.height) == (ring[-1].id, ring[-1].height + 1)
            ring.append(block)
        assert all(event.block in scan.blocks for event in scan.events)
        found += scan.events
        failures = 0 if scan.blocks else failures + 1
        if not scan.blocks:
            await asyncio.sleep(0.02)
    return ring[-1], tuple(found), said


async def through(
    history: History, fault: Fault, *, second: bool, stack: AsyncExitStack
) -> tuple[Any, AnyProxy]:
    if history.chain == "cardano":
        return await through_a_service(history, fault, second=second, stack=stack)
    if history.chain == "cardano_own_node":
        return await through_an_own_node(history, fault, second=second, stack=stack)
    devnet = history.rig.devnet
    upstream = devnet.url if history.chain == "stellar" else devnet.rpc_url
    proxy = await stack.enter_async_context(
        FaultProxy(
            upstream,
            DIALECTS[history.chain](),
            fault,
            seed=SEED,
            frozen_at=history.middle,
            delay=0.8,
        )
    )
    urls = (proxy.url, upstream) if second else (proxy.url,)
    patience = "request_timeout" if history.chain == "stellar" else "timeout"
    changes: dict[str, Any] = {"rpc_urls": urls, patience: 0.5 if fault is Fault.SLOW else 5.0}
    if history.chain in {"ethereum", "solana"}:
        changes["ws_url"] = ""
    settings = msgspec.structs.replace(history.rig.devnet.settings, **changes)
    port = OPENERS[history.chain](settings, devnet_key("endpoint-faults"))
    stack.push_async_callback(port.close)
    watch_closely(port)
    return port, proxy


async def through_a_service(
    history: History, fault: Fault, *, second: bool, stack: AsyncExitStack
) -> tuple[Any, BlockfrostFaultProxy]:
    honest = history.rig.settings
    proxy = await stack.enter_async_context(
        BlockfrostFaultProxy(honest.blockfrost_url, fault, seed=SEED, frozen_at=history.middle, delay=0.8)
    )
    changes: dict[str, Any] = {
        "blockfrost_url": proxy.url,
        "other_blockfrosts": ((honest.blockfrost_url, ""),) if second else (),
        "timeout": 0.5 if fault is Fault.SLOW else 5.0,
    }
    settings = msgspec.structs.replace(honest, **changes)
    port = OPENERS["cardano"](settings, devnet_key("endpoint-faults"))
    stack.push_async_callback(port.close)
    watch_closely(port)
    return port, proxy


async def through_an_own_node(
    history: History, fault: Fault, *, second: bool, stack: AsyncExitStack
) -> tuple[Any, OwnNodeFaultProxy]:
    devnet = history.rig.devnet
    upstream = f"http://127.0.0.1:{devnet.port}"
    proxy = await stack.enter_async_context(
        OwnNodeFaultProxy(upstream, fault, seed=SEED, frozen_at=history.middle, delay=0.8)
    )
    changes: dict[str, Any] = {
        "ogmios_url": proxy.ogmios_url,
        "kupo_url": proxy.kupo_url,
        "blockfrost_url": devnet.settings.blockfrost_url if second else "",
        "timeout": 0.5 if fault is Fault.SLOW else 5.0,
    }
    settings = msgspec.structs.replace(devnet.own_node_settings, **changes)
    port = OPENERS[history.chain](settings, devnet_key("endpoint-faults"))
    stack.push_async_callback(port.close)
    watch_closely(port)
    return port, proxy


def keep(outcome: Outcome) -> None:
    if FIGURES:
        with Path(FIGURES).open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")


def cases() -> list[Any]:
    return [
        pytest.param(chain, fault, id=f"{chain}-{fault.name.lower()}")
        for chain in CHAINS
        for fault in Fault
        if not (chain != "ethereum" and fault is Fault.RANGE_LIMITED)
        and not (chain in NO_BATCHES and fault in {Fault.BATCH_LIMITED, Fault.REORDERED})
        and not (chain == "cardano" and fault is Fault.TWO_NODES)
    ]


@pytest.mark.parametrize(("chain", "fault"), cases())
async def test_with_a_sound_second_endpoint_every_event_is_found(
    rigs: Rigs, chain: str, fault: Fault
) -> None:
    history = await history_of(rigs, chain)
    async with AsyncExitStack() as stack:
        port, proxy = await through(history, fault, second=True, stack=stack)
        began = time.monotonic()
        last, found, said = await scan_all(history, port, history.last.height, LIMIT, 10**6)
        seconds = time.monotonic() - began
        keep(outcome_of(history, fault, proxy, last, found, said, second=True, seconds=seconds))
        assert last.height >= history.last.height, f"{said}\n{dict(proxy.seen)}"
        assert within(history, found) == history.events
        assert "secret-api-key" not in said
        assert "WITHOUT A HINT" not in said


@pytest.mark.parametrize(("chain", "fault"), cases())
async def test_alone_it_shows_every_event_or_is_unavailable_and_says_why(
    rigs: Rigs, chain: str, fault: Fault
) -> None:
    history = await history_of(rigs, chain)
    async with AsyncExitStack() as stack:
        port, proxy = await through(history, fault, second=False, stack=stack)
        began = time.monotonic()
        hopeless = fault in HOPELESS
        back = 8 if fault is Fault.STALE else 0
        target = history.last.height - back
        last, found, said = await scan_all(history, port, target, LIMIT, 5 if hopeless else 10**6)
        seconds = time.monotonic() - began
        keep(outcome_of(history, fault, proxy, last, found, said, second=False, seconds=seconds))
        assert "secret-api-key" not in said
        assert "WITHOUT A HINT" not in said
        expected = tuple(event for event in history.events if event.block.height <= last.height)
        assert within(history, found) == expected, "what it has read is whole, and nothing is invented"
        if fault is Fault.FROZEN:
            assert last.height < history.last.height
            reason = await unavailability_of_a_frozen_head(port)
            assert "stands still" in reason
            assert "endpoint 1 of 1 (127.0.0.1)" in reason
        elif hopeless:
            assert said, "it says why"
        else:
            assert last.height >= target, f"{said}\n{dict(proxy.seen)}"


async def unavailability_of_a_frozen_head(port: Any) -> str:
    """Let the clock go on, as it does on a public network, and return what the port says then."""
    pool = pool_of(port)
    century = 100 * 365 * 86_400.0
    rules: Rules = msgspec.structs.replace(pool._rules, max_age=century / 2)
    pool._rules = pool._selection.rules = rules
    await port.tip()
    pool._clock = lambda: time.time() + century
    pool._monotonic = lambda: time.monotonic() + century
    with pytest.raises(PortError) as old:
        await port.tip()
    return str(old.value)


def within(history: History, found: tuple[HtlcEvent, ...]) -> tuple[HtlcEvent, ...]:
    """The history's part of what was found: other tests may have mined after it."""
    kinds = (Locked, Claimed, Refunded)
    return tuple(e for e in found if isinstance(e, kinds) and e.block.height <= history.last.height)


def outcome_of(
    history: History,
    fault: Fault,
    proxy: AnyProxy,
    last: BlockRef,
    found: tuple[HtlcEvent, ...],
    said: str,
    *,
    second: bool,
    seconds: float,
) -> Outcome:
    return Outcome(
        chain=history.chain,
        fault=fault.value,
        second=second,
        found=len(within(history, found)),
        of=len(history.events),
        reached=last.height - history.start.height,
        seconds=round(seconds, 2),
        bad_answers=proxy.faults,
        said=said,
    )
