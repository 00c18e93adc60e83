"""Transaction errors in words. Pure."""

from __future__ import annotations

from typing import Any

from relayers.solana import program


def explain(error: Any) -> str:
    """Return a transaction error in words; the program's own codes by name."""
    match error:
        case {"InstructionError": [int(index), {"Custom": int(code)}]}:
            try:
                return f"instruction {index}: {program.ProgramError(code).name.lower().replace('_', ' ')}"
            except ValueError:
                return f"instruction {index}: error {code}"
        case {"InstructionError": [int(index), reason]}:
            return f"instruction {index}: {reason}"
    return str(error)
