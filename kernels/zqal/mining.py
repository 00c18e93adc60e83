"""A mining kernel in ZQAL, compiled for this processor, with the contract of docs/decisions/0012.

The machine code is kept on disk. Code from there has to give the known answer that the oracle gave when it
was compiled; the parser and the checker are imported only when nothing is kept.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from kernels.cosmic_harmony import (
    MAX_NONCE,
    BytesLike,
    ScanResult,
    check_count,
    check_header_and_nonce,
    target_bytes,
)
from kernels.errors import KernelError
from kernels.known_answers import KNOWN_HEADER, KNOWN_NONCE
from kernels.zqal import object_cache
from kernels.zqal.backends import llvm

LANES = 8
_HEADER_WORDS = 10
_HASH_BYTES = 32


class Miner:
    """Hashes and searches with a kernel ``fn mine(header: entangled<bytes80>, nonce: u64) -> hash32``.

    Raises ZqalError for a program that is refused, KernelInputError when the function is not such a kernel,
    and KernelError when machine code gives another result than the oracle.
    """

    name = "zqal"

    def __init__(self, path: Path, function: str = "mine") -> None:
        key = object_cache.key_of([path], [function, str(LANES), llvm.processor()])
        kept = object_cache.read(key)
        self.loaded_from_cache = kept is not None
        """Whether the machine code came from disk."""
        if kept is None:
            kept = _compiled(path, function)
            object_cache.write(key, kept)
        known, code = kept[:_HASH_BYTES], kept[_HASH_BYTES:]
        self._code = llvm.Loaded(code)
        self._hash = self._code.words("hash", _HEADER_WORDS + 1, _HASH_BYTES // 8)
        prototype = ctypes.CFUNCTYPE(
            ctypes.c_uint64,
            ctypes.c_void_p,
            ctypes.c_uint64,
            ctypes.c_uint64,
            ctypes.c_uint64,
            ctypes.c_void_p,
        )
        self._scan = prototype(self._code.address("scan"))
        if self.hash(KNOWN_HEADER, KNOWN_NONCE) != known or not self._scan_finds(known):
            raise KernelError(
                f"{path.name} gives wrong results on this machine",
                hint="clear the cache directory and try again; if it stays, report your processor's name",
            )

    def hash(self, header: BytesLike, nonce: int) -> bytes:
        """Return the work hash. Raises KernelInputError for a header or nonce of another size."""
        check_header_and_nonce(header, nonce)
        words = self._hash([*_words(bytes(header)), nonce])
        return b"".join(word.to_bytes(8, "little") for word in words)

    def scan(self, header: BytesLike, start_nonce: int, count: int, target: int) -> ScanResult:
        """Search `count` nonces from `start_nonce` for the first that meets `target`; see `ScanResult`."""
        check_header_and_nonce(header, start_nonce)
        check_count(count)
        leading = int.from_bytes(target_bytes(target)[:8], "big")
        words = (ctypes.c_uint64 * _HEADER_WORDS)(*_words(bytes(header)))
        lows = (ctypes.c_uint64 * (2 * LANES))()
        best: tuple[int, int] | None = None  # leading 64 bits, offset
        done, in_lanes = 0, count - count % LANES
        while done < in_lanes:
            left = in_lanes - done
            stopped = self._scan(words, (start_nonce + done) & MAX_NONCE, left, leading, lows)
            lowest = min((lows[lane], done + lows[LANES + lane] + lane) for lane in range(LANES))
            best = lowest if best is None else min(best, lowest)
            if stopped < left:  # some hash of this group may meet the target: its leading bits do
                found = self._first(
                    header, start_nonce, range(done + stopped, done + stopped + LANES), target
                )
                if found is not None:
                    return found
            done += min(stopped + LANES, left)
        for offset in range(in_lanes, count):
            found = self._first(header, start_nonce, range(offset, offset + 1), target)
            if found is not None:
                return found
            work = self.hash(header, (start_nonce + offset) & MAX_NONCE)
            candidate = int.from_bytes(work[:8], "big"), offset
            best = candidate if best is None else min(best, candidate)
        if best is None:
            return ScanResult(None, 0, None, None)
        nonce = (start_nonce + best[1]) & MAX_NONCE
        return ScanResult(None, count, nonce, self.hash(header, nonce))

    def _first(self, header: BytesLike, start: int, offsets: range, target: int) -> ScanResult | None:
        for offset in offsets:
            nonce = (start + offset) & MAX_NONCE
            work = self.hash(header, nonce)
            if int.from_bytes(work, "big") <= target:
                return ScanResult(nonce, offset + 1, nonce, work)
        return None

    def _scan_finds(self, known: bytes) -> bool:
        target = int.from_bytes(known, "big")
        before = LANES + 3
        found = self.scan(KNOWN_HEADER, KNOWN_NONCE - before, before + 5, target)
        reference = min(
            (offset for offset in range(before + 1) if self._meets(KNOWN_NONCE - before + offset, target)),
        )
        return found.nonce == KNOWN_NONCE - before + reference and found.hashes_done == reference + 1

    def _meets(self, nonce: int, target: int) -> bool:
        return int.from_bytes(self.hash(KNOWN_HEADER, nonce), "big") <= target


def _words(header: bytes) -> list[int]:
    return [int.from_bytes(header[i : i + 8], "little") for i in range(0, len(header), 8)]


def _compiled(path: Path, name: str) -> bytes:
    """Return the oracle's known answer and the object code behind it."""
    from kernels.zqal import oracle
    from kernels.zqal.backends import llvm_text
    from kernels.zqal.checker.modules import check_file
    from kernels.zqal.legalize import legalize
    from kernels.zqal.stage import stage
    from kernels.zqal.targets import must_be_mining

    program = check_file(path)
    if name not in program.functions:
        raise KernelError(f"{path.name} has no function {name}", hint="name the mining kernel")
    function = program.functions[name]
    must_be_mining(function)
    known: bytes = oracle.run(function, [KNOWN_HEADER, KNOWN_NONCE])
    routine = legalize(stage(function))
    text = llvm_text.module(
        [routine], [llvm_text.entry(routine, "hash"), llvm_text.scan(routine, "scan", LANES)]
    )
    return known + llvm.compile_object(text)
