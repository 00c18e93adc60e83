"""`rainbow pairs` and `rainbow quote`: what the bridge offers, and at what price."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bridge.client.client import DEFAULT_URL, BridgeClient
from bridge.commands.output import Json, WrongUsageError, aligned, speaking
from bridge.commands.user import ApiUrl, Firm, Gasless, LockFee, Receive, client_token
from bridge.protocol.amounts import to_units
from bridge.wire.market import FeeChoice, PairView, QuoteView, Side

if TYPE_CHECKING:
    pass


def pairs(api: ApiUrl = DEFAULT_URL, as_json: Json = False) -> None:
    """List the pairs that the bridge swaps, with limits, and rates before spread and fees."""

    async def ask() -> list[PairView]:
        async with BridgeClient(api, token=client_token()) as client:
            return (await client.pairs()).pairs

    with speaking(as_json) as output:
        found = asyncio.run(ask())
        lines = [
            f"{pair.source.asset} → {pair.destination.asset}  from {pair.minimum.display} to "
            f"{pair.maximum.display}, rate {pair.rate or '-'}  {pair.reason}".rstrip()
            for pair in found
        ]
        output.result({"pairs": msgspec.to_builtins(found)}, *(lines or ["the bridge offers no pairs"]))


def quote(
    source: Annotated[str, typer.Argument(help="What you pay with, e.g. ethereum:ETH.")],
    destination: Annotated[str, typer.Argument(help="What you get, e.g. zion:ZION.")],
    amount: Annotated[str, typer.Argument(help='In whole coins, e.g. "0.5".')],
    receive: Receive = False,
    gasless: Gasless = False,
    firm: Firm = False,
    lock_fee: LockFee = "",
    api: ApiUrl = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Ask the bridge for a price. It is yours until it expires; `rainbow swap start` asks again."""

    async def ask() -> QuoteView:
        async with BridgeClient(api, token=client_token()) as client:
            return await ask_quote(
                client,
                source,
                destination,
                amount,
                receive=receive,
                gasless=gasless,
                firm=firm,
                lock_fee=lock_fee,
            )

    with speaking(as_json) as output:
        made = asyncio.run(ask())
        output.result(msgspec.to_builtins(made), None if as_json else quote_lines(made))


async def ask_quote(
    client: BridgeClient,
    source: str,
    destination: str,
    amount: str,
    *,
    receive: bool,
    gasless: bool,
    firm: bool = False,
    lock_fee: str = "",
) -> QuoteView:
    """Ask for a quote of an amount given in whole coins.

    Raises `WrongUsageError` for a pair that is not on offer and for an amount outside its limits.
    """
    pair = _pair(source, destination, (await client.pairs()).pairs)
    asset = pair.destination if receive else pair.source
    try:
        units = to_units(amount, asset.decimals)
    except ValueError as error:
        raise WrongUsageError(str(error), 'write the amount in whole coins, e.g. "0.5"') from None
    least, most = pair.minimum, pair.maximum
    limits = f"from {least.display} to {most.display} {least.asset} can be swapped for {destination} now"
    if units == 0:
        raise WrongUsageError("the amount must be above 0", limits)
    if not receive and units < int(least.amount):
        raise WrongUsageError(f"{amount} {source} is too little", limits)
    if not receive and units > int(most.amount):
        raise WrongUsageError(f"{amount} {source} is too much", limits)
    side = Side.DESTINATION if receive else Side.SOURCE
    return await client.quote(
        source, destination, units, side=side, gasless=gasless, firm=firm, lock_fee=_choice(lock_fee)
    )


def _choice(lock_fee: str) -> FeeChoice | None:
    if not lock_fee:
        return None
    try:
        return FeeChoice(lock_fee)
    except ValueError:
        known = ", ".join(choice.value for choice in FeeChoice)
        raise WrongUsageError(f"there is no lock fee {lock_fee!r}", f"choose one of {known}") from None


def _pair(source: str, destination: str, pairs: list[PairView]) -> PairView:
    for pair in pairs:
        if (pair.source.asset, pair.destination.asset) == (source, destination):
            return pair
    offered = [pair.destination.asset for pair in pairs if pair.source.asset == source]
    if offered:
        hint = f"for {source} it gives {', '.join(sorted(offered))}; `rainbow pairs` lists all pairs"
    else:
        known = sorted({pair.source.asset for pair in pairs})
        hint = f"it takes {', '.join(known) or 'nothing'}; `rainbow pairs` lists all pairs"
    raise WrongUsageError(f"the bridge does not swap {source} for {destination}", hint)


def _lock_fee(made: QuoteView) -> list[tuple[str, str]]:
    fee = made.lock_fee
    return [("lock fee", f"{fee.value} of your credit is held until you have finished")] if fee else []


def _limits(made: QuoteView) -> list[tuple[str, str]]:
    least, most = made.destination_min, made.destination_max
    if least.amount == most.amount:
        return []
    return [("  with the price", f"{least.display} to {most.display} {least.asset}, else all goes back")]


def quote_lines(made: QuoteView) -> str:
    """Return a quote for people: a line for each item."""
    return aligned(
        [
            ("you pay", f"{made.source.display} {made.source.asset}"),
            ("you get", f"[bold]{made.destination.display}[/] {made.destination.asset}"),
            *_limits(made),
            *_lock_fee(made),
            ("rate", made.rate),
            *((f"  {line.name}", f"{line.money.display} {line.money.asset}") for line in made.fees),
            ("lock by", made.lock_by.rfc3339),
            ("refundable from", made.source_deadline.rfc3339),
            ("quote expires", made.expires.rfc3339),
        ]
    )
