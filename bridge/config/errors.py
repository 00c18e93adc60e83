"""Why a configuration cannot be used."""

from __future__ import annotations

from kernels.errors import RainbowError


class ConfigError(RainbowError):
    """The configuration cannot be used. `problems` has one line each, with its hint."""

    exit_code = 3

    def __init__(self, problems: list[str], hint: str = "") -> None:
        super().__init__("; ".join(problems), hint)
        self.problems = problems
