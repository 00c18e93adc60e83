"""`rainbow rescue`: every open leg of the bridge's keys from chain data alone, without a database."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from bridge.commands.output import ConfigFile, Exit, Json, Output, WrongUsageError, speaking
from bridge.commands.runtime import KeyRing, chain_named, load_settings
from bridge.protocol.amounts import to_text
from bridge.protocol.types import BlockHeight, ChainId, Preimage
from bridge.wire.base import Moment

if TYPE_CHECKING:
    from bridge.chains.port import ChainPort, SignedTx
    from bridge.config import Settings
    from bridge.engine.rescue import ChainFindings, Leg

Since = Annotated[
    list[str],
    typer.Option(
        "--since",
        metavar="CHAIN=HEIGHT",
        help="Read this chain from this height on. Repeat it: a secret shown on one opens the other.",
    ),
]


def rescue(
    since: Since,
    preimages: Annotated[
        Path | None, typer.Option(help="A private file of known preimages, hex, one a line.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Sign and send; without it nothing is sent.")] = False,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Find every open lock of and to the bridge's accounts on chain, and claim or refund what can be.

    Stop the relayers of these chains first: they use the same keys. Exit code 0: nothing is left open;
    1: something is, or was just sent: look again; 4: a chain does not answer.
    """
    from bridge.wiring.ports import open_port

    with speaking(as_json) as output:
        settings = load_settings(config)
        heights = _heights(settings, since)
        secrets = _preimages(preimages)
        ring = KeyRing(settings)
        ports = {chain: open_port(settings, chain, ring.chain(chain)) for chain in heights}
        folder = settings.data_dir / "rescue"
        left = asyncio.run(_rescue(settings, ports, heights, secrets, folder if send else None, output))
        if left:
            raise typer.Exit(int(Exit.FAILED))


def _heights(settings: Settings, since: Sequence[str]) -> dict[ChainId, BlockHeight]:
    heights: dict[ChainId, BlockHeight] = {}
    for text in since:
        name, _, height = text.partition("=")
        if not height.isdecimal():
            raise WrongUsageError(f"--since {text} names no height", "write it like --since zion=120000")
        heights[chain_named(settings, name)] = BlockHeight(int(height))
    return heights


def _preimages(path: Path | None) -> list[Preimage]:
    from bridge.keys.keystore import check_private

    if path is None:
        return []
    check_private(path, "write the preimages into a file that only you can read")
    try:
        return [Preimage(bytes.fromhex(line)) for line in path.read_text().split()]
    except ValueError:
        raise WrongUsageError(
            f"{path} holds something else than preimages", "write them in hex, one a line"
        ) from None


async def _rescue(
    settings: Settings,
    ports: Mapping[ChainId, ChainPort],
    heights: Mapping[ChainId, BlockHeight],
    preimages: Sequence[Preimage],
    folder: Path | None,
    output: Output,
) -> bool:
    from bridge.engine.rescue import judge, look_through

    try:
        found: dict[ChainId, ChainFindings] = {}
        for chain, port in ports.items():
            output.note(f"reading {chain} from {heights[chain]}")
            size = settings.chains.get(chain).max_blocks_per_scan
            found[chain] = await look_through(port, heights[chain], size)
        alone = frozenset(
            chain for chain, port in ports.items() if port.authorizer is not None and port.authorizer.required
        )
        legs, known = judge(found, preimages, alone)
        sent = {} if folder is None else await send_all(ports, legs, known, folder, output)
        unread = {chain: [msgspec.to_builtins(item) for item in of.set_aside] for chain, of in found.items()}
        output.result(
            {"legs": [_shown(leg, sent) for leg in legs], "set_aside": unread, "sent": folder is not None},
            *(_line(leg, sent) for leg in legs),
            f"{len(legs)} open" + ("; nothing was sent: add --send" * (folder is None and bool(legs))),
        )
        return bool(legs) or any(unread.values())
    finally:
        for port in ports.values():
            await port.close()


async def send_all(
    ports: Mapping[ChainId, ChainPort],
    legs: Sequence[Leg],
    known: Mapping[bytes, Preimage],
    folder: Path,
    output: Output,
) -> dict[str, str]:
    """Sign, store and send what can be sent, claims first; returns lock id → what became of it. One that
    fails is named and passed over."""
    from bridge.chains.errors import PortError
    from bridge.chains.port import BroadcastOutcome, FeeLevel
    from bridge.engine.rescue import ACTIONABLE, action_for

    outcomes: dict[str, str] = {}
    sequences = {chain: await port.next_sequence() for chain, port in ports.items()}
    ready = [leg for leg in legs if leg.step in ACTIONABLE]
    for leg in sorted(ready, key=lambda leg: (ACTIONABLE.index(leg.step), leg.lock.terms.deadline)):
        port, sequence = ports[leg.chain], sequences[leg.chain]
        try:
            signed = await port.prepare(action_for(leg, known), sequence, FeeLevel())
            _keep(folder / f"{leg.chain}-{signed.tx_id}.json", signed)
            result = await port.broadcast(signed)
        except PortError as error:
            outcomes[leg.lock.lock_id] = f"not sent: {error}"
            output.note(f"{leg.chain} {leg.lock.lock_id}: {error}")
            continue
        if sequence is not None and result.outcome not in {
            BroadcastOutcome.REJECTED,
            BroadcastOutcome.UNDERPRICED,
        }:
            sequences[leg.chain] = sequence + 1
        outcomes[leg.lock.lock_id] = f"{result.outcome.value} {signed.tx_id}"
    return outcomes


def _keep(path: Path, signed: SignedTx) -> None:
    """Store signed bytes before they are sent: what was sent must not be forgotten."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(signed))
        file.flush()
        os.fsync(file.fileno())


def _shown(leg: Leg, sent: Mapping[str, str]) -> dict[str, Any]:
    terms = leg.lock.terms
    return {
        "chain": leg.chain,
        "lock_id": leg.lock.lock_id,
        "tx": leg.lock.tx_id,
        "height": leg.lock.height,
        "ours": leg.lock.ours,
        "asset": terms.asset.key,
        "amount": str(terms.amount),
        "counterparty": terms.recipient if leg.lock.ours else terms.sender,
        "hashlock": terms.hashlock.hex(),
        "deadline": terms.deadline,
        "step": leg.step.value,
        "outcome": sent.get(leg.lock.lock_id, ""),
    }


def _line(leg: Leg, sent: Mapping[str, str]) -> str:
    terms = leg.lock.terms
    whose = "ours, to" if leg.lock.ours else "to us, of"
    other = terms.recipient if leg.lock.ours else terms.sender
    amount = f"{to_text(terms.amount, terms.asset.decimals)} {terms.asset.symbol}"
    outcome = sent.get(leg.lock.lock_id, "")
    deadline = Moment.at(terms.deadline).rfc3339
    what = f"{amount}, {whose} {other}, until {deadline}"
    return f"{leg.chain} {leg.lock.lock_id[:18]}  {what}: {leg.step.value} {outcome}"
