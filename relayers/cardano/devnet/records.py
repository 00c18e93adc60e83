"""Transactions, blocks and outputs of the devnet's chain, as its history keeps them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from pycardano import Transaction, TransactionInput, TransactionOutput

OutRef = tuple[str, int]
"""Transaction id (hex) and index of an output."""


def ref_of(spent: TransactionInput) -> OutRef:
    """Return an input as id and index."""
    return spent.transaction_id.payload.hex(), spent.index


@dataclass(frozen=True)
class Redeemer:
    """One redeemer: tag, index among the sorted inputs (or policies …), data (CBOR) and its budget."""

    tag: str
    index: int
    data: bytes
    memory: int
    steps: int


@dataclass(frozen=True)
class TxRecord:
    """One transaction with all that it spends and makes.

    `spends` and `makes` are what really happens: of one whose script failed (`valid` false) the collateral
    and its change, else the ordinary inputs and outputs.
    """

    id: str
    raw: bytes
    tx: Transaction
    redeemers: tuple[Redeemer, ...]

    @property
    def valid(self) -> bool:
        """False when a script failed and the collateral was taken."""
        return bool(self.tx.valid)

    @property
    def inputs(self) -> list[OutRef]:
        """The ordinary inputs, sorted as redeemers count them."""
        return sorted(ref_of(spent) for spent in self.tx.transaction_body.inputs)

    @property
    def collateral(self) -> list[OutRef]:
        """The inputs at stake if a script fails."""
        return [ref_of(spent) for spent in self.tx.transaction_body.collateral or []]

    @property
    def references(self) -> list[OutRef]:
        """The inputs that are only looked at."""
        return [ref_of(spent) for spent in self.tx.transaction_body.reference_inputs or []]

    @property
    def spends(self) -> list[OutRef]:
        """The outputs that are gone after this transaction."""
        return self.inputs if self.valid else self.collateral

    @property
    def makes(self) -> dict[OutRef, TransactionOutput]:
        """The outputs that exist after this transaction."""
        body = self.tx.transaction_body
        if self.valid:
            return {(self.id, index): output for index, output in enumerate(body.outputs)}
        if body.collateral_return is None:
            return {}
        return {(self.id, len(body.outputs)): body.collateral_return}


@dataclass
class DevBlock:
    """One block; `slot` counts seconds from genesis."""

    height: int
    slot: int
    parent: str
    txs: list[TxRecord] = field(default_factory=list)
    salt: int = 0
    """Tells apart blocks of two branches with otherwise the same content."""

    @property
    def id(self) -> str:
        """BLAKE2b-256 over the content, as a real header's hash would be."""
        body = f"{self.height} {self.slot} {self.parent} {self.salt} {' '.join(tx.id for tx in self.txs)}"
        return hashlib.blake2b(body.encode(), digest_size=32).hexdigest()


_TAGS = ("spend", "mint", "cert", "reward", "vote", "propose")


def read_tx(raw: bytes, tx_id: str) -> TxRecord:
    """Decode a transaction that the ledger has accepted under `tx_id`."""
    tx = Transaction.from_cbor(raw)
    found = tx.transaction_witness_set.redeemer
    redeemers: list[Redeemer] = []
    if found is not None and hasattr(found, "items"):
        for key, value in found.items():
            units = value.ex_units
            data = _cbor(value.data)
            redeemers.append(Redeemer(_TAGS[key.tag.value], key.index, data, units.mem, units.steps))
    else:
        for redeemer in found or ():
            units = redeemer.ex_units
            redeemers.append(
                Redeemer(
                    _TAGS[redeemer.tag.value], redeemer.index, _cbor(redeemer.data), units.mem, units.steps
                )
            )
    redeemers.sort(key=lambda redeemer: (redeemer.tag, redeemer.index))
    return TxRecord(tx_id, raw, tx, tuple(redeemers))


def _cbor(data: object) -> bytes:
    encoded: bytes = data.to_cbor()  # type: ignore[attr-defined]
    return encoded
