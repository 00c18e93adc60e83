"""An endpoint that is ahead must show its own newest blocks, and one of those of the one it leaves behind."""

from __future__ import annotations

import pytest

from bridge.chains.endpoints.ancestry import by_height
from bridge.chains.endpoints.selection import Head
from bridge.protocol.types import BlockHeight, BlockRef, UnixSeconds


class Node:
    """Says that its newest block is at `head`, and has `blocks`."""

    def __init__(self, head: int, *blocks: int, branch: str = "a", forked_at: int = 0) -> None:
        self.height = head
        self.blocks = {
            height: BlockRef(
                BlockHeight(height), f"{'a' if height < forked_at else branch}{height}", "", UnixSeconds(0)
            )
            for height in blocks
        }


async def head(node: Node) -> Head:
    return Head(node.height)


async def block_at(node: Node, height: int) -> BlockRef | None:
    return node.blocks.get(height)


ANCESTRY = by_height(head, block_at)
LOWER = Node(100, *range(101))


@pytest.mark.parametrize(
    ("higher", "backs"),
    [
        (Node(120, *range(121)), True),
        (Node(120, *range(121), branch="b", forked_at=99), True),
        (Node(120, *range(121), branch="b", forked_at=70), False),
        (Node(120, *range(101)), False),
        (Node(120, *range(120)), False),
    ],
)
async def test_a_head_counts_only_above_blocks_that_are_shown(higher: Node, *, backs: bool) -> None:
    assert await ANCESTRY.backs(higher, LOWER) is backs


async def test_one_that_shows_no_block_is_left_behind_by_nobody() -> None:
    assert await ANCESTRY.backs(Node(120, *range(121)), Node(100)) is None


async def test_a_block_of_another_height_is_not_the_one_asked_for() -> None:
    liar = Node(120)
    liar.blocks = dict.fromkeys(range(121), LOWER.blocks[100])
    assert await ANCESTRY.backs(liar, LOWER) is False


async def test_a_chain_that_has_just_begun_is_known_by_its_first_block() -> None:
    assert await ANCESTRY.recent(Node(0, 0)) == [LOWER.blocks[0]]
    assert await ANCESTRY.backs(Node(120, *range(121)), Node(0, 0)) is True
