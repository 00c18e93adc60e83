"""An append-only journal of accepted swaps, beside the database and not part of its backups.

One line of JSON per swap, on disk before the swap is acknowledged. Each line holds the hash of the line
before it: one that was changed, or taken out of the middle, shows. What stands in it is signed, holds no
secret, and is enough to make the swap again. Several processes may write to one file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bridge.store import StoreUnavailableError
from kernels.errors import RainbowError

FIRST = "0" * 64
"""What the first line has in place of a hash of the line before."""

_TAIL_BYTES = 65_536
"""The most that one line can take: bodies of requests are smaller."""


class JournalError(RainbowError):
    """The journal cannot be read or written. `hint` says what to do."""

    exit_code = 3


class JournalEntry(msgspec.Struct, frozen=True):
    """An accepted swap: `body` is the text that the bridge signed. `before` is the hash of the line
    before."""

    swap_id: str
    body: str
    signature: str
    client: str
    at_ms: int
    before: str = FIRST


class JournalReport(msgspec.Struct, frozen=True):
    """What a journal holds. `damage`: what is wrong with it, by line number; what can be read is read."""

    entries: tuple[JournalEntry, ...]
    damage: tuple[str, ...]


_decoder = msgspec.json.Decoder(JournalEntry)


class Journal:
    """A file of accepted swaps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: JournalEntry) -> None:
        """Add an entry durably: when this returns, a power cut does not lose it.

        What a crash left unfinished at the end is removed: it was never acknowledged. Raises
        `StoreUnavailableError`.
        """
        try:
            with self._opened() as file:
                end, last = _last_line(file)
                chained = msgspec.structs.replace(entry, before=_digest(last) if last else FIRST)
                line = msgspec.json.encode(chained) + b"\n"
                os.ftruncate(file, end)
                written = os.pwrite(file, line, end)
                if written != len(line):
                    os.ftruncate(file, end)
                    raise OSError("the disk is full")
                os.fsync(file)
        except OSError as error:
            raise StoreUnavailableError(
                f"the journal {self.path} cannot be written: {error.strerror or error}",
                "check the disk's free space and the file's owner",
            ) from error

    def read(self) -> JournalReport:
        """Return all entries that can be read, oldest first, and what is wrong with the file. Raises
        `JournalError`."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return JournalReport((), ())
        except OSError as error:
            raise JournalError(
                f"the journal {self.path} cannot be read: {error.strerror}", "check the file's owner and mode"
            ) from error
        *lines, unfinished = content.split(b"\n")
        entries: list[JournalEntry] = []
        damage: list[str] = []
        before = FIRST
        for number, line in enumerate(lines, start=1):
            try:
                entry = _decoder.decode(line)
            except msgspec.DecodeError:
                damage.append(f"line {number} cannot be read")
            else:
                if entry.before != before:
                    damage.append(f"line {number} does not follow the line before it")
                entries.append(entry)
            before = _digest(line)
        if unfinished:
            # The end of a write that a crash cut off: the swap was never acknowledged.
            damage += [] if len(unfinished) < _TAIL_BYTES else ["the last line has no end"]
        return JournalReport(tuple(entries), tuple(damage))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        is_new = not self.path.exists()
        if is_new:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if is_new:
                _sync_directory(self.path.parent)
            yield file
        finally:
            os.close(file)


def _last_line(file: int) -> tuple[int, bytes]:
    """Return where the last whole line ends, and that line without its end (b"" in an empty file)."""
    size = os.fstat(file).st_size
    start = max(0, size - 2 * _TAIL_BYTES)
    tail = os.pread(file, size - start, start)
    cut = tail.rfind(b"\n")
    if cut < 0:
        if start:
            raise OSError("its last line has no end: move the file away and start a new one")
        return 0, b""
    return start + cut + 1, tail[:cut].rpartition(b"\n")[2]


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
