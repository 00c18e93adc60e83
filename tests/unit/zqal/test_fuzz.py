"""Generated programs: whatever the oracle says, core and machine code must say too.

A few here; `make zqal-fuzz` runs many more (ZQAL_FUZZ programs).
"""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from kernels.zqal import bind, core, oracle
from kernels.zqal.backends import llvm
from kernels.zqal.legalize import legalize
from kernels.zqal.stage import stage
from tests.unit.zqal.generated import Generated, programs
from tests.unit.zqal.programs import function

PROGRAMS = int(os.environ.get("ZQAL_FUZZ", "12"))
LANES = 4


@settings(
    max_examples=PROGRAMS,
    deadline=None,
    derandomize="ZQAL_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(programs())
def test_every_backend_agrees_with_the_oracle(generated: Generated) -> None:
    f = function(generated.text)
    wanted = [oracle.run(f, arguments) for arguments in generated.arguments]
    legal = legalize(stage(f))
    peeled = legalize(stage(f, peel=True))
    for arguments, result in zip(generated.arguments, wanted, strict=True):
        assert bind.call(f, lambda words: core.run(legal, words), arguments) == result
        assert bind.call(f, lambda words: core.run(peeled, words), arguments) == result
    keep, code = llvm.compiled(stage(f))
    for arguments, result in zip(generated.arguments, wanted, strict=True):
        assert bind.call(f, code, arguments) == result
    del keep
    in_lanes(generated, wanted)


def in_lanes(generated: Generated, wanted: list[object]) -> None:
    """Run the sets of arguments side by side, one in each lane."""
    f = function(generated.text)
    keep, code = llvm.compiled(stage(f), lanes=LANES)
    columns = []
    for lane in range(LANES):
        arguments = generated.arguments[lane % len(generated.arguments)]
        words: list[int] = []
        for argument, (slot, _) in zip(arguments, f.parameters, strict=True):
            words += bind.to_words(argument, slot.type)
        columns.append(words)
    out = code([columns[lane][i] for i in range(len(columns[0])) for lane in range(LANES)])
    for lane in range(LANES):
        result = bind.from_words(iter(out[lane::LANES]), f.result)
        assert result == wanted[lane % len(wanted)], lane
    del keep


def test_the_generator_reaches_what_it_is_for(tmp_path: Path) -> None:
    """Guards against a generator that makes only trivial programs."""
    seen: set[str] = set()

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def collect(generated: Generated) -> None:
        for word in ("for ", "if ", "match ", "rotate_", "u256", "STEPS[", " / ", "_be(", "<<", "[u"):
            if word in generated.text.partition("@kernel")[2]:
                seen.add(word)

    collect()
    assert seen == {"for ", "if ", "match ", "rotate_", "u256", "STEPS[", " / ", "_be(", "<<", "[u"}
