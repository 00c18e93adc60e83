"""ZION: adapter, HTLC encoding and local chain."""
