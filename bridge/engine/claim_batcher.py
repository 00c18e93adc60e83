"""Claims that share a transaction: which may join another's, and which a batch that landed has left out.

The claim whose intent the transaction belongs to leads the batch; the others are its members. Their rows name
the leader until the batch ends or is disbanded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bridge.chains.actions import Action, ClaimAction
from bridge.chains.port import ChainPort, LockStatus
from bridge.engine.decisions import (
    DecisionRules,
    Go,
    current_decision,
    decision_alone,
    may_share_transaction,
)
from bridge.engine.intent_snapshot import IntentSnapshot
from bridge.engine.leased_store import LeasedStore
from bridge.engine.tx_reasons import SPOILED
from bridge.protocol.types import Purpose
from bridge.store import Transaction
from bridge.store.records import LIVE_INTENT_STATES, Intent, StoredTx


class ClaimBatcher:
    """Forms the batches of one pass of the outbox."""

    def __init__(self, store: LeasedStore, port: ChainPort, rules: DecisionRules) -> None:
        self._store = store
        self._port = port
        self._rules = rules
        self._free: dict[int, IntentSnapshot] = {}
        """The claims of this pass that may still join a batch, by intent."""

    async def leave_ended_batches(self, snapshots: Sequence[IntentSnapshot]) -> list[IntentSnapshot]:
        """Let claims go on alone whose leader has no transaction left that may land; return all snapshots as
        they are then."""
        stranded = [
            snapshot.intent.id
            for snapshot in snapshots
            if snapshot.intent.batch_leader is not None and not snapshot.in_batch
        ]
        if not stranded:
            return list(snapshots)
        await self._store.write(lambda tx: tx.intents.leave_batch(stranded))
        return [
            snapshot.without_batch() if snapshot.intent.id in stranded else snapshot for snapshot in snapshots
        ]

    def begin_pass(self, snapshots: Sequence[IntentSnapshot]) -> None:
        """Note which claims may join a batch in this pass."""
        self._free = {snapshot.intent.id: snapshot for snapshot in snapshots if snapshot.may_join_batch}

    def has_joined(self, snapshot: IntentSnapshot) -> bool:
        """Tell whether a claim has got a place in another's transaction in this very pass."""
        return snapshot.may_join_batch and snapshot.intent.id not in self._free

    async def members_for(
        self, leader: IntentSnapshot, action: Action, now: int, *, urgent: bool
    ) -> dict[int, ClaimAction]:
        """Return the claims that may join the transaction of this claim, by intent. The leader itself cannot
        join another's any more in this pass. `now`: the chain's time, Unix seconds.

        A claim near its deadline goes alone, and so does one whose batch was spoiled: then it depends on no
        other.
        """
        self._free.pop(leader.intent.id, None)
        if not isinstance(action, ClaimAction) or self._port.max_claims == 1:
            return {}
        if urgent or any(tx.reason == SPOILED for tx in leader.txs):
            return {}
        return await self._store.read(lambda tx: self._find(tx, action, now))

    def _find(self, tx: Transaction, action: ClaimAction, now: int) -> dict[int, ClaimAction]:
        # One that is near its deadline goes alone: where a batch is all or none, a stranger's claim of any of
        # its locks spoils it.
        found: dict[int, ClaimAction] = {}
        for snapshot in self._free.values():
            if 1 + len(action.others) + len(found) >= self._port.max_claims:
                break
            intent = tx.intents.get(snapshot.intent.id) or snapshot.intent
            decision = decision_alone(tx, intent, self._rules)
            if not isinstance(decision, Go) or decision.is_urgent(now):
                continue
            claim = decision.action
            if isinstance(claim, ClaimAction) and may_share_transaction(action, claim):
                found[intent.id] = claim
        return found

    def histories(self, members: Collection[int]) -> list[Sequence[StoredTx]]:
        """Return the transactions so far of claims that may join a batch."""
        return [self._free[member].txs for member in members]

    def may_all_join(self, tx: Transaction, members: Collection[int]) -> bool:
        """Tell, in the transaction that stores the signed batch, whether all may still be claimed in it."""
        for member in members:
            intent = tx.intents.get(member)
            if intent is None or intent.batch_leader is not None or intent.state not in LIVE_INTENT_STATES:
                return False
            if not isinstance(current_decision(tx, intent, self._rules), Go):
                return False
        return True

    def joined(self, members: Collection[int]) -> None:
        """Note that these claims have their place now."""
        for member in members:
            self._free.pop(member, None)

    async def left_out(self, leader: Intent) -> set[int]:
        """Return which of a claim and the members of its batch a transaction that landed has not made.

        A batch leaves out what cannot be claimed when it is signed or included, and a reorg may make that
        claimable again. The chain is asked only about those that are still required by what was seen of it.
        """
        if leader.purpose is not Purpose.CLAIM or not leader.swap_id:
            return set()
        left: set[int] = set()
        required = await self._store.read(lambda tx: self._still_required(tx, leader))
        for key, action in required.items():
            if await self._port.read_lock(self._port.lock_id(action.terms), action.terms) is LockStatus.OPEN:
                left.add(key)
        return left

    def _still_required(self, tx: Transaction, leader: Intent) -> Mapping[int, ClaimAction]:
        required: dict[int, ClaimAction] = {}
        for intent in (leader, *tx.intents.batch_members(leader.id)):
            decision = decision_alone(tx, intent, self._rules)
            if isinstance(decision, Go) and isinstance(decision.action, ClaimAction):
                required[intent.id] = decision.action
        return required
