"""Compiles Numba kernels when they are first called and keeps the machine code on disk.

Numba's own cache notices a change of the file that a function stands in, but not of functions it calls or
constants it uses from other files: a stale block check is a consensus fault. So the cache directory is named
after a hash of everything that is compiled in: all kernel sources, all sources beside the function and
beside what it calls, every value it uses from outside (`kernels.baked_in`), the versions of Numba, llvmlite,
NumPy and Python, and the processor. A change anywhere starts an empty one (docs/decisions/0011). A lock per
kernel lets the first of several starting processes compile and the others load.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding
from numba.core import config as numba_config

from kernels.baked_in import baked_in, describe
from kernels.errors import KernelError

try:
    import fcntl
except ImportError:  # Windows: no lock, so two processes may compile the same kernel at worst
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
_config_lock = threading.Lock()

building_block = numba.njit(no_cfunc_wrapper=True)
"""Decorates what compiled code calls; it can be called from Python too, and is compiled with its callers."""

UNUSED_CACHE_SECONDS = 30 * 24 * 3600
"""Directories unused for this long are removed when a new one is made."""


def source_key(sources: Iterable[Path], values: Iterable[str] = ()) -> str:
    """Return 16 hex digits that change with any source, value, compiler version or the processor."""
    digest = hashlib.sha256()
    environment = (
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        platform.python_implementation(),
        platform.python_version(),
        platform.machine(),
        numba_config.CPU_NAME or binding.get_host_cpu_name(),
    )
    for part in environment:
        digest.update(part.encode() + b"\0")
    for source in sorted(set(sources)):
        content = source.read_bytes()
        digest.update(f"{source.name}\0{len(content)}\0".encode() + content)
    for value in sorted(values):
        digest.update(f"{len(value)}\0{value}".encode())
    return digest.hexdigest()[:16]


def kernel_sources() -> tuple[Path, ...]:
    """Return every Python file of this package: whatever compiled code may call stands in one of them."""
    return tuple(sorted(Path(__file__).parent.glob("*.py")))


def cache_root() -> Path:
    """Return where machine code is kept: NUMBA_CACHE_DIR when set, else the user's cache directory."""
    if numba_config.CACHE_DIR:
        return Path(numba_config.CACHE_DIR)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "rainbow-bridge" / "kernels"
    return Path.home() / ".cache" / "rainbow-bridge" / "kernels"


def key_of(function: Callable[..., Any]) -> str:
    """Return the key of a function's machine code: it changes with whatever the function compiles in.

    Counted are the sources of `kernels`, those in the folder of the function and of each function it calls,
    and the values of all globals and closures on the way. Raises KernelError for a value without a stable
    description.
    """
    values, files = baked_in(function)
    beside = (source for file in files for source in file.parent.glob("*.py"))
    texts = (f"{used.owner} {used.name} {describe(used.value)}" for used in values)
    return source_key((*kernel_sources(), *beside), texts)


@functools.cache
def cache_directory(key: str) -> Path | None:
    """Return (and make) the cache directory of a key, or None where nothing trustworthy can be written.

    The files are pickles, so a directory that another user owns is not used.
    """
    try:
        root = cache_root()
        directory = root / key
        new = not directory.is_dir()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and directory.stat().st_uid != os.getuid():
            raise PermissionError(f"{directory} belongs to another user")
        os.utime(directory)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
        log.warning(
            "there is no cache directory (%s), so every process compiles its kernels again: "
            "set XDG_CACHE_HOME to one you own",
            error,
        )
        return None
    if new:
        _remove_unused(root, keep=directory)
    return directory


def _remove_unused(root: Path, keep: Path) -> None:
    oldest = time.time() - UNUSED_CACHE_SECONDS
    for entry in root.iterdir():
        is_ours = len(entry.name) == len(keep.name) and not entry.name.strip("0123456789abcdef")
        if is_ours and entry != keep:
            with contextlib.suppress(OSError):
                if entry.stat().st_mtime < oldest:
                    shutil.rmtree(entry, ignore_errors=True)


