"""What can go wrong with chains as plug-ins."""

from __future__ import annotations


class FamilyError(Exception):
    """A family of chains that is missing, ambiguous or broken. `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
