"""Proof-of-work kernels of ZION: Cosmic Harmony in Numba and OpenCL."""
