"""Size, execution units and fees of the Cardano HTLC on the local ledger, into build/bench/cardano.json."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relayers.cardano.building import Draft
from relayers.cardano.script import ClaimRedeemer, GiveBackRedeemer, RefundRedeemer, validator
from tests.unit.cardano.world import ALICE, BOB, CAROL, PREIMAGE, World, signed

ROOT = Path(__file__).resolve().parent.parent
CLAIM = ClaimRedeemer(PREIMAGE)


def measure(world: World) -> dict[str, Any]:
    """Return script bytes, and for each way of spending: memory, steps, transaction bytes, fee (lovelace)."""
    terms = world.terms()
    (lock,) = world.lock(terms)
    four = world.lock(*(world.terms(10_000_000 + i) for i in range(4)))
    world.go_to(terms.deadline)
    start = world.slot_at(terms.deadline)

    def cost(draft: Draft, *signers: Any) -> dict[str, int]:
        tx = signed(draft, *signers)
        known = dict(world.chain.utxos)
        needed = [*tx.transaction_body.inputs, *(tx.transaction_body.reference_inputs or [])]
        utxos = [(one, known[(one.transaction_id.payload.hex(), one.index)]) for one in needed]
        spent = world.ledger.evaluate(tx.to_cbor(), utxos).values()
        return {
            "memory": sum(one["memory"] for one in spent),
            "steps": sum(one["steps"] for one in spent),
            "bytes": len(tx.to_cbor()),
            "fee": draft.fee,
        }

    refund = RefundRedeemer()
    return {
        "script_bytes": len(bytes(validator())),
        "claim, signed": cost(world.spend([lock], CLAIM, BOB, BOB), BOB),
        "claim, by anyone": cost(world.spend([lock], CLAIM, BOB, CAROL), CAROL),
        "claim of four, by anyone": cost(world.spend(four, CLAIM, BOB, CAROL), CAROL),
        "refund, signed": cost(world.spend([lock], refund, ALICE, ALICE, start=start), ALICE),
        "refund, by anyone": cost(world.spend([lock], refund, ALICE, CAROL, start=start), CAROL),
        "give back": cost(world.spend([lock], GiveBackRedeemer(), ALICE, BOB, signers=[BOB]), BOB),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        result = measure(world)
        world.stop()
    path = ROOT / "build" / "bench" / "cardano.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
