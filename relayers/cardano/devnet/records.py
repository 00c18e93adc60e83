"""Transactions, blocks and outputs of the devnet's chain, as its history keeps them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from pycardano import RawCBOR, TransactionOutput, script_hash

from relayers.cardano.devnet.raw_body import NativeScript, OutRef, RawBody, Redeemer, read_body


@dataclass(frozen=True)
class TxRecord:
    """One transaction with all that it spends and makes.

    `spends` and `makes` are what really happens: of one whose script failed (`valid` false) the collateral
    and its change, else the ordinary inputs and outputs.
    """

    id: str
    raw: bytes
    body: RawBody

    @property
    def redeemers(self) -> tuple[Redeemer, ...]:
        """Its redeemers."""
        return self.body.redeemers

    @property
    def valid(self) -> bool:
        """False when a script failed and the collateral was taken."""
        return self.body.valid

    @property
    def inputs(self) -> list[OutRef]:
        """The ordinary inputs, sorted as redeemers count them."""
        return sorted(self.body.inputs)

    @property
    def collateral(self) -> list[OutRef]:
        """The inputs at stake if a script fails."""
        return list(self.body.collateral)

    @property
    def references(self) -> list[OutRef]:
        """The inputs that are only looked at."""
        return list(self.body.reference_inputs)

    @property
    def spends(self) -> list[OutRef]:
        """The outputs that are gone after this transaction."""
        return self.inputs if self.valid else self.collateral

    @property
    def makes(self) -> dict[OutRef, TransactionOutput]:
        """The outputs that exist after this transaction."""
        body = self.body
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


def read_tx(raw: bytes, tx_id: str) -> TxRecord:
    """Decode a transaction that the ledger has accepted under `tx_id`."""
    return TxRecord(tx_id, raw, read_body(raw))


def datum_of(output: TransactionOutput) -> bytes | None:
    """Return an output's inline datum (CBOR) as it stands in its transaction."""
    datum = output.datum
    if datum is None:
        return None
    return datum.cbor if isinstance(datum, RawCBOR) else _cbor(datum)


def datum_hash_of(output: TransactionOutput) -> str | None:
    """Return the hash of an output's datum, inline or not."""
    if output.datum_hash is not None:
        return str(output.datum_hash.payload.hex())
    datum = datum_of(output)
    return None if datum is None else hashlib.blake2b(datum, digest_size=32).hexdigest()


def script_hash_of(script: object) -> str:
    """Return the hash of an output's script: BLAKE2b-224 over the language's number and the script."""
    if isinstance(script, NativeScript):
        return hashlib.blake2b(b"\x00" + script, digest_size=28).hexdigest()
    return str(script_hash(script))


def _cbor(data: object) -> bytes:
    encoded: bytes = data.to_cbor()  # type: ignore[attr-defined]
    return encoded
