"""The newest common block: another block at a height is a reorg, a missing one is not."""

from __future__ import annotations

import pytest

from bridge.chains.errors import DeepReorgError, PortUnavailableError
from bridge.chains.recent_blocks import newest_common
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds


def ref(height: int, branch: str = "a") -> BlockRef:
    return BlockRef(
        BlockHeight(height), f"{branch}{height}", f"{branch}{height - 1}", UnixSeconds(1_000 + height)
    )


RING = [ref(height) for height in range(10, 16)]


def canonical(*refs: BlockRef) -> dict[BlockHeight, str]:
    return {block.height: block.id for block in refs}


def test_an_unbroken_chain_goes_on_from_the_newest_known_block() -> None:
    head = ref(20)
    assert newest_common(RING, canonical(RING[-1], head), head) == 5


def test_a_fork_goes_on_from_where_it_forked() -> None:
    fork = [ref(14, "b"), ref(15, "b"), ref(16, "b")]
    assert newest_common(RING, canonical(*RING[:4], *fork), fork[-1]) == 3


def test_a_shorter_but_other_branch_is_a_reorg() -> None:
    head = ref(14, "b")
    assert newest_common(RING, canonical(*RING[:4], head), head) == 3


def test_a_node_that_is_behind_on_the_same_chain_proves_no_reorg() -> None:
    head = RING[2]
    assert newest_common(RING, canonical(*RING[:3]), head) is None


def test_no_common_block_is_a_deep_reorg() -> None:
    strange = [ref(height, "b") for height in range(10, 17)]
    with pytest.raises(DeepReorgError) as refusal:
        newest_common(RING, canonical(*strange), strange[-1])
    assert refusal.value.hint


def test_a_node_behind_the_whole_ring_cannot_tell() -> None:
    head = ref(3)
    with pytest.raises(PortUnavailableError):
        newest_common(RING, canonical(head), head)