@contextlib.contextmanager
def _process_lock(directory: Path | None, name: str) -> Iterator[None]:
    """Hold a file lock (freed when the process dies); a file system without locks goes without."""
    if directory is None or fcntl is None:
        yield
        return
    with (directory / f"{name}.lock").open("wb") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _numba_cache_in(directory: Path) -> Iterator[None]:
    """Point Numba's cache to a directory for the functions that are decorated meanwhile."""
    with _config_lock:
        before = numba_config.CACHE_DIR
        numba_config.CACHE_DIR = str(directory)
        try:
            yield
        finally:
            numba_config.CACHE_DIR = before


class Kernel:
    """A compiled entry point with exactly one signature; see `kernel`."""

    def __init__(
        self,
        function: Callable[..., Any],
        signature: Any,
        *,
        nogil: bool,
        self_test: Callable[[Any], bool] | None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        """The Python function that is compiled."""
        self._signature = signature
        self._nogil = nogil
        self._self_test = self_test
        self._lock = threading.Lock()
        self._call: Callable[..., Any] = self._first_call
        self.loaded_from_cache: bool | None = None
        """Whether the machine code came from disk; None before the first call."""

    @property
    def key(self) -> str:
        """The key of the machine code that would be compiled now; see `key_of`."""
        return key_of(self.function)

    def __call__(self, *args: Any) -> Any:
        """Call the kernel; arguments of another type raise TypeError, nothing is compiled a second time."""
        return self._call(*args)

    def prepare(self) -> None:
        """Compile the kernel, or load it from the cache, without calling it."""
        with self._lock:
            if self.loaded_from_cache is None:
                self._call = self._compiled()

    def _first_call(self, *args: Any) -> Any:
        self.prepare()
        return self._call(*args)

    def _compiled(self) -> Any:
        if numba_config.DISABLE_JIT:
            raise KernelError(
                "Numba is switched off", hint="unset NUMBA_DISABLE_JIT: the kernels need the compiler"
            )
        directory = cache_directory(self.key)
        name = f"{Path(self.function.__code__.co_filename).stem}.{self.function.__name__}"
        with _process_lock(directory, name):
            try:
                dispatcher = self._compile(directory)
            except Exception:
                # Cut off by a power loss or damaged by the disk; a fault of the source shows again below.
                if directory is None:
                    raise
                log.warning("compiling %s again: its cache in %s cannot be read", name, directory)
                for file in directory.glob(f"*/{name}-*"):
                    file.unlink(missing_ok=True)
                dispatcher = self._compile(directory)
        if self._self_test is not None and not self._self_test(dispatcher):
            raise KernelError(
                f"{name} gives wrong results on this machine",
                hint=f"remove {directory} and try again; if it stays, report it with your processor's name, "
                f"numba {numba.__version__} and llvmlite {llvmlite.__version__}",
            )
        self.loaded_from_cache = any(dispatcher.stats.cache_hits.values())
        return dispatcher

    def _compile(self, directory: Path | None) -> Any:
        if directory is None:
            dispatcher = numba.njit(nogil=self._nogil)(self.function)
        else:
            with _numba_cache_in(directory):
                dispatcher = numba.njit(nogil=self._nogil, cache=True)(self.function)
        dispatcher.compile(self._signature)
        dispatcher.disable_compile()
        return dispatcher


def kernel(
    signature: Any,
    *,
    nogil: bool = True,
    self_test: Callable[[Any], bool] | None = None,
) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorate an entry point that Numba compiles on its first call, with one signature, cached on disk.

    `signature` is a Numba signature. `nogil` lets other threads run meanwhile. The cache follows
    every function and constant that gets compiled in, wherever it stands (`key_of`). `self_test` gets the
    compiled function once, after it was compiled or loaded, and returns whether its results are right
    (KernelError otherwise).
    """

    def decorate(function: Callable[..., Any]) -> Kernel:
        return Kernel(function, signature, nogil=nogil, self_test=self_test)

    return decorate
