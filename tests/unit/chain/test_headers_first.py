"""Headers apart from blocks, blocks out of order, branches that are too deep, and junk that fills no disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.consensus.chain import Chain
from chain.node import Node, NodeConfig
from chain.rules.block import Block
from chain.rules.errors import Reason, RuleBrokenError, StoreError
from chain.rules.header import work_of
from chain.rules.params import COIN, DEV, Network, NetworkParams
from chain.rules.records import Transaction, Witness
from chain.state.headers import HeaderStatus
from tests.unit.chain.harness import ALICE, BOB, CAROL, Sandbox, reason_of

SHALLOW = replace(DEV, finality_window=10, side_blocks=4)


@pytest.fixture
def shallow(tmp_path: Path) -> Iterator[Sandbox]:
    """A chain whose finality window is 10 blocks and that keeps 4 blocks of other branches."""
    sandbox = Sandbox(tmp_path / "shallow", params=SHALLOW)
    yield sandbox
    sandbox.close()


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Callable[[NetworkParams], Chain]]:
    """Open empty chains beside the one that mines."""
    opened: list[Chain] = []

    def chain(params: NetworkParams = DEV) -> Chain:
        opened.append(Chain(params, tmp_path / f"follower{len(opened)}", clock=lambda: 2**40, sync=False))
        return opened[-1]

    yield chain
    for each in opened:
        each.close()


def mined(box: Sandbox, count: int) -> list[Block]:
    for _ in range(count):
        box.mine()
    blocks = [box.chain.main_block(height) for height in range(1, box.chain.tip.height + 1)]
    return [block for block in blocks if block is not None]


def branch(box: Sandbox, fork: int, count: int) -> list[Block]:
    """Forge a branch of empty blocks from a height of the main chain, offering none of them."""
    blocks: list[Block] = []
    helper = Sandbox(box_directory(box), params=box.params)
    for height in range(1, fork + 1):
        block = box.chain.main_block(height)
        assert block is not None
        helper.now = max(helper.now, block.header.time)
        helper.accept(block)
    for i in range(count):
        helper.now += 1
        block = helper.forge(extra_nonce=1_000 + i)
        helper.accept(block)
        blocks.append(block)
    helper.close()
    box.now = max(box.now, helper.now)
    return blocks


def box_directory(_: Sandbox) -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="branch"))


def test_a_header_is_stored_without_its_block_and_its_block_connects_later(
    box: Sandbox, follower: Callable[..., Chain]
) -> None:
    chain = follower()
    blocks = mined(box, 3)
    done = chain.accept_headers([block.header for block in blocks])
    assert (done.new, done.best) == (len(blocks), box.chain.tip.id)
    assert done.best_work == box.chain.tip.work
    assert chain.tip.height == 0
    record = chain.header(blocks[0].id)
    assert record is not None
    assert record.status is HeaderStatus.HEADER
    assert chain.missing_bodies(2) == [blocks[0].id, blocks[1].id]
    for block in blocks:
        change = chain.accept_block(block)
        assert (change.known, change.connected) == (False, (block,))
    assert chain.tip == box.chain.tip
    assert chain.missing_bodies(10) == []
    assert chain.accept_headers([block.header for block in blocks]).new == 0


def test_blocks_that_arrive_in_any_order_connect_when_the_gap_closes(
    box: Sandbox, follower: Callable[..., Chain]
) -> None:
    chain = follower()
    blocks = mined(box, 5)
    chain.accept_headers([block.header for block in blocks])
    for block in [blocks[4], blocks[2], blocks[1], *blocks[5:]]:
        assert chain.accept_block(block).waits_for is not None
        assert chain.tip.height == 0
    change = chain.accept_block(blocks[0])
    assert [block.id for block in change.connected] == [block.id for block in blocks[:3]]
    change = chain.accept_block(blocks[3])
    assert [block.id for block in change.connected] == [block.id for block in blocks[3:]]
    assert chain.tip == box.chain.tip


def test_blocks_that_wait_are_still_known_after_a_restart(box: Sandbox, tmp_path: Path) -> None:
    blocks = mined(box, 3)
    chain = Chain(DEV, tmp_path / "again", clock=lambda: 2**40, sync=False)
    chain.accept_headers([block.header for block in blocks])
    chain.accept_block(blocks[1])
    chain.close()
    again = Chain(DEV, tmp_path / "again", clock=lambda: 2**40, sync=False)
    assert len(again.accept_block(blocks[0]).connected) == 2
    again.close()


def test_a_heavier_branch_is_followed_once_its_last_block_has_come(box: Sandbox) -> None:
    mined(box, 3)
    fork = box.chain.tip.height - 2
    other = branch(box, fork, 4)
    box.chain.accept_headers([block.header for block in other])
    assert box.chain.missing_bodies(9) == [block.id for block in other]
    for block in [other[3], other[1], other[2]]:
        assert not box.accept(block).connected
    change = box.accept(other[0])
    assert len(change.disconnected) == 2
    assert [block.id for block in change.connected] == [block.id for block in other]
    assert box.chain.tip.id == other[3].id
    assert box.supply_adds_up()


def test_an_invalid_block_takes_the_headers_above_it_with_it(box: Sandbox) -> None:
    mined(box, 1)
    bad = box.forge(amount=51 * COIN)
    box.chain.accept_headers([bad.header])
    above = box.forge(parent=bad.id, amount=50 * COIN)
    box.chain.accept_headers([above.header])
    assert box.chain.missing_bodies(9) == [bad.id, above.id]
    assert box.refused(bad) is Reason.BAD_COINBASE_AMOUNT
    assert box.chain.missing_bodies(9) == []
    assert box.refused(above) is Reason.KNOWN_INVALID
    assert reason_of(lambda: box.chain.accept_headers([above.header])) is Reason.KNOWN_INVALID
    box.mine()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nonce": 1}, Reason.BAD_WORK),
        ({"target": 0x20100001}, Reason.BAD_TARGET),
        ({"target": 0}, Reason.BAD_TARGET),
        ({"height": 9}, Reason.BAD_HEIGHT),
        ({"time": 1}, Reason.TIME_TOO_OLD),
        ({"time": 2**47}, Reason.TIME_TOO_NEW),
        ({"previous": bytes(32)}, Reason.UNKNOWN_PARENT),
    ],
)
def test_one_bad_header_and_none_of_the_batch_is_stored(
    box: Sandbox, follower: Callable[..., Chain], change: dict[str, Any], reason: Reason
) -> None:
    chain = follower()
    chain.clock = lambda: box.now
    headers = [block.header for block in mined(box, 4)]
    broken = replace(headers[2], **change)
    if reason is Reason.BAD_WORK:
        from kernels import cosmic_harmony

        target = 2**252  # easier than dev's: the first nonce that misses it is not far
        nonce = next(n for n in range(9_999) if not cosmic_harmony.verify(broken.raw, n, target))
        broken = replace(broken, nonce=nonce)
    with pytest.raises(RuleBrokenError) as refused:
        chain.accept_headers([*headers[:2], broken])
    assert (refused.value.reason, refused.value.index) == (reason, 2)
    assert all(chain.header(header.id) is None for header in headers)


def test_a_chain_with_less_than_the_minimum_work_is_stored_only_when_more_is_shown(
    box: Sandbox, follower: Callable[..., Chain]
) -> None:
    least = 10 * work_of(DEV.pow_limit)
    chain = follower(replace(DEV, minimum_work=least))
    headers = [block.header for block in mined(box, 4)]
    assert reason_of(lambda: chain.accept_headers(headers)) is Reason.TOO_LITTLE_WORK
    assert chain.header(headers[0].id) is None
    assert chain.accept_headers(headers, work_behind=least).new == len(headers)


def test_a_branch_below_the_finality_window_is_refused_before_anything_is_stored(shallow: Sandbox) -> None:
    mined(shallow, 5)
    deep, near = branch(shallow, 3, 1)[0], branch(shallow, 5, 1)[0]
    mined(shallow, 10)
    assert shallow.refused(deep) is Reason.REORG_TOO_DEEP
    assert reason_of(lambda: shallow.chain.accept_headers([deep.header])) is Reason.REORG_TOO_DEEP
    assert shallow.chain.header(deep.id) is None
    assert shallow.chain.accept_headers([near.header]).new == 1


def test_a_heavier_branch_below_the_finality_window_is_refused(shallow: Sandbox) -> None:
    mined(shallow, 12)
    heavier = branch(shallow, 1, 14)
    tip = shallow.chain.tip
    assert reason_of(lambda: shallow.chain.accept_headers([b.header for b in heavier])) is (
        Reason.REORG_TOO_DEEP
    )
    assert shallow.chain.tip == tip


def test_a_branch_that_has_been_known_for_long_is_refused_once_it_lies_too_deep(shallow: Sandbox) -> None:
    mined(shallow, 3)
    other = branch(shallow, 2, 20)
    shallow.chain.accept_headers([block.header for block in other])
    mined(shallow, 12)
    assert shallow.refused(other[0]) is Reason.REORG_TOO_DEEP


def test_a_long_chain_of_headers_is_not_called_deep_once_the_main_chain_has_followed_it(
    box: Sandbox, follower: Callable[..., Chain]
) -> None:
    chain = follower(SHALLOW)
    blocks = mined(box, 40)
    chain.accept_headers([block.header for block in blocks[:35]])
    for block in blocks[:30]:
        chain.accept_block(block)
    sibling = box.forge(parent=blocks[33].id, extra_nonce=5)
    assert chain.accept_headers([sibling.header]).new == 1, "what was kept of its parent is old"
    assert chain.accept_headers([block.header for block in blocks[35:]]).new == len(blocks) - 35
    for block in blocks[30:]:
        chain.accept_block(block)
    assert chain.tip == box.chain.tip


def test_undo_records_end_with_the_finality_window(shallow: Sandbox) -> None:
    mined(shallow, 25)
    with shallow.chain.store.view() as view:
        kept = [shallow.chain.ids_between(h, h)[0] for h in range(26) if _undo(shallow, h)]
        assert view.get_undo(kept[0]) is not None
    assert len(kept) == 11


def _undo(box: Sandbox, height: int) -> bool:
    with box.chain.store.view() as view:
        block_id = view.id_at(height)
        return block_id is not None and view.get_undo(block_id) is not None


def test_junk_on_a_branch_fills_no_disk(shallow: Sandbox) -> None:
    """Blocks of garbage, with work and nothing else, below the head: their number is bounded."""
    mined(shallow, 6)
    parent = shallow.chain.ids_between(4, 4)[0]
    junk = [
        Transaction(
            2, 3, i, 1, 0, ALICE.key_hash, BOB.key_hash, witness=Witness(bytes([7]) * 64, bytes([2]) * 33)
        )
        for i in range(20)
    ]
    for extra in range(12):
        block = shallow.forge(*junk, parent=parent, extra_nonce=extra)
        assert not shallow.chain.accept_block(block).connected
    with shallow.chain.store.view() as view:
        assert view.side_count() == 4
        stored = [view.get_block(block_id) for block_id in view.sides()]
    assert all(stored)
    assert len(stored) == 4


def test_blocks_on_the_way_to_the_heaviest_header_are_kept_beside_the_limit(shallow: Sandbox) -> None:
    mined(shallow, 9)
    other = branch(shallow, 1, 9)
    shallow.chain.accept_headers([block.header for block in other])
    for block in other:
        shallow.accept(block)
    assert shallow.chain.tip.id == other[-1].id
    with shallow.chain.store.view() as view:
        assert view.side_count() == 4, "what was disconnected is kept as far as the limit goes"
    assert shallow.supply_adds_up()


def test_a_block_whose_commit_failed_is_not_taken_for_known(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for a moment: the same block is accepted once it is not."""
    import lmdb

    from chain.state.store import StateWriter

    mined(box, 2)
    block = box.forge()
    sound = StateWriter.finish_block

    def full(self: StateWriter, block_id: bytes) -> None:
        raise lmdb.MapFullError("no space left")

    monkeypatch.setattr(StateWriter, "finish_block", full)
    with pytest.raises(StoreError, match="no space left"):
        box.chain.accept_block(block)
    monkeypatch.setattr(StateWriter, "finish_block", sound)
    assert box.accept(block).connected
    assert box.chain.tip.id == block.id


