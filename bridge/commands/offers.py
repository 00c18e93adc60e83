"""What `rainbow init` proposes: native coins, pairs between all of them, and example prices, as TOML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from bridge.chains.family import LocalAssets, SampleOffer
from bridge.chains.network import Network
from bridge.protocol.types import Asset

SPREAD_PPM = 3_000
LOCAL_FACTOR = 10
"""How much more may be swapped at once on local chains."""
TOKEN_LEAST, TOKEN_MOST = "1", "10000"
TOKEN_PRICE = "1"  # noqa: S105 - of a demo token
"""Of a local chain's demo token, in whole tokens and the unit of prices."""


@dataclass(frozen=True)
class Proposal:
    """One chain that joins: its native coin with what is proposed for it, and what its local chain has."""

    coin: Asset
    offer: SampleOffer
    local: LocalAssets | None = None

    @property
    def token(self) -> Asset | None:
        """The local chain's token that anybody may be given without consent."""
        return self.local.token if self.local is not None else None


def assets(proposals: Sequence[Proposal]) -> str:
    """Return the `[[assets]]`: native coins, then local tokens."""
    return "".join([*_coins(proposals), *_tokens(proposals)])


def _coins(proposals: Sequence[Proposal]) -> Iterator[str]:
    for proposal in proposals:
        comment = f"                      # {proposal.offer.comment}" if proposal.offer.comment else ""
        coin = proposal.coin
        yield (
            f'\n[[assets]]{comment}\nchain = "{coin.chain}"\nsymbol = "{coin.symbol}"\n'
            f'decimals = {coin.decimals}\nkeep = "{proposal.offer.keep}"\n'
        )


def _tokens(proposals: Sequence[Proposal]) -> Iterator[str]:
    for proposal in proposals:
        if (token := proposal.token) is not None:
            yield (
                f'\n[[assets]]\nchain = "{token.chain}"\nsymbol = "{token.symbol}"\n'
                f'decimals = {token.decimals}\ncontract = "{token.contract}"\n'
            )


def pairs(proposals: Sequence[Proposal], network: Network) -> str:
    """Return `[[pairs]]` from each chain's native coin to each other's, and from tokens to the first coin of
    another chain."""
    factor = LOCAL_FACTOR if network is Network.DEV else 1
    parts = [
        _pair(
            source.coin,
            destination.coin,
            _least(source.offer, destination.offer),
            str(source.offer.most * factor),
        )
        for source in proposals
        for destination in proposals
        if source is not destination
    ]
    for proposal in proposals:
        token = proposal.token
        other = next((one.coin for one in proposals if one is not proposal), None)
        if token is not None and other is not None:
            parts.append(_pair(token, other, TOKEN_LEAST, TOKEN_MOST))
    return "".join(parts)


def _least(source: SampleOffer, destination: SampleOffer) -> str:
    """Return the least that is swapped: what the source proposes, or what the destination is worth the fees
    for, in whole source coins."""
    coins = Fraction(destination.least_worth) / Fraction(source.price)
    if coins <= Fraction(source.least):
        return source.least
    scale = 1 if coins >= 1 else 1_000
    units = ceil(coins * scale)
    return str(units) if scale == 1 else f"{units / scale:g}"


def _pair(source: Asset, destination: Asset, least: str, most: str) -> str:
    """Return one `[[pairs]]`, limits in whole coins of `source`."""
    return (
        f'\n[[pairs]]\nfrom = "{source.key}"\nto = "{destination.key}"\nspread_ppm = {SPREAD_PPM}\n'
        f'min = "{least}"\nmax = "{most}"\ngasless = true\n'
    )


def prices(proposals: Sequence[Proposal]) -> str:
    """Return example prices as the lines of a table."""
    lines = [f'"{proposal.coin.key}" = "{proposal.offer.price}"\n' for proposal in proposals]
    tokens = [proposal.token for proposal in proposals if proposal.token is not None]
    return "".join([*lines, *(f'"{token.key}" = "{TOKEN_PRICE}"\n' for token in tokens)])
