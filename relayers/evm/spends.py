"""How a lock that is not open ended: found in the contract's logs, also where ranges are limited."""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.chains.port import LockStatus
from bridge.protocol.types import BlockHeight, LockId, LockTerms, Preimage
from relayers.evm import htlc
from relayers.evm.history import reaches
from relayers.evm.logs import logs_between
from relayers.evm.messages import HtlcContract
from relayers.evm.rpc import Call, Calls, RpcError, quantity, sound

_SPENDS = ["0x" + topic.hex() for topic in htlc.SPEND_TOPICS]
_LOCKS = ["0x" + topic.hex() for topic in htlc.LOCK_TOPICS]


class LockLook(msgspec.Struct, frozen=True):
    """One question about one lock: is it open, and if not, how did it end since the height `since` (None:
    within the last `history_blocks`)?"""

    contract: HtlcContract
    lock_id: LockId
    terms: LockTerms
    since: BlockHeight | None
    history_blocks: int

    async def at(self, endpoint: Calls) -> LockStatus:
        """Ask one endpoint, so that its answers fit together."""
        message = self.contract.is_open(self.terms)
        request = {"to": message.to, "data": message.data}
        if quantity(await endpoint.call("eth_call", request, "latest")):
            return LockStatus.OPEN
        return await _last_spend(
            endpoint, message.to, self.lock_id, self.terms, self.since, self.history_blocks
        )


async def _last_spend(
    rpc: Calls, contract: str, lock_id: LockId, terms: LockTerms, since: int | None, history_blocks: int
) -> LockStatus:
    """Return how the newest spend ended the lock: CLAIMED with a preimage that opens it, REFUNDED by the
    contract's own word, else SPENT.

    ABSENT if there is none and the endpoint has all of that history; UNKNOWN if it does not, or if it shows a
    lock that it does not call open.
    """
    head = quantity(sound((await rpc.batch([Call("eth_blockNumber")]))[0]))
    oldest = max(0, head - history_blocks) if since is None else since
    if oldest > head:
        return LockStatus.UNKNOWN
    wanted = {"address": contract, "topics": [_SPENDS, lock_id]}
    try:
        logs = await logs_between(rpc, oldest, head, wanted)
    except RpcError:
        return LockStatus.UNKNOWN  # this endpoint does not search its logs
    fates = [fate for fate in (_fate(log, contract, lock_id, terms) for log in logs) if fate is not None]
    if fates:
        return fates[-1]
    if logs or not await reaches(rpc, oldest, head):
        return LockStatus.UNKNOWN
    made = {"address": contract, "topics": [_LOCKS, "0x" + terms.hashlock.hex()]}
    locks = await logs_between(rpc, oldest, head, made)
    shown = any(_is_lock(log, terms) for log in locks)
    return LockStatus.UNKNOWN if shown else LockStatus.ABSENT


def _fate(log: Any, contract: str, lock_id: LockId, terms: LockTerms) -> LockStatus | None:
    """Return what a log says of the lock; None for one that was not asked for."""
    try:
        if log["address"].lower() != contract.lower() or log["topics"][1] != lock_id:
            return None
        match htlc.decode_log(log):
            case htlc.Claimed(_, preimage) if Preimage(preimage).opens(terms.hashlock):
                return LockStatus.CLAIMED
            case htlc.Refunded():
                return LockStatus.REFUNDED
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return LockStatus.SPENT


def _is_lock(log: Any, terms: LockTerms) -> bool:
    """Tell whether a log with this hashlock may be of these very terms."""
    try:
        found = htlc.decode_log(log)
    except (KeyError, TypeError, ValueError):
        return True
    return not isinstance(found, htlc.Locked) or (
        (found.terms.sender, found.terms.recipient, found.terms.amount, found.terms.deadline)
        == (terms.sender, terms.recipient, terms.amount, terms.deadline)
    )
