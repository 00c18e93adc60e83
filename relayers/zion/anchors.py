"""What ZION shows of an anchor: its Merkle path and the headers over it."""

from __future__ import annotations

from bridge.chains.anchors import AnchorEvidence
from bridge.protocol.types import BlockHeight, TxId
from chain.rules.anchors import AnchorProof
from relayers.zion.blocks import ChainMovedError
from relayers.zion.nodes import Asks, NodeRefusedError

_HEADERS_AT_ONCE = 100
"""The node's own limit (getHeaders)."""


async def read_evidence(
    node: Asks, tx_id: TxId, since: BlockHeight | None, most: int
) -> AnchorEvidence | None:
    """See `bridge.chains.anchors.AnchorReader`. Raises `ChainMovedError` if the chain moved meanwhile."""
    try:
        proof = await node.ask(lambda client: client.get_anchor_proof(tx_id))
    except NodeRefusedError:
        return None  # it is in no block
    start = proof.height if since is None else min(max(since, 1), proof.height)  # genesis has no work
    if proof.height - start >= most:
        return None
    headers: list[bytes] = []
    while len(headers) < most:
        count = min(_HEADERS_AT_ONCE, most - len(headers))
        height = start + len(headers)
        views = await node.ask(lambda client, h=height, c=count: client.get_headers(h, c))  # type: ignore[misc]
        headers += [bytes.fromhex(view.raw) for view in views]
        if len(views) < count:
            break
    at = proof.height - start
    if at >= len(headers) or headers[at].hex() != proof.header + proof.nonce:
        raise ChainMovedError
    return AnchorEvidence(bytes.fromhex(proof.body), sides(proof), tuple(headers), at)


def sides(proof: AnchorProof) -> tuple[tuple[bool, bytes], ...]:
    """Return the Merkle path, each sibling with whether it is on the left."""
    path: list[tuple[bool, bytes]] = []
    index, count, steps = proof.index, proof.transactions, iter(proof.path)
    while count > 1:
        if index % 2 or index + 1 < count:
            path.append((bool(index % 2), bytes.fromhex(next(steps))))
        index, count = index // 2, (count + 1) // 2
    return tuple(path)
