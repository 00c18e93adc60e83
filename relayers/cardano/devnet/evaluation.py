"""What a transaction's scripts would cost on the chain as it stands, mempool included."""

from __future__ import annotations

from pycardano import TransactionId, TransactionInput

from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.ledger import ScalusLedger
from relayers.cardano.devnet.raw_body import OutRef, read_body


def evaluate(chain: DevChain, ledger: ScalusLedger, raw: bytes) -> dict[str, dict[str, int]]:
    """Return memory and steps of each redeemer ("spend:0" …). Raises `TxRejectedError`."""
    body = read_body(raw)
    known = dict(chain.utxos)
    for waiting in chain.mempool.values():
        known |= waiting.makes
    needed = (*body.inputs, *body.reference_inputs, *body.collateral)
    utxos = {ref: (_input(ref), known[ref]) for ref in needed if ref in known}
    return ledger.evaluate(raw, list(utxos.values()))


def _input(ref: OutRef) -> TransactionInput:
    return TransactionInput(TransactionId(bytes.fromhex(ref[0])), ref[1])
