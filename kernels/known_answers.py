"""Known results of Cosmic Harmony: every kernel checks itself with them when it is loaded.

The first is the first of tests/vectors/cosmic_harmony.json.
"""

from __future__ import annotations

KNOWN_HEADER = bytes(range(80))
KNOWN_NONCE = 0x0123456789ABCDEF
KNOWN_HASH = bytes.fromhex("5115bd8a093939860d16b69c3016265ff4a08a4798520c5d14c23df32865b044")
KNOWN_LOW_NONCE = 238
KNOWN_LOW_HASH = bytes.fromhex("00c8c08733aba3c3a0b06ab0a49f94f1469a58308cc325e125503b5b43381b5e")
"""The first nonce with KNOWN_HEADER whose hash starts with a zero byte."""
