"""Every chain: what becomes of our own transactions."""

from __future__ import annotations

import pytest

from bridge.chains.actions import AnchorAction, CancelAction, ClaimAction, LockAction
from bridge.chains.errors import (
    ActionRefusedError,
    BadAddressError,
    InsufficientFundsError,
    PortUnavailableError,
)
from bridge.chains.port import (
    BroadcastOutcome,
    ChainPort,
    FeeLevel,
    LockStatus,
    SignedTx,
    TxState,
)
from bridge.protocol.types import Amount, Preimage
from tests.conformance.rig import Scene, Watcher

SECRET = Preimage(b"another preimage, 32 bytes long.")
LANDED = {BroadcastOutcome.ALREADY_KNOWN, BroadcastOutcome.SEQUENCE_USED}


async def offer(scene: Scene, port: ChainPort, tx: SignedTx) -> None:
    """Broadcast what may not land yet: a chain that keeps no such transactions says it is unavailable."""
    try:
        await port.broadcast(tx)
    except PortUnavailableError:
        assert not scene.rig.traits.many_per_block


async def expect_no_sequences(scene: Scene) -> None:
    """On a chain without sequences two transactions of one account do not wait for each other, nothing can be
    cancelled, and everything expires."""
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    assert await ours.next_sequence() is None
    first = await scene.sent(ours, LockAction(await scene.terms(ours, theirs, SECRET)))
    second = await scene.sent(ours, LockAction(await scene.terms(ours, theirs, SECRET, lifetime=20_000)))
    assert first.sequence is None
    assert (first.valid_until_height is None) != (first.valid_until_time is None)
    await scene.rig.devnet.mine(1)
    for tx in (first, second):
        assert (await ours.tx_status(tx)).state is TxState.INCLUDED
    with pytest.raises(ActionRefusedError):
        await ours.prepare(CancelAction(), None, FeeLevel())


