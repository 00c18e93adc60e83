"""Where failed transactions stand is remembered between tries, and never against the chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from bridge.chains.endpoints.answers import EndpointError
from bridge.protocol.types import BlockHeight, BlockRef, TxId, UnixSeconds
from relayers.cardano.blockfrost import Blockfrost
from relayers.cardano.blockfrost_wire import TxAt, TxOutputs, TxPlace
from relayers.cardano.hosted import HostedView
from relayers.cardano.raw_tx import id_of_bytes

RAWS = [bytes.fromhex(f"84a30080018002{fee:02x}a0f480") for fee in range(3)]
FIRST, SECOND, THIRD = (TxId(id_of_bytes(raw)) for raw in RAWS)


def block(height: int, branch: str = "a") -> BlockRef:
    return BlockRef(BlockHeight(height), f"{branch}{height}", f"{branch}{height - 1}", UnixSeconds(height))


class Failures:
    """A service on whose chain transactions failed: each at the validator, with a redeemer."""

    def __init__(self) -> None:
        self.chain: dict[TxId, BlockRef] = {}
        """Newest first, as the service lists them."""
        self.broken: set[TxId] = set()
        self.name = "the service"

    async def transactions_at(self, place: str, first: int, last: int) -> Sequence[TxAt]:
        return ()

    async def newest_redeeming(self, script: str) -> AsyncIterator[TxId]:
        for tx_id in list(self.chain):
            yield tx_id

    async def place(self, tx_id: TxId) -> TxPlace | None:
        ref = self.chain.get(tx_id)
        return None if ref is None else TxPlace(tx_id, ref.id, ref.height, 0, valid_contract=False)

    async def outputs(self, tx_id: TxId) -> TxOutputs | None:
        if tx_id in self.broken:
            raise EndpointError("the service answered HTTP 500", "")
        return TxOutputs(tx_id, [], [])

    async def raw(self, tx_id: TxId) -> bytes | None:
        return dict(zip((FIRST, SECOND, THIRD), RAWS, strict=True))[tx_id]

    async def block(self, block_id: str) -> BlockRef | None:
        return block(0, block_id)

    def view(self) -> HostedView:
        return HostedView(cast(Blockfrost, self))


async def failed(view: HostedView, *blocks: BlockRef) -> set[str]:
    return {tx.tx_id for tx in await view.activity(blocks) if tx.failed}


async def test_a_failed_transaction_that_a_reorg_moved_up_hides_no_older_one() -> None:
    service = Failures()
    view = service.view()
    service.chain = {FIRST: block(90)}
    assert await failed(view, block(90)) == {FIRST}
    # A reorg takes it back, and the bridge reads on. Then it is included again, after another one.
    service.chain = {}
    assert await failed(view, block(90, "b"), block(91, "b")) == set()
    service.chain = {FIRST: block(95, "b"), SECOND: block(93, "b")}
    assert await failed(view, *(block(height, "b") for height in range(92, 96))) == {FIRST, SECOND}


async def test_a_place_that_is_asked_for_again_is_no_progress() -> None:
    """Else a service that fails at the next question is asked without a pause and without an end."""
    service = Failures()
    service.chain = {FIRST: block(99), SECOND: block(93), THIRD: block(80)}
    service.broken = {SECOND}
    view = service.view()
    progress = []
    for _ in range(3):
        with pytest.raises(EndpointError) as failure:
            await view.activity([block(92), block(93)])
        progress.append(failure.value.progress)
    assert progress == [True, False, False]
    service.broken = set()
    assert await failed(view, block(92), block(93)) == {SECOND}