def test_a_side_block_whose_commit_failed_is_taken_again(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    mined(box, 3)
    other = branch(box, box.chain.tip.height - 1, 1)[0]
    from chain.state.store import StateWriter

    sound = StateWriter.add_side

    def full(self: StateWriter, block_id: bytes, record: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(StateWriter, "add_side", full)
    with pytest.raises(OSError, match="no space"):
        box.chain.accept_block(other)
    monkeypatch.setattr(StateWriter, "add_side", sound)
    assert not box.chain.accept_block(other).known
    assert box.chain.accept_block(other).known
    box.mine(box.transfer(CAROL, ALICE))


def test_a_heavier_branch_that_lies_too_deep_is_named_and_a_strangers_block_is_not(tmp_path: Path) -> None:
    node = Node(NodeConfig(Network.DEV, tmp_path / "node", sync=False))
    node.chain.params = node.params = SHALLOW
    node.chain.headers._params = SHALLOW
    box = Sandbox(tmp_path / "other")
    box.now = node.clock.now()
    heavier = mined(box, 20)
    node.mine_one()
    node.chain.accept_headers([block.header for block in heavier])
    for _ in range(12):
        node.mine_one()
    stranger = Sandbox(tmp_path / "stranger")
    stranger.now = box.now
    alone = stranger.forge(extra_nonce=77)
    assert reason_of(lambda: node.accept(alone)) is Reason.REORG_TOO_DEEP
    assert node.problems == ()
    assert reason_of(lambda: node.accept(heavier[-1])) is Reason.REORG_TOO_DEEP
    assert "below the head" in " ".join(node.problems)
    for _ in range(8):
        node.mine_one()
    assert node.problems == (), "the main chain is the heaviest again"
    for each in (box, stranger):
        each.close()
    node.chain.close()
    node._directory_lock.close()
