"""Why a configuration cannot be used."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has one line each, with its hint."""

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.hint = hint
