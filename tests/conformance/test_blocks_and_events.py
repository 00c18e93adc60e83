"""Every chain: what is seen of blocks and HTLC events, also when the chain changes its mind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from bridge.chains.actions import ClaimAction, CooperativeRefundAction, LockAction, RefundAction
from bridge.chains.errors import DeepReorgError
from bridge.chains.port import Claimed, Locked, LockStatus, Refunded, TxState
from bridge.protocol.types import BlockHeight, BlockRef, Preimage, UnixSeconds
from tests.conformance.rig import Scene, Watcher

SECRET = Preimage(b"a preimage of just thirty-two by")


async def test_the_tip_is_the_newest_block_and_its_clock_never_goes_back(scene: Scene) -> None:
    port = await scene.port("bridge")
    before = await port.tip()
    await scene.rig.devnet.mine(2)
    after = await port.tip()
    assert after.block.height == before.block.height + 2
    assert after.time >= before.time
    await scene.rig.devnet.advance_time(100)
    later = await port.tip()
    assert later.time >= after.time + 100
    assert not scene.rig.exact_clock or later.time == after.time + 100


async def test_an_empty_ring_yields_the_head_alone(scene: Scene) -> None:
    port = await scene.port("bridge")
    scan = await port.scan((), 10)
    assert [block.id for block in scan.blocks] == [scan.tip.block.id]
    assert scan.orphaned == ()


async def test_nothing_new_yields_nothing(scene: Scene) -> None:
    watcher = Watcher(await scene.port("bridge"))
    await watcher.look()
    scan = await watcher.look()
    assert (scan.orphaned, scan.blocks, scan.events) == ((), (), ())


async def test_scanning_in_chunks_leaves_no_gap(scene: Scene) -> None:
    watcher = Watcher(await scene.port("bridge"))
    start = (await watcher.look()).tip.block.height
    await scene.rig.devnet.mine(8)
    heights = [[block.height for block in (await watcher.look(3)).blocks] for _ in range(4)]
    assert heights == [
        [start + 1, start + 2, start + 3],
        [start + 4, start + 5, start + 6],
        [start + 7, start + 8],
        [],
    ]


async def test_events_say_exactly_what_happened(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    first = await scene.terms(ours, theirs, SECRET)
    second = await scene.terms(theirs, ours, SECRET, lifetime=20_000)
    watcher = Watcher(ours)
    await watcher.look()
    locking = [await scene.sent(ours, LockAction(first)), await scene.sent(theirs, LockAction(second))]
    await scene.rig.devnet.mine(1)
    scan = await watcher.look()
    block = scan.blocks[-1]
    wanted = [
        Locked(block, locking[0].tx_id, ours.lock_id(first), first),
        Locked(block, locking[1].tx_id, ours.lock_id(second), second),
    ]
    assert sorted(scan.events, key=repr) == sorted(wanted, key=repr)

    claiming = await scene.done(theirs, ClaimAction(first, SECRET))
    block = (await ours.tip()).block
    if scene.rig.traits.gives_back_early:
        returning = await scene.done(ours, CooperativeRefundAction(second))
    else:
        await scene.rig.devnet.advance_time(20_000)
        returning = await scene.done(theirs, RefundAction(second))
    scan = await watcher.look()
    assert scan.events == (
        Claimed(block, claiming.tx_id, ours.lock_id(first), SECRET),
        Refunded(scan.blocks[-1], returning.tx_id, ours.lock_id(second)),
    )


async def test_a_reorg_that_drops_a_lock_orphans_its_block_and_takes_the_lock_away(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    watcher = Watcher(ours)
    await watcher.look()
    tx = await scene.done(theirs, LockAction(terms))
    await scene.rig.devnet.mine(2)
    before = await watcher.look()
    assert [event.tx_id for event in before.events] == [tx.tx_id]
    assert (await theirs.tx_status(tx)).confirmations == 3

    await scene.rig.devnet.reorg(3, drop=[tx.tx_id])
    after = await watcher.look()
    assert [block.id for block in after.orphaned] == [block.id for block in reversed(before.blocks)]
    assert after.tip.block.height > before.tip.block.height
    assert after.events == ()
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.ABSENT
    assert (await theirs.tx_status(tx)).state is TxState.UNKNOWN

    await theirs.broadcast(tx)
    await scene.rig.devnet.mine(1)
    assert [event.tx_id for event in (await watcher.look()).events] == [tx.tx_id]
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN


async def test_a_reorg_that_includes_a_lock_again_reports_it_again_in_its_new_block(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    watcher = Watcher(ours)
    await watcher.look()
    tx = await scene.done(theirs, LockAction(terms))
    (seen,) = (await watcher.look()).events

    await scene.rig.devnet.reorg(1)
    scan = await watcher.look()
    assert [block.id for block in scan.orphaned] == [seen.block.id]
    (again,) = scan.events
    assert again == Locked(again.block, tx.tx_id, ours.lock_id(terms), terms)
    assert again.block.id != seen.block.id
    assert (await theirs.tx_status(tx)).block == again.block


async def test_a_ring_of_another_chain_is_a_deep_reorg(scene: Scene) -> None:
    port = await scene.port("bridge")
    await scene.rig.devnet.mine(2)
    head = (await port.tip()).block
    strange = [_elsewhere(head, height) for height in (head.height - 1, head.height)]
    with pytest.raises(DeepReorgError) as refusal:
        await port.scan(strange, 10)
    assert refusal.value.hint


async def test_a_scan_can_begin_below_the_head_at_a_height_alone(scene: Scene) -> None:
    port = await scene.port("bridge")
    await scene.rig.devnet.mine(3)
    head = (await port.tip()).block
    scan = await port.scan([BlockRef(BlockHeight(head.height - 2), "", "", UnixSeconds(0))], 10)
    assert scan.orphaned == ()
    assert [block.height for block in scan.blocks][:2] == [head.height - 1, head.height]
    assert scan.blocks[1].id == head.id


async def test_a_reorg_deeper_than_the_ring_is_followed_from_a_height_that_stands_for_any_block(
    scene: Scene,
) -> None:
    port = await scene.port("bridge")
    await scene.rig.devnet.mine(3)
    head = (await port.tip()).block
    strange = [_elsewhere(head, height) for height in (head.height - 1, head.height)]
    scan = await port.scan([BlockRef(BlockHeight(head.height - 2), "", "", UnixSeconds(0)), *strange], 10)
    assert [block.id for block in scan.orphaned] == [block.id for block in reversed(strange)]
    assert head.id in {block.id for block in scan.blocks}
    assert scan.blocks[0].height == head.height - 1


async def test_a_new_block_is_hinted(scene: Scene) -> None:
    port = await scene.port("bridge")
    hints = port.hints()
    waiting = asyncio.ensure_future(anext(hints))
    await asyncio.sleep(0.3)
    await scene.rig.devnet.mine(1)
    await asyncio.wait_for(waiting, 5)
    assert isinstance(hints, AsyncGenerator)
    await hints.aclose()


def _elsewhere(block: BlockRef, height: int) -> BlockRef:
    flipped = "".join("f" if digit == "0" else "0" for digit in block.id[-40:])
    return msgspec.structs.replace(block, height=height, id=block.id[:-40] + flipped)
