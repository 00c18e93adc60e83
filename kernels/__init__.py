"""Cosmic Harmony, ZION's proof of work: hashing, checking, mining, and the Keccak hashing of records and Merkle trees.

`kernels.cosmic_harmony` is the public API, `kernels.backends` the miners behind one interface.
"""
