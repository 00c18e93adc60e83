"""Frames: magic 4 ‖ type u8 ‖ flags u8 = 0 ‖ zero u16 ‖ length u32, little-endian, then the payload.

They run inside TLS 1.3, which authenticates every byte: a checksum would add nothing. A frame is refused on
its header, before its payload is buffered.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from chain.network.errors import FrameError
from chain.rules.hashing import sha256
from chain.rules.types import BlockId

FRAME_HEADER = struct.Struct("<4sBBHI")
MAX_UNKNOWN_BYTES = 65_536
"""Most payload of a type that this version does not know: such a frame is skipped."""


class Frame(NamedTuple):
    """One frame: the type's number and the payload."""

    type: int
    payload: bytes


def network_magic(genesis_id: BlockId) -> bytes:
    """Return the 4 bytes that begin every frame of the network with this genesis block."""
    return sha256(b"ZION peer network 1" + genesis_id)[:4]


def encode_frame(magic: bytes, frame_type: int, payload: bytes) -> bytes:
    """Return a frame's bytes."""
    return FRAME_HEADER.pack(magic, frame_type, 0, 0, len(payload)) + payload


class FrameReader:
    """Cuts a stream into frames. It holds at most one incomplete frame, so at most the largest cap."""

    def __init__(self, magic: bytes, caps: Mapping[int, int]) -> None:
        """`caps`: the most payload bytes of each known type."""
        self._magic, self._caps = magic, caps
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames that are whole. Raises `FrameError`, which ends its use."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while len(buffer) - start >= FRAME_HEADER.size:
            magic, frame_type, flags, zero, length = FRAME_HEADER.unpack_from(buffer, start)
            if magic != self._magic:
                raise FrameError("the magic is another network's", hint="connect nodes of one network")
            if flags or zero:
                raise FrameError("reserved bits of a frame are set")
            cap = self._caps.get(frame_type, MAX_UNKNOWN_BYTES)
            if length > cap:
                raise FrameError(
                    f"a frame of type {frame_type} with {length} bytes, at most {cap} are allowed"
                )
            end = start + FRAME_HEADER.size + length
            if len(buffer) < end:
                break
            frames.append(Frame(frame_type, bytes(memoryview(buffer)[start + FRAME_HEADER.size : end])))
            start = end
        if start:
            del buffer[:start]
        return frames
