"""`rainbow desk`: what an operator sees and does about the bridge's clients."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bridge.commands.output import ConfigFile, Json, WrongUsageError, aligned, speaking
from bridge.commands.runtime import KeyRing, load_settings, open_store
from bridge.protocol.amounts import to_text, to_units
from bridge.protocol.lock_fee import MICRO, value_text

if TYPE_CHECKING:
    from bridge.desk.overview import Overview, Position

app = typer.Typer(no_args_is_help=True, help="The desk: what it holds, and its clients' credit.")

_AMOUNTS: Final = ("kept", "reserved", "asked", "available", "locked", "coming", "target")

_CLIENT = re.compile(r"[0-9a-f]{64}")
_DECIMALS = 6


@app.callback()
def desk() -> None:
    """Look after the desk."""


@app.command()
def show(config: ConfigFile = None, as_json: Json = False) -> None:
    """Show what the desk holds, what is open on each chain, and what is reserved, and why. Asks the database
    alone: balances are the relayers' last readings, prices those that the API keeps."""
    from bridge.desk.overview import overview

    with speaking(as_json) as output:
        settings = load_settings(config)
        store = open_store(settings, KeyRing(settings))
        try:
            with store.reading() as tx:
                found = overview(tx, settings)
        finally:
            store.close()
        output.result(_as_json(found), *_lines(found))


def _as_json(found: Overview) -> dict[str, Any]:
    """Amounts as text in smallest units, values as text in the unit of prices."""
    return {
        "assets": [
            {
                "asset": one.asset.key,
                "decimals": one.asset.decimals,
                "balance": None if one.balance is None else str(one.balance),
                **{name: str(getattr(one, name)) for name in _AMOUNTS},
                "value": _value(one.value),
            }
            for one in found.positions
        ],
        "chains": [
            {"chain": one.chain, "swaps": one.swaps, "value": _value(one.value)} for one in found.exposures
        ],
        "reserved": [
            {
                "asset": one.asset,
                "amount": str(one.amount),
                "swap": one.swap_id,
                "quote": one.quote_id,
                "counts": one.counts,
                "why": one.why,
            }
            for one in found.holders
        ],
    }


def _lines(found: Overview) -> Iterator[str]:
    decimals = {one.asset.key: one.asset.decimals for one in found.positions}
    for position in found.positions:
        balance = "not read yet" if position.balance is None else _coins(position, position.balance)
        value = "no price" if position.value is None else f"worth {_value(position.value)}"
        yield f"[bold]{position.asset.key}[/]  {balance}, {value}"
        for name in _AMOUNTS:
            amount = getattr(position, name)
            if amount:
                yield f"  {name:10} {_coins(position, amount)}"
    for chain in found.exposures:
        money = "no price" if chain.value is None else _value(chain.value)
        yield f"open on {chain.chain}: {chain.swaps} swaps, {money}"
    for holder in found.holders:
        amount = to_text(holder.amount, decimals.get(holder.asset, 0))
        counts = "reserved" if holder.counts else "asked for"
        of = holder.swap_id or f"quote {holder.quote_id}"
        yield f"{counts}: {amount} {holder.asset} for {of}: {holder.why}"


def _coins(position: Position, amount: int) -> str:
    return to_text(amount, position.asset.decimals)


def _value(value: Fraction | None) -> str | None:
    return None if value is None else value_text(int(value * MICRO))


@app.command()
def credit(
    client: Annotated[
        str, typer.Argument(help="The client's name, as GET /v1/credit shows it to the client.")
    ],
    add: Annotated[str, typer.Option(help="Enter so much more, in the unit of prices.")] = "",
    remove: Annotated[str, typer.Option(help="Take away so much of what is available.")] = "",
    note: Annotated[str, typer.Option(help="Why: what was paid, or paid out, and how.")] = "",
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show a client's credit, from which lock fees are held, or change it. Every change is in the audit log.

    The credit is what a client has paid you beforehand. It is yours to pay out again when you take it away.
    """
    with speaking(as_json) as output:
        if not _CLIENT.fullmatch(client):
            raise WrongUsageError(
                "this does not look like the name of a client",
                "it has 64 hexadecimal digits; GET /v1/credit shows it to the client",
            )
        added, removed = _micro("--add", add), _micro("--remove", remove)
        if (added or removed) and not note:
            raise WrongUsageError("a change needs a reason", "say with --note what was paid, and how")
        settings = load_settings(config)
        store = open_store(settings, KeyRing(settings))
        try:
            with store.transaction() as tx:
                tx.lock(f"credit:{client}")
                if removed > tx.credits.of(client).available + added:
                    raise WrongUsageError(
                        "so much is not available", "what open swaps hold comes back when they are finished"
                    )
                if added or removed:
                    by = f"cli:{getpass.getuser()}"
                    tx.credits.enter(client, by=by, note=note, added=added, removed=removed)
                    tx.audit.append(
                        by, "credit", client, f"+{value_text(added)} -{value_text(removed)}: {note}"
                    )
                found = tx.credits.of(client)
        finally:
            store.close()
        values = {
            "available": value_text(found.available),
            "held": value_text(found.held),
            "kept": value_text(found.kept),
        }
        output.result({"client": client, **values}, aligned(list(values.items())))


def _micro(option: str, text: str) -> int:
    try:
        return to_units(text, _DECIMALS) if text else 0
    except ValueError as error:
        raise WrongUsageError(f"{option}: {error}", "write it in units of prices, e.g. 250.5") from None
