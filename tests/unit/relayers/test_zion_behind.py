"""A ZION node that has not come far enough says nothing of what may have happened since."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bridge.chains.port import LockStatus, SignedTx, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Address, Amount, BlockHeight, TxId
from chain.rules.params import Network
from chain.service.messages import TransactionPlace
from relayers.zion.adapter import ZionPort
from relayers.zion.settings import ZionSettings
from tests.unit.relayers.test_zion_htlc import TERMS

HEIGHT = 100


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> ZionPort:
    settings = ZionSettings(rpc_urls=("http://127.0.0.1:1",), network=Network.DEV)
    made = ZionPort(settings, devnet_key("behind"))
    info = SimpleNamespace(height=HEIGHT, chain_id=settings.chain_id)
    account = SimpleNamespace(nonce=0)
    place = SimpleNamespace(status=TransactionPlace.UNKNOWN, block_id=None)

    async def answer(value: Any) -> Any:
        return value

    node = SimpleNamespace(
        get_info=lambda: answer(info),
        get_lock=lambda _: answer(None),
        get_account=lambda _: answer(account),
        get_transaction=lambda _: answer(place),
    )

    async def ask(request: Any) -> Any:
        return await request(node)

    async def reread(work: Any) -> Any:
        return await work(SimpleNamespace(ask=ask))

    monkeypatch.setattr(made, "_reread_if_moved", reread)
    return made


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, LockStatus.ABSENT),
        (HEIGHT - 1, LockStatus.ABSENT),
        (HEIGHT, LockStatus.UNKNOWN),
        (HEIGHT + 50, LockStatus.UNKNOWN),
    ],
)
async def test_a_lock_is_absent_only_for_a_node_that_could_know_it(
    port: ZionPort, since: int | None, expected: LockStatus
) -> None:
    height = None if since is None else BlockHeight(since)
    assert await port.read_lock(port.lock_id(TERMS), TERMS, since=height) is expected


@pytest.mark.parametrize(
    ("signed", "expected"), [(None, TxState.UNKNOWN), (HEIGHT, TxState.UNKNOWN), (HEIGHT + 1, TxState.UNSURE)]
)
async def test_a_transaction_is_unknown_only_to_a_node_that_has_reached_its_signing(
    port: ZionPort, signed: int | None, expected: TxState
) -> None:
    height = None if signed is None else BlockHeight(signed)
    tx = SignedTx(TxId("aa"), b"", Address("z"), 0, {}, Amount(1), signed_height=height)
    assert (await port.tx_status(tx)).state is expected
