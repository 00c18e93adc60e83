"""Errors of the kernels: every one says what to do about it."""

from __future__ import annotations


class KernelError(Exception):
    """Base of all errors raised by `kernels`; `hint` says what the caller can do."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(f"{message} ({hint})")
        self.message = message
        self.hint = hint


class KernelInputError(KernelError, ValueError):
    """An argument has the wrong size, range, type or shape."""


class BackendUnavailableError(KernelError, RuntimeError):
    """A mining backend cannot run here: a library, a platform or a device is missing."""
