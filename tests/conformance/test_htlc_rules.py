"""Every chain: the one meaning of an HTLC (swap-protocol), seen through the port."""

from __future__ import annotations

import msgspec
import pytest

from bridge.chains.actions import ClaimAction, CooperativeRefundAction, LockAction, RefundAction
from bridge.chains.errors import ActionRefusedError, InsufficientFundsError, PortError
from bridge.chains.port import Claimed, FeeLevel, Locked, LockStatus
from bridge.protocol.types import Amount, Preimage, Purpose
from tests.conformance.rig import Scene, Watcher

SECRET = Preimage(b"the preimage of the HTLC's rules")
SIZES = (0, 1, 31, 32, 33, 64)


async def test_the_recipient_claims_and_is_paid(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    await scene.done(ours, LockAction(terms))
    before = await theirs.balance(theirs.account, scene.rig.native)
    tx = await scene.done(theirs, ClaimAction(terms, SECRET))
    paid = await theirs.balance(theirs.account, scene.rig.native) - before
    assert terms.amount - tx.max_cost <= paid < terms.amount
    assert await ours.read_lock(ours.lock_id(terms), terms) in {LockStatus.CLAIMED, LockStatus.SPENT}


async def test_a_claim_by_a_stranger_pays_the_recipient_alone(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), scene.rig.port(f"{scene.name}/user without coins")
    stranger = await scene.port("stranger")
    terms = await scene.terms(ours, theirs, SECRET)
    await scene.done(ours, LockAction(terms))
    before = await stranger.balance(stranger.account, scene.rig.native)
    if not scene.rig.traits.claims_by_anyone:
        with pytest.raises(ActionRefusedError):
            await stranger.prepare(ClaimAction(terms, SECRET), await stranger.next_sequence(), FeeLevel())
        return
    tx = await scene.done(stranger, ClaimAction(terms, SECRET))
    kept = scene.rig.traits.reserve
    assert await ours.balance(theirs.account, scene.rig.native) == terms.amount - kept
    cost = before - await stranger.balance(stranger.account, scene.rig.native)
    assert 0 < cost <= tx.max_cost


async def test_a_claim_is_good_after_the_deadline_as_long_as_nobody_has_refunded(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET, lifetime=100)
    await scene.done(ours, LockAction(terms))
    await scene.rig.devnet.advance_time(1_000)
    await scene.done(theirs, ClaimAction(terms, SECRET))
    with pytest.raises(ActionRefusedError):
        await ours.prepare(RefundAction(terms), await ours.next_sequence(), FeeLevel())


async def test_a_refund_is_refused_before_the_deadline_and_good_from_its_very_second(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET, lifetime=500)
    await scene.done(ours, LockAction(terms))
    now = (await ours.tip()).time
    await scene.rig.devnet.advance_time(terms.deadline - now - 3)
    seen: list[int] = []
    while (now := (await ours.tip()).time) < terms.deadline:
        seen.append(now)
        with pytest.raises(ActionRefusedError):
            await ours.prepare(RefundAction(terms), await ours.next_sequence(), FeeLevel())
        await scene.rig.devnet.advance_time(1)
    assert seen, "the test must have looked before the deadline"
    assert not scene.rig.exact_clock or (seen[-1], now) == (terms.deadline - 1, terms.deadline)
    before = await ours.balance(ours.account, scene.rig.native)
    tx = await scene.done(ours, RefundAction(terms))
    back = await ours.balance(ours.account, scene.rig.native) - before
    freed = scene.rig.traits.bound_by_lock
    assert terms.amount + freed - tx.max_cost <= back < terms.amount + freed
    assert await ours.read_lock(ours.lock_id(terms), terms) in {LockStatus.REFUNDED, LockStatus.SPENT}
    with pytest.raises(ActionRefusedError):
        await theirs.prepare(ClaimAction(terms, SECRET), await theirs.next_sequence(), FeeLevel())


async def test_a_refund_by_a_stranger_pays_the_sender_alone(scene: Scene) -> None:
    ours, theirs, stranger = [await scene.port(role) for role in ("bridge", "user", "stranger")]
    terms = await scene.terms(ours, theirs, SECRET, lifetime=100)
    await scene.done(ours, LockAction(terms))
    await scene.rig.devnet.advance_time(200)
    before = await ours.balance(ours.account, scene.rig.native)
    if not scene.rig.traits.refunds_by_anyone:
        with pytest.raises(ActionRefusedError):
            await stranger.prepare(RefundAction(terms), await stranger.next_sequence(), FeeLevel())
        return
    await scene.done(stranger, RefundAction(terms))
    freed = terms.amount + scene.rig.traits.bound_by_lock
    assert await ours.balance(ours.account, scene.rig.native) == before + freed


async def test_the_recipient_may_give_a_lock_back_before_its_deadline(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    for lifetime in (10_000, 20_000):
        terms = await scene.terms(theirs, ours, SECRET, lifetime=lifetime)
        await scene.done(theirs, LockAction(terms))
        before = await ours.balance(theirs.account, scene.rig.native)
        if not scene.rig.traits.gives_back_early:
            with pytest.raises(ActionRefusedError):
                await ours.prepare(CooperativeRefundAction(terms), await ours.next_sequence(), FeeLevel())
            return
        await scene.done(ours, CooperativeRefundAction(terms))
        freed = terms.amount + scene.rig.traits.bound_by_lock
        assert await ours.balance(theirs.account, scene.rig.native) == before + freed
        status = await ours.read_lock(ours.lock_id(terms), terms)
        assert status in {LockStatus.REFUNDED, LockStatus.SPENT}


async def test_nobody_but_the_recipient_may_give_a_lock_back_early(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    await scene.done(theirs, LockAction(terms))
    with pytest.raises(ActionRefusedError):
        await theirs.prepare(CooperativeRefundAction(terms), await theirs.next_sequence(), FeeLevel())


async def test_a_wrong_preimage_is_refused(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    await scene.done(ours, LockAction(terms))
    for wrong in (b"", SECRET.reveal()[:-1] + b"?", SECRET.reveal() + b"\0"):
        with pytest.raises(ActionRefusedError):
            await theirs.prepare(
                ClaimAction(terms, Preimage(wrong)), await theirs.next_sequence(), FeeLevel()
            )


@pytest.mark.parametrize("size", SIZES)
async def test_every_chain_takes_preimages_of_this_size(scene: Scene, size: int) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    preimage = Preimage(bytes(range(1, size + 1)))
    terms = await scene.terms(ours, theirs, preimage)
    await scene.done(ours, LockAction(terms))
    watcher = Watcher(ours)
    await watcher.look()
    tx = await scene.done(theirs, ClaimAction(terms, preimage))
    scan = await watcher.look()
    assert scan.events == (Claimed(scan.blocks[-1], tx.tx_id, ours.lock_id(terms), preimage),)


async def test_a_lock_is_itself_only_with_all_of_its_terms(scene: Scene) -> None:
    ours, theirs, stranger = [await scene.port(role) for role in ("bridge", "user", "stranger")]
    terms = await scene.terms(ours, theirs, SECRET)
    lock_id = ours.lock_id(terms)
    assert await ours.read_lock(lock_id, terms) is LockStatus.ABSENT
    await scene.done(ours, LockAction(terms))
    assert await ours.read_lock(lock_id, terms) is LockStatus.OPEN
    for change in (
        {"sender": stranger.account},
        {"recipient": stranger.account},
        {"amount": terms.amount + 1},
        {"amount": terms.amount - 1},
        {"hashlock": Preimage(b"other").hashlock()},
        {"deadline": terms.deadline + 1},
    ):
        other = msgspec.structs.replace(terms, **change)
        assert ours.lock_id(other) != lock_id
        assert await ours.read_lock(ours.lock_id(other), other) is LockStatus.ABSENT
        assert await ours.read_lock(lock_id, other) is LockStatus.ABSENT


async def test_a_stranger_with_the_same_hashlock_does_no_harm(scene: Scene) -> None:
    ours, theirs, stranger = [await scene.port(role) for role in ("bridge", "user", "stranger")]
    terms = await scene.terms(ours, theirs, SECRET)
    least = scene.rig.traits.least_lock
    squatting = msgspec.structs.replace(
        terms, sender=stranger.account, recipient=stranger.account, amount=least
    )
    same_but_sender = msgspec.structs.replace(terms, sender=stranger.account)
    await scene.done(stranger, LockAction(squatting))
    await scene.done(stranger, LockAction(same_but_sender))
    await scene.done(ours, LockAction(terms))
    await scene.done(stranger, ClaimAction(squatting, SECRET))
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    await scene.done(theirs, ClaimAction(terms, SECRET))
    assert await ours.read_lock(ours.lock_id(same_but_sender), same_but_sender) is LockStatus.OPEN


async def test_the_same_terms_cannot_be_locked_twice_at_once(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    await scene.done(ours, LockAction(terms))
    with pytest.raises(ActionRefusedError):
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())


async def test_a_lock_is_made_by_its_sender_alone(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    with pytest.raises(ActionRefusedError):
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())


async def test_a_lock_elsewhere_is_refused_before_anything_is_signed(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    if not ours.contract or scene.rig.name == "fake":
        return  # there is only one place for locks on this chain
    terms = msgspec.structs.replace(
        await scene.terms(ours, theirs, SECRET), contract=scene.rig.other_address()
    )
    with pytest.raises(ActionRefusedError):
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())


async def test_an_ordinary_wallet_locks_claims_and_refunds_what_the_port_gives_it(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    claimed = await scene.terms(theirs, ours, SECRET)
    refunded = await scene.terms(theirs, ours, SECRET, lifetime=300)
    for terms in (claimed, refunded):
        await scene.from_wallet("user", Purpose.LOCK, terms)
        assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    await scene.from_wallet("bridge", Purpose.CLAIM, claimed, SECRET)
    status = await ours.read_lock(ours.lock_id(claimed), claimed)
    assert status in {LockStatus.CLAIMED, LockStatus.SPENT}
    await scene.rig.devnet.advance_time(600)
    await scene.from_wallet("user", Purpose.REFUND, refunded)
    status = await ours.read_lock(ours.lock_id(refunded), refunded)
    assert status in {LockStatus.REFUNDED, LockStatus.SPENT}


async def test_a_token_is_approved_once_then_locked_and_claimed(scene: Scene) -> None:
    token = scene.rig.token
    if token is None:
        assert await (await scene.port("bridge")).setup_actions([scene.rig.native]) == ()
        return
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    approvals = int(scene.rig.traits.approves_tokens)
    assert len(await ours.setup_actions([scene.rig.native, token])) == approvals
    await scene.port("bridge", token)
    assert await ours.setup_actions([scene.rig.native, token]) == ()
    await scene.rig.ready_to_receive(f"{scene.name}/user", token)
    terms = await scene.terms(ours, theirs, SECRET, asset=token)
    watcher = Watcher(ours)
    await watcher.look()
    before = await ours.balance(ours.account, token)
    await scene.done(ours, LockAction(terms))
    (event,) = (await watcher.look()).events
    assert isinstance(event, Locked)
    assert event.terms == terms
    assert await ours.balance(ours.account, token) == before - terms.amount
    await scene.done(theirs, ClaimAction(terms, SECRET))
    assert await ours.balance(theirs.account, token) == terms.amount


async def test_a_token_is_locked_and_refunded_by_an_ordinary_wallet_with_its_approval(scene: Scene) -> None:
    token = scene.rig.token
    if token is None:
        assert await (await scene.port("bridge")).setup_actions([scene.rig.native]) == ()
        return
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    await scene.rig.devnet.fund(theirs.account, token, Amount(scene.rig.unit))
    await scene.rig.ready_to_receive(f"{scene.name}/bridge", token)
    terms = await scene.terms(theirs, ours, SECRET, asset=token, lifetime=300)
    await scene.from_wallet("user", Purpose.LOCK, terms)
    assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
    assert await ours.balance(theirs.account, token) == 0
    await scene.rig.devnet.advance_time(600)
    await scene.from_wallet("user", Purpose.REFUND, terms)
    assert await ours.balance(theirs.account, token) == scene.rig.unit


async def test_a_token_that_is_lacking_is_insufficient_funds(scene: Scene) -> None:
    token = scene.rig.token
    if token is None:
        assert await (await scene.port("bridge")).setup_actions([scene.rig.native]) == ()
        return
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET, asset=token)
    with pytest.raises((InsufficientFundsError, PortError)) as refusal:
        await ours.prepare(LockAction(terms), await ours.next_sequence(), FeeLevel())
    assert isinstance(refusal.value, InsufficientFundsError)
