"""What a transaction's scripts would cost on the chain as it stands, mempool included."""

from __future__ import annotations

from pycardano import Transaction

from relayers.cardano.devnet.chain import DevChain
from relayers.cardano.devnet.ledger import ScalusLedger
from relayers.cardano.devnet.records import ref_of


def evaluate(chain: DevChain, ledger: ScalusLedger, raw: bytes) -> dict[str, dict[str, int]]:
    """Return memory and steps of each redeemer ("spend:0" …). Raises `TxRejectedError`."""
    body = Transaction.from_cbor(raw).transaction_body
    known = dict(chain.utxos)
    for waiting in chain.mempool.values():
        known |= waiting.makes
    needed = [*body.inputs, *(body.reference_inputs or []), *(body.collateral or [])]
    utxos = {ref_of(spent): (spent, known[ref_of(spent)]) for spent in needed if ref_of(spent) in known}
    return ledger.evaluate(raw, list(utxos.values()))