async def test_broadcasting_again_is_harmless(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    tx = await scene.sent(ours, LockAction(terms))
    again = (await ours.broadcast(tx)).outcome
    if scene.rig.traits.has_sequences:
        assert again is BroadcastOutcome.ALREADY_KNOWN
        assert (await ours.tx_status(tx)).state is TxState.PENDING
    else:
        assert again in {BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN}
        waiting = TxState.UNKNOWN if scene.rig.name == "solana" else TxState.PENDING
        assert (await ours.tx_status(tx)).state is waiting
    await scene.rig.devnet.mine(1)
    assert (await ours.broadcast(tx)).outcome in LANDED
    status = await ours.tx_status(tx)
    assert (status.state, status.confirmations) == (TxState.INCLUDED, 1)
    assert status.block == (await ours.tip()).block
    await scene.rig.devnet.mine(1)
    assert (await ours.tx_status(tx)).confirmations == 2


async def test_a_replacement_bids_more_and_the_replaced_transaction_is_known_as_such(scene: Scene) -> None:
    if not scene.rig.traits.has_sequences:
        await expect_no_sequences(scene)
        return
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    slow = await scene.sent(ours, LockAction(terms))
    fast = await ours.prepare(LockAction(terms), slow.sequence, FeeLevel(1, slow.fee))
    assert fast.sequence == slow.sequence
    assert fast.max_cost > slow.max_cost
    assert (await ours.broadcast(fast)).outcome is BroadcastOutcome.ACCEPTED
    await scene.rig.devnet.mine(1)
    assert (await ours.tx_status(fast)).state is TxState.INCLUDED
    assert (await ours.tx_status(slow)).state is TxState.REPLACED
    assert (await ours.broadcast(slow)).outcome is BroadcastOutcome.SEQUENCE_USED


async def test_a_rival_that_bids_no_more_is_underpriced(scene: Scene) -> None:
    if not scene.rig.traits.has_sequences:
        await expect_no_sequences(scene)
        return
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    await scene.sent(ours, LockAction(await scene.terms(ours, theirs, SECRET)))
    other = await scene.terms(ours, theirs, SECRET, lifetime=20_000)
    rival = await ours.prepare(LockAction(other), await ours.next_sequence(), FeeLevel())
    assert (await ours.broadcast(rival)).outcome is BroadcastOutcome.UNDERPRICED


async def test_a_transaction_dropped_from_the_mempool_is_unknown_and_can_be_sent_again(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    tx = await scene.sent(ours, LockAction(await scene.terms(ours, theirs, SECRET)))
    await scene.rig.devnet.reorg(1, drop=[tx.tx_id])
    assert (await ours.tx_status(tx)).state is TxState.UNKNOWN
    assert (await ours.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await scene.rig.devnet.mine(1)
    assert (await ours.tx_status(tx)).state is TxState.INCLUDED


async def test_a_transaction_beyond_a_gap_waits_until_the_gap_is_filled(scene: Scene) -> None:
    if not scene.rig.traits.has_sequences:
        await expect_no_sequences(scene)
        return
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    first = await ours.next_sequence()
    assert first is not None
    late = await ours.prepare(LockAction(await scene.terms(ours, theirs, SECRET)), first + 1, FeeLevel())
    await offer(scene, ours, late)
    await scene.rig.devnet.mine(1)
    assert (await ours.tx_status(late)).state in {TxState.PENDING, TxState.UNKNOWN}
    assert await ours.next_sequence() == first
    filler = await ours.prepare(CancelAction(), first, FeeLevel())
    assert (await ours.broadcast(filler)).outcome is BroadcastOutcome.ACCEPTED
    await offer(scene, ours, late)
    await scene.rig.devnet.mine(1)
    assert (await ours.tx_status(filler)).state is TxState.INCLUDED
    if not scene.rig.traits.many_per_block:
        await offer(scene, ours, late)
        await scene.rig.devnet.mine(1)
    assert (await ours.tx_status(late)).state is TxState.INCLUDED
    assert await ours.next_sequence() == first + 2


async def test_a_cancelled_transaction_can_never_land(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET, lifetime=30_000)
    if not scene.rig.traits.has_sequences:
        await expect_no_sequences(scene)
        stuck = await ours.prepare(LockAction(terms), None, FeeLevel())
        if stuck.valid_until_height is not None:
            height = (await ours.tip()).block.height
            await scene.rig.devnet.mine(stuck.valid_until_height - height + 1)
        else:
            assert stuck.valid_until_time is not None
            await scene.rig.devnet.advance_time(stuck.valid_until_time - (await ours.tip()).time + 1)
        assert (await ours.broadcast(stuck)).outcome is BroadcastOutcome.REJECTED
        await scene.rig.devnet.mine(1)
        assert (await ours.tx_status(stuck)).state is TxState.UNKNOWN
        assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.ABSENT
        return
    stuck = await scene.sent(ours, LockAction(terms))
    cancel = await ours.prepare(CancelAction(), stuck.sequence, FeeLevel(1, stuck.fee))
    assert (await ours.broadcast(cancel)).outcome is BroadcastOutcome.ACCEPTED
    await scene.rig.devnet.mine(1)
    assert (await ours.tx_status(stuck)).state is TxState.REPLACED
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.ABSENT


async def test_an_anchor_is_carried_by_zion_and_by_no_other_chain(scene: Scene) -> None:
    ours = await scene.port("bridge")
    anchor = AnchorAction(b"\xa5" * 32, 17)
    if scene.rig.name in {"ethereum", "solana", "stellar", "cardano"}:
        with pytest.raises(ActionRefusedError):
            await ours.prepare(anchor, await ours.next_sequence(), FeeLevel())
    else:
        await scene.done(ours, anchor)


async def test_no_more_is_spent_than_max_cost(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    before = await ours.balance(ours.account, scene.rig.native)
    tx = await scene.done(ours, LockAction(terms))
    spent = before - await ours.balance(ours.account, scene.rig.native)
    assert terms.amount < spent <= terms.amount + tx.max_cost


async def test_fee_estimates_are_of_the_size_of_what_is_paid(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    estimate = await ours.fees(scene.rig.native)
    terms = await scene.terms(ours, theirs, SECRET)
    before = await ours.balance(ours.account, scene.rig.native)
    await scene.done(ours, LockAction(terms))
    between = await ours.balance(ours.account, scene.rig.native)
    start = await ours.balance(theirs.account, scene.rig.native)
    await scene.done(theirs, ClaimAction(terms, SECRET))
    gained = await ours.balance(theirs.account, scene.rig.native) - start
    for paid, expected in (
        (before - between - terms.amount, estimate.lock),
        (terms.amount - gained, estimate.claim),
    ):
        assert expected / 2 <= paid <= expected * 2


async def test_an_account_without_coins_can_send_nothing(scene: Scene) -> None:
    ours = await scene.port("bridge")
    poor = scene.rig.port(f"{scene.name}/poor")
    with pytest.raises(InsufficientFundsError) as refusal:
        await poor.prepare(LockAction(await scene.terms(poor, ours, SECRET)), 0, FeeLevel())
    assert refusal.value.hint


async def test_an_account_cannot_lock_what_it_needs_for_the_fee(scene: Scene) -> None:
    ours, poor = await scene.port("bridge"), scene.rig.port(f"{scene.name}/poor")
    await scene.rig.devnet.fund(poor.account, scene.rig.native, Amount(scene.rig.unit))
    terms = await scene.terms(poor, ours, SECRET)
    with pytest.raises(InsufficientFundsError):
        await poor.prepare(LockAction(terms), 0, FeeLevel())


async def test_a_node_that_is_down_is_unavailable_and_everything_goes_on_when_it_is_back(
    scene: Scene,
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    watcher = Watcher(ours)
    await watcher.look()
    tx = await scene.done(ours, LockAction(terms))
    await scene.rig.kill_node()
    for attempt in (
        ours.tip(),
        ours.scan(watcher.ring, 10),
        ours.broadcast(tx),
        ours.tx_status(tx),
        ours.read_lock(ours.lock_id(terms), terms),
        ours.balance(ours.account, scene.rig.native),
        ours.next_sequence(),
        theirs.prepare(ClaimAction(terms, SECRET), 1, FeeLevel()),
    ):
        with pytest.raises(PortUnavailableError):
            await attempt
    await scene.rig.start_node()
    assert [event.tx_id for event in (await watcher.look()).events] == [tx.tx_id]
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    assert (await ours.tx_status(tx)).state is TxState.INCLUDED
    await scene.done(theirs, ClaimAction(terms, SECRET))


async def test_addresses_are_recognised_and_others_refused(scene: Scene) -> None:
    port = await scene.port("bridge")
    address = scene.rig.other_address()
    assert port.parse_address(address) == address
    assert port.parse_address(port.account) == port.account
    for wrong in ("", "not an address", address[:-1] + "!", address + "0" * 60):
        with pytest.raises(BadAddressError) as refusal:
            port.parse_address(wrong)
        assert refusal.value.hint


async def test_secrets_do_not_show_in_what_the_port_prints(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    await scene.done(ours, LockAction(terms))
    action = ClaimAction(terms, SECRET)
    tx = await theirs.prepare(action, await theirs.next_sequence(), FeeLevel())
    shown = f"{theirs!r} {theirs} {action!r} {tx!r}"
    assert SECRET.reveal().hex() not in shown
    assert repr(SECRET.reveal())[2:-1] not in shown
