"""Ethereum: several claims that wait go into one transaction, and nothing keeps the others back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
import pytest_asyncio

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import BroadcastOutcome, ChainPort, Claimed, FeeLevel, TxState
from bridge.protocol.types import Asset, LockTerms, Preimage
from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_calls import function, gas_used, selector
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.rig import Scene, Watcher

ALONE = selector("claimNative(uint256,bytes32,bytes32)")
ALONE_OF_ANY_LENGTH = selector("claimBytes(bytes,(address,address,address,uint256,bytes32,uint64,uint32))")
TOGETHER = selector("claimNativeBatch((uint256,bytes32,bytes32)[])")
TOKENS_TOGETHER = selector("claimERC20Batch(address,(uint256,bytes32,uint256,address)[])")


def secret(index: int) -> Preimage:
    return Preimage(b"the secret of a batched claim%3d" % index)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> EthereumRig:
    made: EthereumRig = await rigs.get("ethereum")
    return made


async def locked(
    scene: Scene,
    sender: ChainPort,
    recipient: ChainPort,
    preimages: Sequence[Preimage],
    asset: Asset | None = None,
) -> list[LockTerms]:
    """Make one lock for each preimage, all in one block."""
    first = await sender.next_sequence()
    assert first is not None
    made = []
    for index, preimage in enumerate(preimages):
        terms = await scene.terms(sender, recipient, preimage, asset=asset)
        tx = await sender.prepare(LockAction(terms), first + index, FeeLevel())
        assert (await sender.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
        made.append(terms)
    await scene.rig.devnet.mine(1)
    return made


def together(port: ChainPort, *claims: tuple[LockTerms, Preimage]) -> ClaimAction:
    first, *others = (ClaimAction(terms, preimage) for terms, preimage in claims)
    return msgspec.structs.replace(first, others=tuple(others))


async def claimed(watcher: Watcher) -> dict[str, Preimage]:
    return {
        event.lock_id: event.preimage for event in (await watcher.look()).events if isinstance(event, Claimed)
    }


@pytest.mark.parametrize("kind", ["ether", "token"])
async def test_claims_that_wait_are_made_together_and_each_shows_its_preimage(
    scene: Scene, rig: EthereumRig, kind: str
) -> None:
    asset = rig.native if kind == "ether" else rig.token
    ours, theirs = await scene.port("bridge"), await scene.port("user", asset)
    secrets = [secret(index) for index in range(5)]
    locks = await locked(scene, theirs, ours, secrets, asset)
    alone = await ours.prepare(ClaimAction(locks[0], secrets[0]), await ours.next_sequence(), FeeLevel())
    watcher = Watcher(ours)
    await watcher.look()
    before = await ours.balance(ours.account, asset)
    tx = await scene.done(ours, together(ours, *zip(locks, secrets, strict=True)))
    assert function(tx) == (TOGETHER if kind == "ether" else TOKENS_TOGETHER)
    assert await claimed(watcher) == {
        ours.lock_id(terms): preimage for terms, preimage in zip(locks, secrets, strict=True)
    }
    gained = await ours.balance(ours.account, asset) - before
    cost = tx.max_cost if kind == "ether" else 0
    assert 5 * locks[0].amount - cost <= gained <= 5 * locks[0].amount
    assert await gas_used(rig, tx) < tx.fee["gas"]
    assert tx.fee["gas"] < 5 * alone.fee["gas"] // 2


async def test_what_is_not_open_any_more_is_left_out_even_if_it_is_the_first(scene: Scene) -> None:
    ours, theirs, stranger = [await scene.port(role) for role in ("bridge", "user", "stranger")]
    secrets = [secret(index) for index in range(4)]
    locks = await locked(scene, theirs, ours, secrets)
    for index in (0, 2):
        await scene.done(stranger, ClaimAction(locks[index], secrets[index]))
    watcher = Watcher(ours)
    await watcher.look()
    whole = together(ours, *zip(locks, secrets, strict=True))
    tx = await scene.done(ours, whole)
    assert function(tx) == TOGETHER
    assert await claimed(watcher) == {ours.lock_id(locks[index]): secrets[index] for index in (1, 3)}
    with pytest.raises(ActionRefusedError, match="NotOpen"):
        await ours.prepare(whole, await ours.next_sequence(), FeeLevel())


async def test_one_that_is_left_is_claimed_alone(scene: Scene) -> None:
    ours, theirs, stranger = [await scene.port(role) for role in ("bridge", "user", "stranger")]
    secrets = [secret(index) for index in range(2)]
    locks = await locked(scene, theirs, ours, secrets)
    await scene.done(stranger, ClaimAction(locks[0], secrets[0]))
    watcher = Watcher(ours)
    await watcher.look()
    tx = await scene.done(ours, together(ours, *zip(locks, secrets, strict=True)))
    assert function(tx) == ALONE
    assert await claimed(watcher) == {ours.lock_id(locks[1]): secrets[1]}


async def test_a_preimage_of_another_length_goes_alone_and_the_others_without_it(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    secrets = [secret(0), Preimage(b"short"), secret(1)]
    locks = await locked(scene, theirs, ours, secrets)
    pairs = list(zip(locks, secrets, strict=True))
    watcher = Watcher(ours)
    await watcher.look()
    tx = await ours.prepare(together(ours, pairs[1], pairs[0]), await ours.next_sequence(), FeeLevel())
    assert function(tx) == ALONE_OF_ANY_LENGTH
    assert function(await scene.done(ours, together(ours, *pairs))) == TOGETHER
    assert set(await claimed(watcher)) == {ours.lock_id(locks[index]) for index in (0, 2)}
    await scene.done(ours, together(ours, pairs[1], pairs[0]))
    assert await claimed(watcher) == {ours.lock_id(locks[1]): secrets[1]}
    more = list(
        zip(await locked(scene, theirs, ours, [secret(3), secret(4)]), [secret(3), secret(4)], strict=True)
    )
    assert function(await scene.done(ours, together(ours, pairs[1], *more))) == TOGETHER


async def test_what_does_not_belong_into_the_batch_is_left_out_of_it(scene: Scene, rig: EthereumRig) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user", rig.token)
    good = [secret(0), secret(1)]
    locks = await locked(scene, theirs, ours, good)
    (elsewhere,) = await locked(scene, theirs, theirs, [secret(2)])
    (token,) = await locked(scene, theirs, ours, [secret(3)], rig.token)
    old = msgspec.structs.replace(locks[0], contract=rig.other_address())
    action = together(
        ours,
        (locks[0], good[0]),
        (elsewhere, secret(2)),
        (token, secret(3)),
        (old, good[0]),
        (locks[1], secret(9)),
        (locks[1], good[1]),
        (locks[0], good[0]),
    )
    watcher = Watcher(ours)
    await watcher.look()
    await scene.done(ours, action)
    assert set(await claimed(watcher)) == {ours.lock_id(terms) for terms in locks}


async def test_a_wrong_preimage_of_the_first_is_refused_while_its_lock_is_open(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    locks = await locked(scene, theirs, ours, [secret(0), secret(1)])
    wrong = together(ours, (locks[0], secret(9)), (locks[1], secret(1)))
    with pytest.raises(ActionRefusedError, match="preimage"):
        await ours.prepare(wrong, await ours.next_sequence(), FeeLevel())


async def test_no_more_than_max_claims_go_into_one_transaction(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    assert ours.max_claims > 1
    secrets = [secret(index) for index in range(ours.max_claims + 2)]
    locks = await locked(scene, theirs, ours, secrets)
    watcher = Watcher(ours)
    await watcher.look()
    whole = together(ours, *zip(locks, secrets, strict=True))
    await scene.done(ours, whole)
    first = await claimed(watcher)
    assert list(first) == [ours.lock_id(terms) for terms in locks[: ours.max_claims]]
    await scene.done(ours, whole)
    assert len(await claimed(watcher)) == 2


async def test_a_full_batch_can_be_made_for_somebody_else(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), scene.rig.port(f"{scene.name}/user without coins")
    secrets = [secret(index) for index in range(ours.max_claims)]
    locks = await locked(scene, ours, theirs, secrets)
    await scene.done(ours, together(ours, *zip(locks, secrets, strict=True)))
    assert await ours.balance(theirs.account, scene.rig.native) == sum(terms.amount for terms in locks)


async def test_a_batch_is_replaced_by_one_that_bids_more_and_bears_that_one_is_spent_meanwhile(
    scene: Scene,
) -> None:
    ours, theirs, stranger = [await scene.port(role) for role in ("bridge", "user", "stranger")]
    secrets = [secret(index) for index in range(3)]
    locks = await locked(scene, theirs, ours, secrets)
    action = together(ours, *zip(locks, secrets, strict=True))
    watcher = Watcher(ours)
    await watcher.look()
    slow = await scene.sent(ours, action)
    fast = await ours.prepare(action, slow.sequence, FeeLevel(1, slow.fee))
    assert fast.fee["max_fee"] > slow.fee["max_fee"]
    assert (await ours.broadcast(fast)).outcome is BroadcastOutcome.ACCEPTED
    overtaking = await stranger.prepare(
        ClaimAction(locks[1], secrets[1]), await stranger.next_sequence(), FeeLevel(2, fast.fee)
    )
    assert (await stranger.broadcast(overtaking)).outcome is BroadcastOutcome.ACCEPTED
    await scene.rig.devnet.mine(1)
    for tx, state in (
        (overtaking, TxState.INCLUDED),
        (fast, TxState.INCLUDED),
        (slow, TxState.REPLACED),
    ):
        assert (await ours.tx_status(tx)).state is state
    assert len(await claimed(watcher)) == 3


async def test_locks_in_lanes_and_in_slots_of_their_own_are_claimed_together(scene: Scene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    (fresh,) = await locked(scene, theirs, ours, [secret(0)])
    lane = msgspec.structs.replace(fresh, lane=3)
    await scene.done(theirs, LockAction(lane))
    watcher = Watcher(ours)
    await watcher.look()
    await scene.done(ours, together(ours, (fresh, secret(0)), (lane, secret(0))))
    assert set(await claimed(watcher)) == {ours.lock_id(fresh), ours.lock_id(lane)}
