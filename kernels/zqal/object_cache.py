"""Machine code kept in the user's cache directory, under a key of everything that it was made of.

As docs/decisions/0011 has it for the kernels of Numba: a change of a source, of the compiler, of LLVM or of
the processor makes another key. A directory that somebody else owns is not used, since what lies there is
run.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)


def key_of(sources: Iterable[Path], values: Iterable[str]) -> str:
    """Return a key of some sources, this compiler's own among them, and some values."""
    digest = hashlib.sha256()
    own = Path(__file__).parent
    for path in [
        *sorted(sources),
        *sorted(own.rglob("*.py")),
        *sorted(own.rglob("*.zqal")),
        own / "grammar.lark",
    ]:
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    for value in values:
        digest.update(f"{len(value)}\0{value}".encode())
    return digest.hexdigest()[:32]


def directory() -> Path | None:
    """Return (and make) the directory, or None where nothing trustworthy can be kept."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "rainbow-bridge" / "zqal"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
        log.warning("machine code is not kept (%s): set XDG_CACHE_HOME to a directory you own", error)
        return None
    return folder


def read(key: str) -> bytes | None:
    """Return what is kept under a key, or None; a file that was damaged counts as absent."""
    folder = directory()
    if folder is None:
        return None
    try:
        kept = (folder / key).read_bytes()
    except OSError:
        return None
    return kept[32:] if hashlib.sha256(kept[32:]).digest() == kept[:32] else None


def write(key: str, content: bytes) -> None:
    """Keep something under a key; where that fails, the next process compiles again."""
    folder = directory()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(name).replace(folder / key)
