"""A slice of `make mutation-ethereum`: the list fits the source, and the tests notice a removed check."""

from pathlib import Path

from scripts.mutate_ethereum import is_killed, mutants
from scripts.solidity import CONTRACTS
from tests.unit.ethereum_contract import evm


def test_every_mutant_still_fits_the_source() -> None:
    source = (CONTRACTS / "RainbowHtlc.sol").read_text()
    for mutant in mutants():
        assert mutant.apply(source) != source, mutant.name
    assert len(mutants()) > 100
    assert len({mutant.name for mutant in mutants()}) == len(mutants())


def test_a_removed_check_does_not_go_unnoticed(tmp_path: Path) -> None:
    evm.compiled()
    (double_claim,) = [mutant for mutant in mutants() if mutant.name == "claimNative: not cleared"]
    assert is_killed(double_claim, tmp_path)
