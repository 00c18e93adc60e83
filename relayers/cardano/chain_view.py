"""What the adapter asks about the chain, in its own terms: a hosted Blockfrost (`hosted`) answers, or your
own node with Ogmios and Kupo (`own_node`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec
from pycardano import ProtocolParameters

from bridge.protocol.types import BlockHeight, BlockRef, TxId, UnixSeconds
from kernels.errors import RainbowError

OutRef = tuple[str, int]
"""Transaction id (hex) and index of an output."""


class ChainMovedError(RainbowError):
    """The chain changed while it was read, or two answers are of different moments: read again."""

    def __init__(self, message: str = "the chain changed while it was read") -> None:
        super().__init__(message, "read again")


class TooMuchToReadError(RainbowError):
    """There is more to read than one question is worth: strangers can make any amount of it."""

    def __init__(self) -> None:
        super().__init__("too much happened at the validator to read all of it", "ask from a later block on")


class TxRefusedError(RainbowError):
    """The node refuses a transaction; the message is its reason."""


class NetworkId(msgspec.Struct, frozen=True):
    """Which network this is: its magic number, and the Unix second at which its chain began."""

    magic: int
    start: int


class Output(msgspec.Struct, frozen=True):
    """An output: where, how much (lovelace, and tokens by policy and name in hex), its inline datum (CBOR,
    hex), whether it carries a reference script, and the hash of its datum, inline or not."""

    tx_id: TxId
    index: int
    address: str
    lovelace: int
    tokens: dict[str, int] = {}
    inline_datum: str | None = None
    has_script: bool = False
    datum_hash: str | None = None

    @property
    def ref(self) -> OutRef:
        """What names it."""
        return self.tx_id, self.index


class SpentOutput(msgspec.Struct, frozen=True):
    """A spent output and the redeemer (CBOR) that a script allowed it for: none where none is shown, several
    where it is not shown which of them counts."""

    output: Output
    redeemers: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"SpentOutput({self.output!r}, <redeemer redacted>)"


class HtlcTx(msgspec.Struct, frozen=True):
    """An included transaction, as far as it matters to locks: the validator's outputs that it spends, in the
    order of its inputs, and those that it makes.

    `start` is the first slot at which it is valid (None: not known), `signers` the keys that had to sign,
    `shown` every string in its redeemers, datums and metadata. `failed`: a script of it failed, so that it
    neither spent nor made anything here. `unreadable` says what of it could not be read, "" if all was.
    """

    tx_id: TxId
    block: BlockRef
    spent: tuple[SpentOutput, ...]
    made: tuple[Output, ...]
    start: int | None = None
    signers: frozenset[bytes] = frozenset()
    shown: tuple[bytes, ...] = ()
    failed: bool = False
    unreadable: str = ""

    def __repr__(self) -> str:
        return f"HtlcTx({self.tx_id}, {self.block!r}, {self.spent!r}, {self.made!r})"


class Traced(msgspec.Struct, frozen=True):
    """An output that was once made, and the transaction that spent it (None: it is unspent)."""

    output: Output
    spender: TxId | None


class Waiting(msgspec.Struct, frozen=True):
    """A transaction in the mempool: what it would spend and make."""

    spends: tuple[OutRef, ...]
    makes: tuple[Output, ...]


class Inclusion(msgspec.Struct, frozen=True):
    """Where a transaction is, and whether its scripts succeeded (else only its collateral was taken)."""

    block: BlockRef
    valid: bool


class ChainView(Protocol):
    """One source of truth about one network. Methods raise `PortUnavailableError` for what may pass by
    itself.

    A `place` is an address, or a payment credential (addr_vkh1…, script1…) for all addresses with it.
    """

    async def network(self) -> NetworkId:
        """Return which network this is. Raises `PortError` where its parts are of different ones."""
        ...

    async def parameters(self) -> ProtocolParameters:
        """Return the protocol parameters."""
        ...

    async def head(self) -> BlockRef:
        """Return the newest block of which everything can be asked."""
        ...

    async def newest_blocks(self) -> Sequence[BlockRef]:
        """Return some of the newest blocks, the head first; of all but that only the ids are sure."""
        ...

    async def shows(self, block: BlockRef) -> bool:
        """Tell whether a block is on the chain."""
        ...

    async def newest_known(
        self, recent_blocks: Sequence[BlockRef], head: BlockRef
    ) -> tuple[int | None, BlockRef | None]:
        """Return the newest known block that is on the chain below `head`, its index and itself; (None, None)
        where the service is behind. See `bridge.chains.recent_blocks.newest_common`."""
        ...

    async def blocks_after(self, block: BlockRef, count: int) -> list[BlockRef]:
        """Return up to `count` blocks that follow one, oldest first. Raises `ChainMovedError` if it is
        gone."""
        ...

    async def activity(self, blocks: Sequence[BlockRef]) -> list[HtlcTx]:
        """Return what touched the validator in consecutive blocks, in chain order. Raises
        `ChainMovedError`."""
        ...

    def past_activity(
        self, wanted: Callable[[Output], bool], digest: str, since: BlockHeight | None
    ) -> AsyncIterator[HtlcTx]:
        """Yield what touched wanted locks in block `since` and later, newest first, naming no blocks; it may
        yield what touched other locks too. Without `since` only locks whose datum has the hash
        `digest` are found. Raises `TooMuchToReadError`."""
        ...

    async def covers(self, since: BlockHeight | None, account: str, digest: str) -> bool:
        """Tell whether `past_activity`, which found nothing, is known to be complete from a height on (None:
        from the first block on). `account` is an address that has a history."""
        ...

    async def knows_transactions(self, since: BlockHeight | None, account: str) -> bool:
        """Tell whether `inclusion` is known to find every transaction of `account` from a height on."""
        ...

    async def output(self, ref: OutRef) -> Traced | None:
        """Return an output of the validator that is or was on the chain."""
        ...

    async def spending(self, traced: Traced) -> HtlcTx:
        """Return the transaction that spent an output, without naming its block. Raises `ChainMovedError`."""
        ...

    async def made_after(self, block: BlockRef) -> list[Output] | None:
        """Return what was made at the validator after a block, spent since or not; None if the block has left
        the chain, or if there is more than one would want to read."""
        ...

    async def utxos(self, place: str) -> list[Output]:
        """Return what is unspent at a place, oldest first, as of the newest block."""
        ...

    async def decimals(self, unit: str) -> dict[str, int] | None:
        """Return what is said of a token's decimals, by who says it; None where the service shows no such
        thing."""
        ...

    async def waiting(self, address: str) -> list[Waiting]:
        """Return the transactions in the mempool that touch an address, and perhaps others."""
        ...

    async def is_waiting(self, tx_id: TxId) -> bool:
        """Tell whether a transaction is in the mempool."""
        ...

    async def inclusion(self, tx_id: TxId) -> Inclusion | None:
        """Return where a transaction was included. Raises `ChainMovedError`."""
        ...

    async def spender(self, spent: OutRef) -> str | None:
        """Return the included transaction that spent an output, if one did."""
        ...

    async def submit(self, raw: bytes) -> str:
        """Send a transaction and return its id. Raises `TxRefusedError`."""
        ...

    async def evaluate(self, raw: bytes) -> dict[str, tuple[int, int]]:
        """Return memory and steps that each redeemer ("spend:0") needs. Raises `TxRefusedError`."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


NOWHERE = BlockRef(BlockHeight(0), "", "", UnixSeconds(0))
"""The block of a transaction whose place does not matter."""
