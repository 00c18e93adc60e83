"""The node and the specification agree on every block: verdict, reason, place of the fault, and state.

SPECIFICATION_ROUNDS multiplies the numbers (`make specification`). `python -m scripts.mutate_specification`
breaks each rule of the specification in turn and shows that these tests notice.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from chain.rules.errors import Reason
from tests.property.duel import Duel, Verdict, compare_coins, compare_records

ROUNDS = int(os.environ.get("SPECIFICATION_ROUNDS", "1"))
GAMES = 10 * ROUNDS
BLOCKS = 100
RECORDS = 6_000 * ROUNDS
COINS = 3_000 * ROUNDS

OF_RECORDS = {
    Reason.BAD_KIND, Reason.BAD_VERSION, Reason.WRONG_CHAIN, Reason.RESERVED_NOT_ZERO,
    Reason.AMOUNT_OUT_OF_RANGE, Reason.FEE_OUT_OF_RANGE, Reason.FIELD_NOT_ZERO, Reason.ZERO_RECIPIENT,
    Reason.PREIMAGE_TOO_LONG, Reason.BAD_WITNESS, Reason.COINBASE_MISPLACED, Reason.BAD_COINBASE_HEIGHT,
    Reason.FEE_SUM_OVERFLOW,
}  # fmt: skip
OF_BLOCKS = {
    Reason.UNKNOWN_PARENT, Reason.INVALID_ANCESTOR, Reason.KNOWN_INVALID, Reason.BAD_BLOCK_VERSION,
    Reason.BAD_HEIGHT, Reason.BAD_TARGET, Reason.BAD_WORK, Reason.TIME_TOO_OLD, Reason.TIME_TOO_NEW,
    Reason.EMPTY_BLOCK, Reason.TOO_MANY_TRANSACTIONS, Reason.BAD_MERKLE_ROOT, Reason.BAD_WITNESS_COMMITMENT,
    Reason.BAD_COINBASE_AMOUNT, Reason.WRONG_KEY, Reason.BAD_SIGNATURE, Reason.BAD_CONSENT, Reason.BAD_NONCE,
    Reason.INSUFFICIENT_BALANCE, Reason.LOCK_EXISTS, Reason.LOCK_DEADLINE_PASSED, Reason.UNKNOWN_LOCK,
    Reason.LOCK_SPENT, Reason.LOCK_TERMS_MISMATCH, Reason.WRONG_PREIMAGE, Reason.DEADLINE_NOT_REACHED,
}  # fmt: skip
OF_COINS = {Reason.BAD_NONCE, Reason.INSUFFICIENT_BALANCE, Reason.BALANCE_OVERFLOW}


def test_blocks(tmp_path: Path) -> None:
    """Games of a hundred blocks each, forks, replays and every kind of fault among them."""
    reasons: Counter[str] = Counter()
    for seed in range(GAMES):
        duel = Duel(tmp_path / str(seed), seed)
        try:
            duel.play(BLOCKS)
        except AssertionError as error:
            raise AssertionError(f"game {seed}, block {len(duel.offered) + 1}: {error}") from error
        finally:
            duel.close()
        reasons += duel.reasons
    assert reasons.total() >= GAMES * BLOCKS
    assert reasons.keys() >= OF_BLOCKS, f"never seen: {OF_BLOCKS - reasons.keys()}"
    assert reasons["accepted"] > reasons.total() / 4, reasons


def held_against_each_other(compare: Callable[[random.Random], Verdict], count: int) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for seed in range(count):
        try:
            verdict = compare(random.Random(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        reasons["accepted" if verdict is None else verdict[0].value] += 1
    assert reasons["accepted"] > count / 10, reasons
    return reasons


def test_records_by_themselves() -> None:
    """Every field at its limits, every byte changed."""
    reasons = held_against_each_other(compare_records, RECORDS)
    assert reasons.keys() >= OF_RECORDS, f"never seen: {OF_RECORDS - reasons.keys()}"


def test_coins_by_themselves() -> None:
    """Balances near 2⁶⁴, which no real chain reaches."""
    reasons = held_against_each_other(compare_coins, COINS)
    assert reasons.keys() >= OF_COINS, f"never seen: {OF_COINS - reasons.keys()}"
