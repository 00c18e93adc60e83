from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from numba.core import config as numba_config

from kernels import compile_cache
from kernels.compile_cache import Kernel, cache_directory, kernel, kernel_sources, source_key
from kernels.errors import KernelError

HELPER = "from numba import njit\n@njit\ndef step(x):\n    return x + {}\n"
ENTRY = """
import sys
from numba import types
from kernels.compile_cache import kernel
import helper
@kernel(types.int64(types.int64))
def entry(x):
    return helper.step(x)
print(entry(10), entry.loaded_from_cache)
"""


def add_one(x: int) -> int:
    return x + 1


def new_kernel(**options: Any) -> Kernel:
    return kernel(types.int64(types.int64), **options)(add_one)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of its own."""
    root = tmp_path / "cache"
    monkeypatch.setattr(numba_config, "CACHE_DIR", str(root))
    cache_directory.cache_clear()
    yield root
    cache_directory.cache_clear()


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(Path(compile_cache.__file__).parents[1])])
    return subprocess.Popen(
        [sys.executable, str(folder / "entry.py")], env=environment, stdout=subprocess.PIPE, text=True
    )


def output(process: subprocess.Popen[str]) -> list[str]:
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return text.split()


def test_a_changed_function_in_another_file_is_compiled_anew(tmp_path: Path) -> None:
    """What Numba's own cache gets wrong: a stale callee would be a consensus fault."""
    (tmp_path / "entry.py").write_text(ENTRY)
    (tmp_path / "helper.py").write_text(HELPER.format(1))
    assert output(start(tmp_path)) == ["11", "False"]
    assert output(start(tmp_path)) == ["11", "True"]
    (tmp_path / "helper.py").write_text(HELPER.format(2))
    assert output(start(tmp_path)) == ["12", "False"]


def test_of_processes_that_start_together_one_compiles_and_the_others_load(tmp_path: Path) -> None:
    (tmp_path / "entry.py").write_text(ENTRY)
    (tmp_path / "helper.py").write_text(HELPER.format(1))
    results = [output(process) for process in [start(tmp_path) for _ in range(3)]]
    assert sorted(results) == [["11", "False"], ["11", "True"], ["11", "True"]]


def test_the_key_changes_with_the_content_and_the_name_of_every_source(tmp_path: Path) -> None:
    source, other = tmp_path / "a.py", tmp_path / "b.py"
    source.write_text("x = 1")
    other.write_text("y = 1")
    key = source_key([source, other])
    assert source_key([other, source]) == key
    source.write_text("x = 2")
    changed = source_key([source, other])
    assert changed != key
    assert source_key([source.rename(tmp_path / "c.py"), other]) != changed


def test_the_key_changes_with_the_processor_and_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    key = source_key([])
    monkeypatch.setattr(numba_config, "CPU_NAME", "another")
    other_processor = source_key([])
    monkeypatch.setattr(numba, "__version__", "0.0")
    assert len({key, other_processor, source_key([])}) == 3


def test_every_module_of_compiled_code_counts_as_a_source() -> None:
    names = {source.name for source in kernel_sources()}
    assert {"keccak.py", "golden_mix.py", "vector_ir.py", "numba_pow.py", "numba_merkle.py"} <= names


def test_the_directory_is_private_and_named_after_the_key(cache: Path) -> None:
    directory = cache_directory(source_key(kernel_sources()))
    assert directory == cache / source_key(kernel_sources())
    assert directory.stat().st_mode & 0o077 == 0


def test_a_damaged_cache_is_compiled_over(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = new_kernel()
    assert (first(1), first.loaded_from_cache) == (2, False)
    files = [file for file in cache.glob("*/*/*") if file.suffix in {".nbi", ".nbc"}]
    assert len(files) == 2
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        with caplog.at_level(logging.WARNING):
            again = new_kernel()
            assert (again(1), again.loaded_from_cache) == (2, False)
        assert "cannot be read" in caplog.text
        caplog.clear()
        assert new_kernel()(1) == 2
        assert not caplog.text


def test_without_a_writable_directory_kernels_still_run(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the directory should be")
    with caplog.at_level(logging.WARNING):
        compiled = new_kernel()
        assert (compiled(1), compiled.loaded_from_cache) == (2, False)
    assert "set XDG_CACHE_HOME" in caplog.text


def test_a_directory_of_another_user_is_not_trusted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert cache_directory(source_key([])) is None


def test_caches_unused_for_a_month_are_removed(cache: Path) -> None:
    long_ago = time.time() - 40 * 24 * 3600
    for name in ("0123456789abcdef", "fedcba9876543210", "not-one-of-ours"):
        (cache / name).mkdir(parents=True)
        if name != "fedcba9876543210":
            os.utime(cache / name, (long_ago, long_ago))
    directory = cache_directory(source_key([]))
    assert directory is not None
    assert {entry.name for entry in cache.iterdir()} == {
        directory.name,
        "fedcba9876543210",
        "not-one-of-ours",
    }


def test_the_cache_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(numba_config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compile_cache.cache_root() == tmp_path / "rainbow-bridge" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compile_cache.cache_root() == tmp_path / ".cache" / "rainbow-bridge" / "kernels"


def test_arguments_of_another_type_are_refused_and_not_compiled_for(cache: Path) -> None:
    compiled = new_kernel()
    compiled(1)
    with pytest.raises(TypeError):
        compiled(np.zeros(3))


def test_a_kernel_with_wrong_results_is_not_used(cache: Path) -> None:
    compiled = new_kernel(self_test=lambda function: function(1) == 3)
    with pytest.raises(KernelError, match="gives wrong results on this machine"):
        compiled(1)
    with pytest.raises(KernelError):
        compiled(1)


def test_with_the_compiler_switched_off_the_error_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba_config, "DISABLE_JIT", 1)
    with pytest.raises(KernelError, match="unset NUMBA_DISABLE_JIT"):
        new_kernel()(1)
