"""What a Blockfrost service answers, as far as it matters here. Fields that are left out have defaults."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.protocol.types import BlockHeight, BlockRef, TxId, UnixSeconds

_NO_PARENT = "0" * 64


class BlockfrostBlock(msgspec.Struct, frozen=True):
    """A block; `slot` and `previous_block` are None only for the chain's first."""

    height: int
    hash: str
    time: int
    slot: int | None
    previous_block: str | None

    @property
    def ref(self) -> BlockRef:
        """The block as the bridge knows it."""
        return BlockRef(
            BlockHeight(self.height), self.hash, self.previous_block or _NO_PARENT, UnixSeconds(self.time)
        )


class Quantity(msgspec.Struct, frozen=True):
    """An amount of "lovelace" or of a native token (policy and name, hex)."""

    unit: str
    quantity: str


class WireOutput(msgspec.Struct, frozen=True):
    """An output, or what an input spends. Fields that an answer leaves out have their defaults."""

    address: str
    amount: list[Quantity]
    output_index: int
    tx_hash: TxId = TxId("")
    data_hash: str | None = None
    inline_datum: str | None = None
    reference_script_hash: str | None = None
    collateral: bool = False
    reference: bool | None = False
    consumed_by_tx: str | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def ref(self) -> tuple[str, int]:
        """What names it."""
        return self.tx_hash, self.output_index

    @property
    def lovelace(self) -> int:
        """How much ada it holds, in lovelace."""
        return sum(int(held.quantity) for held in self.amount if held.unit == "lovelace")

    @property
    def tokens(self) -> dict[str, int]:
        """The native tokens it holds, by unit."""
        return {held.unit: int(held.quantity) for held in self.amount if held.unit != "lovelace"}


class TxOutputs(msgspec.Struct, frozen=True):
    """What a transaction spends and makes."""

    hash: TxId
    inputs: list[WireOutput]
    outputs: list[WireOutput]


class TxPlace(msgspec.Struct, frozen=True):
    """Where a transaction was included, and whether its scripts succeeded."""

    hash: TxId
    block: str
    block_height: int
    index: int
    valid_contract: bool


class TxAt(msgspec.Struct, frozen=True):
    """A transaction that touched an address."""

    tx_hash: TxId
    tx_index: int
    block_height: int


class MempoolInput(msgspec.Struct, frozen=True):
    """An input of a transaction in the mempool."""

    tx_hash: TxId
    output_index: int
    collateral: bool = False
    reference: bool | None = False


class MempoolTx(msgspec.Struct, frozen=True):
    """A transaction in the mempool."""

    inputs: list[MempoolInput]
    outputs: list[WireOutput]


class Genesis(msgspec.Struct, frozen=True):
    """The network's magic number and the Unix time of its start."""

    network_magic: int
    system_start: int


class _Registered(msgspec.Struct, frozen=True):
    decimals: int | None = None


class Token(msgspec.Struct, frozen=True):
    """What is said of a native token: `metadata` by the token registry (CIP-26), `onchain_metadata` by its
    issuer in a datum where the standard is a version of CIP-68 (openapi.yaml, `asset`)."""

    metadata: _Registered | None = None
    onchain_metadata: dict[str, Any] | None = None
    onchain_metadata_standard: str | None = None

    @property
    def decimals(self) -> dict[str, int]:
        """The decimals that are told, by who tells them."""
        found: dict[str, int] = {}
        if self.metadata is not None and self.metadata.decimals is not None:
            found["the token registry"] = self.metadata.decimals
        written = (self.onchain_metadata or {}).get("decimals")
        if (self.onchain_metadata_standard or "").startswith("CIP68") and type(written) is int:
            found["its issuer's datum"] = written
        return found
