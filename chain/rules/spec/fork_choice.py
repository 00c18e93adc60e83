"""Which blocks are followed.

The valid branch with the most work is the main chain; of equals, the one seen first. A branch is checked
against the state only when it becomes the heaviest, so a lighter branch may hold a block that would break a
rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chain.rules.block import Block
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.header import Header, work_of
from chain.rules.params import LWMA_WINDOW, NetworkParams
from chain.rules.spec.blocks import block_id, check_body, check_header, median_time_of
from chain.rules.spec.transition import apply_block, genesis_state
from chain.rules.spec.values import SignedRecord, State, records_of, require
from chain.rules.types import BlockId, UnixSeconds

GENESIS_PARENT = bytes(32)


@dataclass
class BlockTree:
    """All blocks that a node knows. `states` holds those of blocks that were on the main chain."""

    params: NetworkParams
    head: BlockId
    headers: dict[BlockId, Header] = field(default_factory=dict)
    records: dict[BlockId, list[SignedRecord]] = field(default_factory=dict)
    work: dict[BlockId, int] = field(default_factory=dict)
    states: dict[BlockId, State] = field(default_factory=dict)
    invalid: set[BlockId] = field(default_factory=set)

    @property
    def state(self) -> State:
        """The state at the head."""
        return self.states[self.head]


def new_tree(genesis: Block, params: NetworkParams) -> BlockTree:
    """Return a tree of the genesis block alone."""
    first = block_id(genesis.header)
    return BlockTree(
        params,
        first,
        headers={first: genesis.header},
        records={first: records_of(genesis)},
        work={first: work_of(genesis.header.target)},
        states={first: genesis_state(genesis, params)},
    )


def ancestors_of(tree: BlockTree, parent: BlockId) -> list[Header]:
    """Return the headers that the rules of a child of `parent` look at, oldest first, the parent last."""
    found: list[Header] = []
    while parent in tree.headers and len(found) <= LWMA_WINDOW:
        found.append(tree.headers[parent])
        parent = BlockId(found[-1].previous)
    return found[::-1]


def branch_to(tree: BlockTree, block: BlockId) -> list[BlockId]:
    """Return the blocks from genesis to `block`."""
    branch = [block]
    while tree.headers[branch[-1]].previous != GENESIS_PARENT:
        branch.append(BlockId(tree.headers[branch[-1]].previous))
    return branch[::-1]


def parent_is_known(tree: BlockTree, header: Header) -> None:
    """A block needs its parent."""
    require(header.previous in tree.headers, Reason.UNKNOWN_PARENT)


def parent_is_not_invalid(tree: BlockTree, header: Header) -> None:
    """Nothing valid stands on an invalid block."""
    require(header.previous not in tree.invalid, Reason.INVALID_ANCESTOR)


def no_ancestor_is_invalid(tree: BlockTree, branch: list[BlockId]) -> None:
    """A branch that was found invalid is not tried again."""
    require(not tree.invalid.intersection(branch), Reason.INVALID_ANCESTOR)


def was_not_found_invalid(tree: BlockTree, block: BlockId) -> None:
    """A block that broke a rule of the state is refused at once."""
    require(block not in tree.invalid, Reason.KNOWN_INVALID)


def is_heavier(tree: BlockTree, work: int) -> bool:
    """Tell whether a branch replaces the main chain: only more work does."""
    return work > tree.work[tree.head]


def on_block(tree: BlockTree, block: Block, now: UnixSeconds) -> None:
    """Take a block; follow it if its branch is valid and the heaviest. `now` is the node's clock.

    Raises `RuleBrokenError`; a block that breaks a rule of the state is remembered as invalid, because its id
    commits to all that those rules read.
    """
    header, records = block.header, records_of(block)
    this = block_id(header)
    was_not_found_invalid(tree, this)
    if this in tree.headers:
        return
    parent_is_known(tree, header)
    parent_is_not_invalid(tree, header)
    check_header(header, ancestors_of(tree, BlockId(header.previous)), tree.params, now)
    check_body(header, records, tree.params)
    tree.headers[this], tree.records[this] = header, records
    tree.work[this] = tree.work[BlockId(header.previous)] + work_of(header.target)
    if is_heavier(tree, tree.work[this]):
        follow(tree, this)


def follow(tree: BlockTree, this: BlockId) -> None:
    """Make the branch to `this` the main chain, or mark it invalid and forget the block."""
    main_chain = set(branch_to(tree, tree.head))
    branch = [block for block in branch_to(tree, this) if block not in main_chain]
    failing = this
    try:
        no_ancestor_is_invalid(tree, branch)
        for block in branch:
            failing = block
            header = tree.headers[block]
            parent = BlockId(header.previous)
            median_time = median_time_of(ancestors_of(tree, parent))
            tree.states[block] = apply_block(
                tree.states[parent], header, tree.records[block], tree.params, median_time
            )
    except RuleBrokenError:
        tree.invalid.update({failing, this})
        raise
    tree.head = this
