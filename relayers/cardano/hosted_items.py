"""What a Blockfrost service shows of single transactions and outputs, in our terms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from bridge.chains.endpoints.answers import Answer, EndpointError
from bridge.protocol.types import TxId
from relayers.cardano.blockfrost_wire import TxOutputs, WireOutput
from relayers.cardano.chain_view import Output, SpentOutput
from relayers.cardano.htlc import is_ours
from relayers.cardano.raw_tx import RawTx

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

AT_ONCE = 8
"""Transactions that are read at once. Blockfrost allows bursts of 500 requests and 10 a second on average."""


async def each(items: Sequence[ItemT], read: Callable[[ItemT], Awaitable[ResultT]]) -> list[ResultT]:
    """Read some at once, in order. All are tried before the first failure is raised: what is read is kept."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(item: ItemT) -> ResultT:
        async with turn:
            return await read(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def output_of(wire: WireOutput, tx_id: TxId) -> Output:
    """Return an output of a transaction."""
    return Output(
        tx_id,
        wire.output_index,
        wire.address,
        wire.lovelace,
        wire.tokens,
        wire.inline_datum,
        wire.reference_script_hash is not None,
        wire.data_hash,
    )


def made_by(tx: TxOutputs) -> tuple[Output, ...]:
    """Return the outputs at the validator that a transaction makes."""
    return tuple(
        output_of(output, tx.hash)
        for output in tx.outputs
        if not output.collateral and is_ours(output.address)
    )


def spent_by(outputs: TxOutputs, tx: RawTx) -> tuple[SpentOutput, ...]:
    """Return the outputs of the validator that a transaction spends, with their redeemers."""
    return tuple(
        SpentOutput(output_of(spent, spent.tx_hash), tx.redeemers.get(index, ()))
        for index, spent in enumerate(ordinary(outputs))
        if is_ours(spent.address)
    )


def spender_of(output: WireOutput) -> TxId | None:
    """Return what spent an output. Not to be told is not the same as nothing."""
    spender = output.consumed_by_tx
    if isinstance(spender, msgspec.UnsetType):
        raise EndpointError(
            "the service does not say which outputs are spent",
            "use one that has consumed_by_tx",
            kind=Answer.PERMANENT,
        )
    return None if spender is None else TxId(spender)


def ordinary(outputs: TxOutputs) -> list[WireOutput]:
    """Return what a transaction really spends, in the order in which redeemers count it."""
    spends = [spent for spent in outputs.inputs if not spent.collateral and not spent.reference]
    return sorted(spends, key=lambda spent: spent.ref)
