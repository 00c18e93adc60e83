"""The base of every error of ours, and the errors of the kernels. This module imports nothing.

`RainbowError` stands here because the kernels are what all other packages may import.
"""

from __future__ import annotations

from typing import ClassVar


class RainbowError(Exception):
    """Base of all errors of the project: what happened, and what the reader can do about it.

    `message` is `str(error)`; neither it nor `hint` ever holds a secret. `exit_code` is what a command ends
    with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(hint)  # a traceback shows it below the message

    @property
    def with_hint(self) -> str:
        """The message and its hint on one line, "message (hint)": for terminals and logs."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class KernelError(RainbowError):
    """Base of all errors raised by `kernels`."""


class KernelInputError(KernelError, ValueError):
    """An argument has the wrong size, range, type or shape."""


class BackendUnavailableError(KernelError, RuntimeError):
    """A mining backend cannot run here: a library, a platform or a device is missing."""
