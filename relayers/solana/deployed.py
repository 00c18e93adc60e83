"""Whether the program at an address is ours, and can never become another one. Pure.

A program of the upgradeable loader names the account with its code. That begins with 45 bytes: tag 3, slot,
upgrade authority or none (loader-v3-interface of the Solana SDK, state.rs: UpgradeableLoaderState). The old
loader's programs are their code, and cannot be changed.
"""

from __future__ import annotations

import struct

from solders.pubkey import Pubkey

from bridge.chains.errors import PortError
from relayers.solana import program

UPGRADEABLE = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
IMMUTABLE = Pubkey.from_string("BPFLoader2111111111111111111111111111111111")

_PROGRAM = struct.Struct("<I32s")
_PROGRAM_TAG = 2
_DATA = struct.Struct("<IQB32s")
_DATA_TAG = 3
_VERSIONS = (0, 3)


def code_account(owner: str, data: bytes) -> Pubkey | None:
    """Return the account with a program's code; None if its own has it. Raises `PortError` when it has
    some other loader."""
    if owner == str(IMMUTABLE):
        return None
    if owner == str(UPGRADEABLE) and len(data) >= _PROGRAM.size:
        tag, at = _PROGRAM.unpack_from(data)
        if tag == _PROGRAM_TAG:
            return Pubkey.from_bytes(at)
    raise PortError("this is not the HTLC program: it has another loader", "correct `contract`")


def code_of(data: bytes) -> bytes:
    """Return the code in an upgradeable program's data. Raises `PortError` when somebody could change it."""
    if len(data) < _DATA.size:
        raise PortError("the HTLC program has no code", "deploy it (docs/chains/solana.md)")
    tag, _, has_authority, _ = _DATA.unpack_from(data)
    if tag != _DATA_TAG:
        raise PortError("the HTLC program has no code", "deploy it (docs/chains/solana.md)")
    if has_authority:
        raise PortError(
            "somebody can still change the HTLC program: it has an upgrade authority",
            "use a program without, or give the authority up: solana program set-upgrade-authority --final",
        )
    return data[_DATA.size :]


def check_code(code: bytes) -> None:
    """Raise `PortError` unless the code is the committed program's; zeros may follow it."""
    if code.rstrip(b"\0") not in {program.program_bytes(version).rstrip(b"\0") for version in _VERSIONS}:
        raise PortError(
            "the program at this address is not the committed HTLC program",
            "correct `contract`, or deploy it (docs/chains/solana.md)",
        )
