"""Gas never rises unnoticed: what anvil measures against the committed snapshot and the targets."""

import json

from scripts.bench_gas import SNAPSHOT, TARGETS, measure


def test_gas_is_what_the_snapshot_says_and_within_the_targets() -> None:
    snapshot = json.loads(SNAPSHOT.read_text())
    measured = measure()
    assert measured == snapshot, "gas changed: if that is meant, run `make bench-gas ARGS=--update`"
    missed = {name: measured[name] for name, target in TARGETS.items() if measured[name] > target}
    assert not missed
