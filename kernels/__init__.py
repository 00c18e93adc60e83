"""Cosmic Harmony, ZION's proof of work, and the Keccak hashing of its records and Merkle trees.

`kernels.cosmic_harmony` is the public API, `kernels.backends` the miners behind one interface.
"""
