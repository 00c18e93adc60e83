"""What sets one chain apart from another, in one struct: for the engine, quotes and conformance tests."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bridge.protocol.types import Address, Amount, Asset, ChainId, TxId


class Authorization(StrEnum):
    """Whether a claim for a recipient needs or may carry the recipient's own signature."""

    NONE = "none"
    """Anybody may claim for a recipient, and nothing can be taken out of the amount."""
    OPTIONAL = "optional"
    """The signature lets the relayer keep a fee out of the amount."""
    REQUIRED = "required"
    """Nobody can claim for a recipient without it."""


class ExplorerLinks(msgspec.Struct, frozen=True):
    """Where people look things up: URLs with `{}` in place of the id, "" where there is none."""

    transaction: str = ""
    address: str = ""
    block: str = ""

    def of_transaction(self, tx_id: TxId) -> str:
        """Return the page of a transaction, "" where there is none."""
        return self.transaction.replace("{}", tx_id)

    def of_address(self, address: Address) -> str:
        """Return the page of an address, "" where there is none."""
        return self.address.replace("{}", address)

    def of_block(self, block_id: str) -> str:
        """Return the page of a block, "" where there is none."""
        return self.block.replace("{}", block_id)


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What the bridge must know of a chain beyond its port's methods. Amounts in smallest units.

    `max_amount` is the most that one lock can hold, `max_claims` how many claims of one recipient share a
    transaction (1: the chain makes no batches), `max_lanes` how many storage places a sender's locks can use
    again (0: none), `max_preimage` the longest preimage in bytes that a claim on this chain can show.
    """

    native_symbol: str
    native_decimals: int
    max_amount: Amount
    max_claims: int = 1
    max_lanes: int = 0
    needs_consent: bool = False
    """An account must agree to an issued asset before it can be paid in it."""
    authorization: Authorization = Authorization.NONE
    locks_prove_sender: bool = True
    """Only the key of its sender can have made a lock; False: anybody can name any sender in one."""
    carries_anchors: bool = False
    """Its transactions can carry the root of the transparency log."""
    split_funding: int = 1
    """In how many parts an account is funded: more where each waiting transaction holds an output."""
    explorer: ExplorerLinks = ExplorerLinks()

    def native(self, chain: ChainId) -> Asset:
        """Return the native coin of an instance."""
        return Asset(chain, self.native_symbol, self.native_decimals)
