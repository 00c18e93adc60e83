"""Algorithms in ZQAL, and nothing else: the compiler is in `kernels.zqal`."""
