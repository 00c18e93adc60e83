"""A Horizon whose lists do not fit together, or whose history is short: what may be concluded from it."""

from __future__ import annotations

import msgspec
import pytest

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import PortUnavailableError
from bridge.chains.port import Claimed, FeeLevel, LockStatus, TxState
from bridge.protocol.types import BlockHeight
from relayers.stellar.adapter import StellarPort
from tests.unit.stellar.conftest import SECRET, Net


async def test_a_ledger_counts_as_read_only_with_all_its_transactions(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs)
    await net.done(ours, LockAction(terms))
    before = (await ours.tip()).block
    await net.node.close()
    claim = await net.done(theirs, ClaimAction(terms, SECRET))
    net.node.transactions_lag = 1
    behind = await ours.scan([before], 100)
    assert [each.height for each in behind.blocks] == [before.height + 1]
    assert behind.events == ()
    with pytest.raises(PortUnavailableError, match="0 of the 1 transactions"):
        await ours.scan(behind.blocks, 100)
    net.node.transactions_lag = 0
    (claimed,) = (await ours.scan(behind.blocks, 100)).events
    assert isinstance(claimed, Claimed)
    assert claimed.tx_id == claim.tx_id


async def test_absent_is_only_said_by_a_history_that_reaches_back(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    terms = net.terms(ours, theirs)
    before = (await ours.tip()).block.height
    await net.done(ours, LockAction(terms))
    await net.done(theirs, ClaimAction(terms, SECRET))
    await net.node.close()
    name = ours.lock_id(terms)
    net.node.elder_ledger = (await ours.tip()).block.height
    reader = await net.port("reader")
    assert await reader.read_lock(name, terms, since=before) is LockStatus.UNKNOWN
    assert await reader.read_lock(name, terms) is LockStatus.UNKNOWN
    never = msgspec.structs.replace(terms, amount=terms.amount + 1)
    since = BlockHeight(net.node.elder_ledger - 1)
    assert await reader.read_lock(reader.lock_id(never), never, since=since) is LockStatus.ABSENT
    earlier = BlockHeight(since - 1)
    assert await reader.read_lock(reader.lock_id(never), never, since=earlier) is LockStatus.UNKNOWN


async def test_a_transaction_is_only_unknown_to_a_history_that_reaches_back(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    tx = await ours.prepare(LockAction(net.terms(ours, theirs)), await ours.next_sequence(), FeeLevel())
    height = (await ours.tip()).block.height
    signed = msgspec.structs.replace(tx, signed_height=height)
    assert (await ours.tx_status(signed)).state is TxState.UNKNOWN
    await net.node.close()
    await net.node.close()
    net.node.elder_ledger = height + 1
    assert (await ours.tx_status(signed)).state is TxState.UNKNOWN
    net.node.elder_ledger = height + 2
    assert (await ours.tx_status(signed)).state is TxState.UNSURE
    assert (await ours.tx_status(tx)).state is TxState.UNSURE


async def test_a_used_sequence_proves_no_replacement_to_a_short_history(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    first = await ours.prepare(LockAction(net.terms(ours, theirs)), await ours.next_sequence(), FeeLevel())
    signed = msgspec.structs.replace(first, signed_height=(await ours.tip()).block.height)
    await net.done(ours, LockAction(net.terms(ours, theirs, lifetime=9_000)))
    await net.node.close()
    assert (await ours.tx_status(signed)).state is TxState.REPLACED
    net.node.elder_ledger = (await ours.tip()).block.height
    assert (await ours.tx_status(signed)).state is TxState.UNSURE
