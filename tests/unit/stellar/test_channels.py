"""Channel accounts: many transactions in one ledger, and nothing but the chain to remember them."""

from __future__ import annotations

import pytest

from bridge.chains.actions import CancelAction, LockAction
from bridge.chains.errors import InsufficientFundsError
from bridge.chains.port import BroadcastOutcome, FeeLevel, TxState
from bridge.protocol.types import Preimage
from relayers.stellar.adapter import StellarPort
from relayers.stellar.channels import CHANNEL_BASE
from tests.unit.stellar.conftest import Net


async def test_without_channels_a_second_transaction_waits_for_the_next_ledger(
    net: Net, ours: StellarPort, theirs: StellarPort
) -> None:
    first = await net.sent(ours, LockAction(net.terms(ours, theirs)))
    assert first.sequence is not None
    other = net.terms(ours, theirs, amount=10**7)
    second = await ours.prepare(LockAction(other), first.sequence + 1, FeeLevel())
    assert (await ours.broadcast(second)).outcome is BroadcastOutcome.LATER
    await net.node.close()
    assert (await ours.broadcast(second)).outcome is BroadcastOutcome.ACCEPTED


async def test_channels_are_made_by_a_set_up_action_and_needed_before(net: Net) -> None:
    ours, theirs = await net.port("ours", more={"channels": 3}), await net.port("theirs")
    with pytest.raises(InsufficientFundsError, match="channel account"):
        await ours.prepare(LockAction(net.terms(ours, theirs)), CHANNEL_BASE, FeeLevel())
    assert (await ours.next_sequence() or 0) < CHANNEL_BASE
    await _set_up(net, "ours", 3)
    assert await ours.setup_actions([]) == ()
    assert await ours.next_sequence() == CHANNEL_BASE


async def _set_up(net: Net, name: str, channels: int) -> None:
    port = await net.port(name, more={"channels": channels})
    for action in await port.setup_actions([]):
        await net.done(port, action)


async def test_with_channels_many_land_in_one_ledger(net: Net) -> None:
    await _set_up(net, "ours", 4)
    ours, theirs = await net.port("ours", more={"channels": 4}), await net.port("theirs")
    sent = []
    for sequence in range(4):
        terms = net.terms(ours, theirs, preimage=Preimage(bytes([sequence])))
        action = LockAction(terms)
        sent.append(await net.sent(ours, action, CHANNEL_BASE + sequence))
    await net.node.close()
    for tx in sent:
        status = await ours.tx_status(tx)
        assert (status.state, status.confirmations) == (TxState.INCLUDED, 1)
    assert await ours.next_sequence() == CHANNEL_BASE + 4


async def test_a_sequence_left_out_is_the_next_one_and_holds_nobody_up(net: Net) -> None:
    await _set_up(net, "ours", 2)
    ours = await net.port("ours", more={"channels": 2})
    for sequence in (1, 0):
        await net.sent(ours, CancelAction(), CHANNEL_BASE + sequence)
        await net.node.close()
        assert await ours.next_sequence() == CHANNEL_BASE + (0 if sequence == 1 else 2)
    third = await net.sent(ours, CancelAction(), CHANNEL_BASE + 3)
    await net.node.close()
    assert (await ours.tx_status(third)).state is TxState.INCLUDED
    assert await ours.next_sequence() == CHANNEL_BASE + 2


async def test_after_a_crash_the_stored_transaction_is_sent_again_and_lands_once(net: Net) -> None:
    await _set_up(net, "ours", 2)
    before, theirs = await net.port("ours", more={"channels": 2}), await net.port("theirs")
    terms = net.terms(before, theirs)
    stored = await before.prepare(LockAction(terms), CHANNEL_BASE, FeeLevel())
    # Killed after it was stored, before it was sent:
    after = await net.port("ours", more={"channels": 2})
    assert await after.next_sequence() == CHANNEL_BASE
    assert (await after.tx_status(stored)).state is TxState.UNKNOWN
    assert (await after.broadcast(stored)).outcome is BroadcastOutcome.ACCEPTED
    # Killed after it was sent, before that was stored:
    again = await net.port("ours", more={"channels": 2})
    assert (await again.broadcast(stored)).outcome is BroadcastOutcome.ALREADY_KNOWN
    assert (await again.tx_status(stored)).state is TxState.PENDING
    await net.node.close()
    # Killed after it landed:
    last = await net.port("ours", more={"channels": 2})
    assert (await last.broadcast(stored)).outcome is BroadcastOutcome.ALREADY_KNOWN
    assert (await last.tx_status(stored)).state is TxState.INCLUDED
    assert await last.next_sequence() == CHANNEL_BASE + 1


async def test_two_workers_on_one_sequence_land_one_transaction(net: Net) -> None:
    await _set_up(net, "ours", 2)
    one, other = await net.port("ours", more={"channels": 2}), await net.port("ours", more={"channels": 2})
    theirs = await net.port("theirs")
    terms = net.terms(one, theirs)
    first = await one.prepare(LockAction(terms), CHANNEL_BASE, FeeLevel())
    await net.node.close()
    second = await other.prepare(LockAction(terms), CHANNEL_BASE, FeeLevel())
    assert (await one.broadcast(first)).outcome is BroadcastOutcome.ACCEPTED
    assert (await other.broadcast(second)).outcome is BroadcastOutcome.UNDERPRICED
    await net.node.close()
    assert (await other.broadcast(second)).outcome is BroadcastOutcome.SEQUENCE_USED
    assert (await other.tx_status(second)).state is TxState.REPLACED


async def test_a_fee_bump_replaces_what_is_stuck_on_a_channel(net: Net) -> None:
    await _set_up(net, "ours", 2)
    ours, theirs = await net.port("ours", more={"channels": 2}), await net.port("theirs")
    terms = net.terms(ours, theirs)
    slow = await net.sent(ours, LockAction(terms), CHANNEL_BASE + 1)
    fast = await ours.prepare(LockAction(terms), CHANNEL_BASE + 1, FeeLevel(1, slow.fee))
    assert (await ours.broadcast(fast)).outcome is BroadcastOutcome.ACCEPTED
    await net.node.close()
    assert (await ours.tx_status(fast)).state is TxState.INCLUDED
    assert (await ours.tx_status(slow)).state is TxState.REPLACED
