"""Size, execution units and fees of the Cardano HTLC on the local ledger, into build/bench/cardano.json."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pycardano import UTxO

from relayers.cardano.building import Draft
from relayers.cardano.script import (
    ClaimRedeemer,
    GiveBackRedeemer,
    HtlcRedeemer,
    RefundRedeemer,
    validator,
)
from tests.unit.cardano.world import ALICE, BOB, CAROL, PREIMAGE, CardanoWorld, Person, signed

ROOT = Path(__file__).resolve().parent.parent
CLAIM = ClaimRedeemer(PREIMAGE)
BATCHES = (2, 4, 8, 16)


def measure(world: CardanoWorld) -> dict[str, Any]:
    """Return script bytes, and for each way of spending: how many locks, memory, steps, transaction bytes,
    fee and fee per lock (lovelace)."""
    terms = world.terms()
    locks = world.lock(terms, *(world.terms(10_000_000 + i) for i in range(1, max(BATCHES))))
    lock = locks[0]
    world.go_to(terms.deadline)
    start = world.slot_at(terms.deadline)

    def cost(draft: Draft, *signers: Any) -> dict[str, int]:
        tx = signed(draft, *signers)
        known = dict(world.chain.utxos)
        needed = [*tx.transaction_body.inputs, *(tx.transaction_body.reference_inputs or [])]
        utxos = [(one, known[(one.transaction_id.payload.hex(), one.index)]) for one in needed]
        spent = world.ledger.evaluate(tx.to_cbor(), utxos).values()
        return {
            "locks": draft.locks,
            "memory": sum(one["memory"] for one in spent),
            "steps": sum(one["steps"] for one in spent),
            "bytes": len(tx.to_cbor()),
            "fee": draft.fee,
            "fee_per_lock": -(-draft.fee // draft.locks),
        }

    def spend(
        locks: list[UTxO], redeemer: HtlcRedeemer, owner: Person, payer: Person, **more: Any
    ) -> dict[str, int]:
        """Build it, evaluate it, and build it again with just the budget it needs, as the adapter does."""
        first = cost(world.spend(locks, redeemer, owner, payer, **more), payer)
        budget = (first["memory"] * 11 // 10 // len(locks), first["steps"] * 11 // 10 // len(locks))
        return cost(world.spend(locks, redeemer, owner, payer, budget=budget, **more), payer)

    refund = RefundRedeemer()
    return {
        "script_bytes": len(bytes(validator())),
        "claim, signed": spend([lock], CLAIM, BOB, BOB),
        "claim, by anyone": spend([lock], CLAIM, BOB, CAROL),
        **{f"{n} claims, signed": spend(locks[:n], CLAIM, BOB, BOB) for n in BATCHES},
        "8 claims, by anyone": spend(locks[:8], CLAIM, BOB, CAROL),
        "refund, signed": spend([lock], refund, ALICE, ALICE, start=start),
        "refund, by anyone": spend([lock], refund, ALICE, CAROL, start=start),
        "give back": spend([lock], GiveBackRedeemer(), ALICE, BOB, signers=[BOB]),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = CardanoWorld(Path(directory))
        result = measure(world)
        world.stop()
    path = ROOT / "build" / "bench" / "cardano.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
