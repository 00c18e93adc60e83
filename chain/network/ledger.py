"""What the network needs of a chain and its mempool: reads at once, checks as facts.

The network never decides what is valid. It asks, and punishes by the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from chain.network.codec import Block, Header, WtxId
from chain.rules.params import NetworkParams
from chain.rules.types import BlockId


@dataclass(frozen=True, slots=True)
class LedgerTip:
    """The head of the chain whose blocks were checked. `work`: expected hashes since genesis."""

    id: BlockId
    height: int
    work: int


@dataclass(frozen=True, slots=True)
class LedgerHeader:
    """A header whose block is stored. `work` is the chain's up to it."""

    header: Header
    work: int
    invalid: bool = False


class BlockFault(Enum):
    """What is wrong with a block that was refused."""

    NONE = "none"
    """Nothing: it is too new for this clock, say. It may be accepted later."""
    BODY = "body"
    """The transactions are not those that the header commits to. The header may still be valid."""
    BLOCK = "block"
    """The block breaks a rule: its header is invalid, and all on top of it."""


@dataclass(frozen=True, slots=True)
class BlockVerdict:
    """What the chain says of a block."""

    accepted: bool
    fault: BlockFault = BlockFault.NONE
    reason: str = ""


class TransactionFault(Enum):
    """What is wrong with a transaction that was refused."""

    NONE = "none"
    POLICY = "policy"
    """Fee, balance, nonce, a lock's state: an honest peer may have sent it."""
    WAITS = "waits"
    """It may become valid when another transaction or a block has come."""
    INVALID = "invalid"
    """It can never be valid: signature, or a malformed record."""


@dataclass(frozen=True, slots=True)
class TransactionVerdict:
    """What the mempool says of a transaction. `sender` and `nonce` tell what a waiting one waits for."""

    wtxid: WtxId
    accepted: bool
    fee: int = 0
    fault: TransactionFault = TransactionFault.NONE
    reason: str = ""
    sender: bytes = b""
    nonce: int = 0


class Ledger(Protocol):
    """A node's chain and mempool as the network sees them."""

    @property
    def params(self) -> NetworkParams:
        """The network's constants."""

    @property
    def genesis_id(self) -> BlockId:
        """The genesis block's id."""

    def now(self) -> int:
        """Return the node's clock, Unix seconds. Peers' clocks never change it."""

    def tip(self) -> LedgerTip:
        """Return the head."""

    def header(self, block_id: BlockId) -> LedgerHeader | None:
        """Return a header whose block is stored, on any branch."""

    def id_at(self, height: int) -> BlockId | None:
        """Return the main chain's id at a height."""

    def headers_from(self, height: int, count: int) -> Sequence[Header]:
        """Return at most `count` headers of the main chain from a height up."""

    def block(self, block_id: BlockId) -> Block | None:
        """Return a stored block that was connected once."""

    def note_headers(self, headers: Sequence[Header]) -> bool:
        """Keep checked headers in a row, at most 2,000; False: the chain will not follow them."""

    def accept_block(self, block: Block) -> BlockVerdict:
        """Check and take a block. Never raises for what is wrong with it."""

    def accept_transaction(self, raw: bytes) -> TransactionVerdict:
        """Check and take a transaction. Never raises for what is wrong with it."""

    def transaction(self, wtxid: WtxId) -> bytes | None:
        """Return a waiting transaction's bytes."""

    def waiting(self) -> Sequence[WtxId]:
        """Return the wtxids of all waiting transactions."""

    def least_fee(self) -> int:
        """Return the least fee that the mempool takes now."""
