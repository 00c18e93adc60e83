"""How a lock that is no longer open ended: found in the contract's logs, also where ranges are limited."""

from __future__ import annotations

from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import LockStatus
from bridge.protocol.types import LockId
from relayers.evm import blocks, htlc
from relayers.evm.rpc import Rpc, RpcError, failed, quantity

_REFUNDED_TOPIC = "0x" + htlc.TOPIC_REFUNDED.hex()
_SPEND_TOPICS = ["0x" + htlc.TOPIC_CLAIMED.hex(), "0x" + htlc.TOPIC_CLAIMED_BYTES.hex(), _REFUNDED_TOPIC]


async def last_spend(rpc: Rpc, contract: str, lock_id: LockId, history_blocks: int) -> LockStatus:
    """Return how the newest claim or refund of this lock within `history_blocks` ended it; ABSENT if there
    is none. Raises `PortUnavailableError` from an endpoint that does not search its logs."""
    try:
        head = quantity(await rpc.call("eth_blockNumber"))
    except RpcError as error:
        raise failed(error) from error
    oldest = max(0, head - history_blocks)
    wanted = {"address": contract, "topics": [_SPEND_TOPICS, lock_id]}
    for span in (history_blocks + 1, blocks.MAX_LOG_SPAN):
        last = head
        try:
            while last >= oldest:
                first = max(oldest, last - span + 1)
                logs = await rpc.call(
                    "eth_getLogs", {**wanted, "fromBlock": hex(first), "toBlock": hex(last)}
                )
                if logs:
                    ended = logs[-1]["topics"][0]
                    return LockStatus.REFUNDED if ended == _REFUNDED_TOPIC else LockStatus.CLAIMED
                last = first - 1
            return LockStatus.ABSENT
        except RpcError:
            continue  # the whole range at once was too much for this endpoint
    raise PortUnavailableError("the RPC refuses to search its logs", "use an endpoint with eth_getLogs")
