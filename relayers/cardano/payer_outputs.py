"""The payer's own outputs, and which of them are promised already.

Nobody but us spends our outputs, but our own transactions may: those that wait in the mempool, as the service
shows them, and those that were signed here and may still be sent, which we remember until they expire.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pycardano import (
    Address,
    DatumHash,
    RawCBOR,
    TransactionId,
    TransactionInput,
    TransactionOutput,
    UTxO,
    Value,
)

from relayers.cardano.building import token
from relayers.cardano.chain_view import ChainView, Output, OutRef
from relayers.cardano.htlc import key_credential


@dataclass(frozen=True)
class Spendable:
    """What may be spent now: outputs in blocks, outputs of transactions that wait, and where change goes."""

    confirmed: tuple[UTxO, ...]
    unconfirmed: tuple[UTxO, ...]
    change: str


class PayerOutputs:
    """One payment key's outputs: those at `address`, or with `any_stake` at every address of its key.

    Wallets keep their money at addresses with a stake part. Change then goes where most of it lies.
    """

    def __init__(self, address: str, *, any_stake: bool = False) -> None:
        self.address = address
        self._place = key_credential(address) if any_stake else address
        self._promised: dict[OutRef, int] = {}

    def promise(self, spends: frozenset[OutRef], until: int) -> None:
        """Keep outputs for a transaction that was signed and can land until `until` (Unix seconds)."""
        for ref in spends:
            self._promised[ref] = until

    async def spendable(self, view: ChainView, now: int) -> Spendable:
        """Return what may be spent at chain time `now` (Unix seconds), as one service shows it."""
        self._promised = {ref: until for ref, until in self._promised.items() if until >= now}
        utxos = await view.utxos(self._place)
        held: dict[str, int] = {self.address: 0}
        for output in utxos:
            held[output.address] = held.get(output.address, 0) + output.lovelace
        waiting = await asyncio.gather(*(view.waiting(address) for address in held))
        taken = set(self._promised)
        made: dict[OutRef, UTxO] = {}
        for tx in (tx for found in waiting for tx in found):
            taken |= set(tx.spends)
            for output in tx.makes:
                if output.address in held and output.inline_datum is None:
                    made[output.ref] = to_utxo(output)
        # What has just been included is no longer unconfirmed.
        for output in utxos:
            made.pop(output.ref, None)
        confirmed = tuple(
            to_utxo(output) for output in utxos if output.ref not in taken and not output.has_script
        )
        unconfirmed = tuple(utxo for ref, utxo in made.items() if ref not in taken)
        return Spendable(confirmed, unconfirmed, max(held, key=lambda address: held[address]))


def to_utxo(output: Output) -> UTxO:
    """Return an output as pycardano takes it."""
    value = Value(output.lovelace)
    for unit, amount in output.tokens.items():
        value += Value(0, token(unit, amount))
    datum = hashed = None
    if output.inline_datum is not None:
        datum = RawCBOR(bytes.fromhex(output.inline_datum))
    elif output.datum_hash is not None:
        hashed = DatumHash(bytes.fromhex(output.datum_hash))
    spent = TransactionInput(TransactionId(bytes.fromhex(output.tx_id)), output.index)
    address = Address.from_primitive(output.address)
    return UTxO(spent, TransactionOutput(address, value, datum=datum, datum_hash=hashed))
