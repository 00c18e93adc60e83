"""What ZION's adapter reads of an anchor."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from bridge.protocol.types import BlockHeight, TxId
from chain.rules.errors import NotFoundError
from chain.rules.params import DEV
from chain.wallet.transactions import build_anchor
from relayers.zion.anchors import read_evidence, sides
from relayers.zion.nodes import Asks, NodeRefusedError
from tests.unit.chain.harness import ALICE, BOB, FEE, Sandbox


class Asked:
    """A node's answers from a chain in this process."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box

    async def ask(self, request: Any) -> Any:
        return await request(self)

    async def get_anchor_proof(self, tx_id: str) -> Any:
        try:
            return self.box.queries.anchor_proof(cast(Any, bytes.fromhex(tx_id)))
        except NotFoundError as error:
            raise NodeRefusedError(str(error), "", "not_found") from None

    async def get_headers(self, start: int, count: int) -> Any:
        assert count <= 100
        return self.box.queries.headers(start, count)


def read(box: Sandbox, tx_id: str, since: int | None, most: int) -> Any:
    height = None if since is None else BlockHeight(since)
    return asyncio.run(read_evidence(cast(Asks, Asked(box)), TxId(tx_id), height, most))


@pytest.fixture
def anchor_id(box: Sandbox) -> str:
    for _ in range(4):
        box.mine()
    anchor = build_anchor(ALICE, DEV, nonce=box.nonce(ALICE), root=b"\x42" * 32, tree_size=7, fee=FEE)
    box.mine(box.transfer(BOB, ALICE, nonce=box.nonce(BOB)), anchor)
    for _ in range(3):
        box.mine()
    return anchor.txid.hex()


def test_the_headers_lead_from_the_block_asked_for_to_the_head(box: Sandbox, anchor_id: str) -> None:
    proof = box.queries.anchor_proof(cast(Any, bytes.fromhex(anchor_id)))
    for since, at in ((None, 0), (proof.height + 2, 0), (proof.height - 3, 3), (0, proof.height - 1)):
        found = read(box, anchor_id, since, 100)
        assert found.at == at
        assert len(found.headers) == at + 4
        assert found.headers[at].hex() == proof.header + proof.nonce
        assert found.path == sides(proof)


def test_no_more_headers_are_read_than_may_be(box: Sandbox, anchor_id: str) -> None:
    assert len(read(box, anchor_id, None, 2).headers) == 2
    assert read(box, anchor_id, 0, 3) is None


def test_an_anchor_in_no_block_has_no_evidence(box: Sandbox) -> None:
    assert read(box, "00" * 32, None, 10) is None
