"""Which tokens we swap: those of the classic Token program. Everything else is refused by name. Pure."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator

from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from bridge.chains.errors import PortError
from bridge.chains.issuer_powers import IssuerPower, refusal
from bridge.protocol.types import Asset

MINT_BYTES = 82
"""A mint of the classic program; in Token-2022 what comes before its extensions (spl-token state::Mint)."""

_DECIMALS_AT = 44
_INITIALIZED_AT = 45
_FREEZER = slice(46, 50)
"""Zero where nobody can freeze accounts."""
_EXTENSIONS_AT = 166
"""Token-2022 pads mints to a token account's 165 bytes and writes the kind of account behind them."""

_EXTENSIONS = {
    1: "transfer fee",
    3: "mint close authority",
    4: "confidential transfers",
    6: "default account state",
    9: "non-transferable",
    10: "interest",
    12: "permanent delegate",
    14: "transfer hook",
    16: "confidential transfer fee",
    18: "metadata pointer",
    19: "metadata",
    20: "group pointer",
    21: "group",
    22: "group member pointer",
    23: "group member",
    24: "confidential minting and burning",
    25: "scaled amounts",
    26: "pausable",
}
"""Token-2022's ExtensionType, those of mints."""


def check(asset: Asset, owner: str, data: bytes, accepted: Collection[IssuerPower]) -> None:
    """Check that an account is a mint that our program can lock, with the decimals that the asset has, and
    that its issuer has no power but the accepted ones.

    Raises `PortError`, which says what about the mint is unfit.
    """
    name = f"the mint of {asset.symbol} ({asset.contract})"
    if owner == str(TOKEN_2022_PROGRAM_ID):
        found = list(extensions(data))
        said = f", with {', '.join(found)}" if found else ""
        raise PortError(
            f"{name} belongs to Token-2022{said}; only tokens of the classic Token program can be swapped",
            "take the asset out of the configuration (docs/chains/solana.md says why)",
        )
    if owner != str(TOKEN_PROGRAM_ID) or len(data) != MINT_BYTES or not data[_INITIALIZED_AT]:
        raise PortError(f"{name} has no mint of the Token program", "correct the asset's contract")
    if data[_DECIMALS_AT] != asset.decimals:
        raise PortError(
            f"{name} has {data[_DECIMALS_AT]} decimals, the configuration says {asset.decimals}",
            "correct the asset's decimals: amounts would be wrong by powers of ten",
        )
    problem = refusal(asset.symbol, powers(data), accepted)
    if problem:
        raise PortError(
            f"it cannot be dealt in: {problem}",
            "remove it from the assets, or accept it by name with issuer_powers (docs/chains/solana.md)",
        )


def powers(data: bytes) -> frozenset[IssuerPower]:
    """Return what the issuer of a classic mint may do with other people's tokens. It can give a freeze
    authority up and never get one back (spl-token, processor.rs, SetAuthority: `MintCannotFreeze`)."""
    return frozenset({IssuerPower.FREEZE} if any(data[_FREEZER]) else ())


def extensions(data: bytes) -> Iterator[str]:
    """Yield the names of a Token-2022 mint's extensions (type-length-value, after the kind of account)."""
    at = _EXTENSIONS_AT
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        if kind == 0:
            return
        yield _EXTENSIONS.get(kind, f"extension {kind}")
        at += 4 + length
