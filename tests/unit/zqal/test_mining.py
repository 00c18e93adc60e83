"""The compiled kernel's search, against the hand-written one, and its machine code on disk."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kernels import cosmic_harmony
from kernels.cosmic_harmony import MAX_NONCE, MAX_TARGET
from kernels.errors import KernelInputError
from kernels.zqal import object_cache
from kernels.zqal.mining import LANES, Miner
from tests.unit.zqal.programs import ALGORITHM, vectors


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(object_cache, "directory", lambda: tmp_path)
    return tmp_path


def test_vectors_before_and_after_the_code_was_kept(cache: Path) -> None:
    for kept in (False, True):
        miner = Miner(ALGORITHM)
        assert miner.loaded_from_cache is kept
        for header, nonce, work in vectors():
            assert miner.hash(header, nonce) == work
    assert len(list(cache.iterdir())) == 1


def test_the_search_is_the_hand_written_ones(cache: Path) -> None:
    miner = Miner(ALGORITHM)
    chance = random.Random(16)
    for _ in range(60):
        header = chance.randbytes(80)
        start = chance.choice([0, MAX_NONCE, MAX_NONCE - 5, chance.getrandbits(64)])
        count = chance.choice([0, 1, LANES - 1, LANES, LANES + 1, 100, 1000])
        target = chance.choice([0, MAX_TARGET, MAX_TARGET >> 4, MAX_TARGET >> 9, MAX_TARGET >> 20])
        assert miner.scan(header, start, count, target) == cosmic_harmony.scan(header, start, count, target)


def test_leading_bits_that_meet_the_target_are_not_enough(cache: Path) -> None:
    header, nonce, work = vectors()[5]
    miner = Miner(ALGORITHM)
    number = int.from_bytes(work, "big")
    for target in (number, number - 1):
        for start in (nonce, nonce - 1, nonce - LANES + 1):
            args = (header, start, 3 * LANES, target)
            assert miner.scan(*args) == cosmic_harmony.scan(*args)


def test_damaged_and_wrong_code_is_not_run(cache: Path) -> None:
    Miner(ALGORITHM)
    (kept,) = cache.iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[:-20] + bytes(20))
    assert not Miner(ALGORITHM).loaded_from_cache
    assert object_cache.read(kept.name) is not None


def test_a_directory_of_somebody_else_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert object_cache.directory() == tmp_path / "rainbow-bridge" / "zqal"
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert object_cache.directory() is None
    assert object_cache.read("0" * 32) is None


def test_a_change_of_the_source_makes_another_key(tmp_path: Path) -> None:
    copy = tmp_path / "copy.zqal"
    copy.write_text(ALGORITHM.read_text())
    before = object_cache.key_of([copy], ["mine"])
    copy.write_text(ALGORITHM.read_text().replace("1000000.0", "1000001.0"))
    assert object_cache.key_of([copy], ["mine"]) != before
    assert object_cache.key_of([copy], ["other"]) != object_cache.key_of([copy], ["mine"])


def test_another_function_is_refused(cache: Path) -> None:
    with pytest.raises(KernelInputError, match="not a mining kernel"):
        Miner(ALGORITHM, "validate")
