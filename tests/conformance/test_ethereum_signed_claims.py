"""Ethereum: claims for recipients without ether, who sign what the relayer may keep of the amount."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from eth_account import Account

from bridge.chains.actions import ClaimAction, CooperativeRefundAction, LockAction
from bridge.chains.errors import ActionRefusedError, BadAuthorizationError
from bridge.chains.port import Authorizer, ChainPort, Claimed, FeeLevel, LockStatus, SignedTx, UnsignedTx
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, Asset, LockTerms, Preimage
from relayers.evm import htlc
from relayers.evm.adapter import open_port
from relayers.evm.authorizing import EXPIRY_MARGIN, FORMAT, MAX_SIGNATURE, decode
from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_calls import call, deploy, function, rpc, selector
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.rig import Scene, Watcher
from tests.unit.ethereum_contract.evm import compiled

SECRET = Preimage(b"a preimage for those without gas")
AMOUNT = 10**17
TERMS = "(address,address,address,uint256,bytes32,uint64,uint32)"
FOR_A_FEE = selector(f"claimFor(bytes,{TERMS},uint256,uint256,uint256,uint256,bytes)")
ORDINARY = selector("claimNative(uint256,bytes32,bytes32)")
ORDINARY_TOKEN = selector("claimERC20(uint256,bytes32,address,uint256,address)")
SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BURNER = bytes.fromhex("620800005f205000")
"""Code that hashes 512 KiB, about 670,000 gas, whenever it is paid or called."""

CREATES_BURNER = bytes.fromhex("60088060095f395ff3") + BURNER


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> EthereumRig:
    made: EthereumRig = await rigs.get("ethereum")
    return made


def authorizer(port: ChainPort) -> Authorizer:
    assert port.authorizer is not None
    return port.authorizer


@dataclass
class Swap:
    """A lock of the bridge's for a user without ether."""

    scene: Scene
    ours: ChainPort
    theirs: ChainPort
    terms: LockTerms

    async def dear(self) -> int:
        """What the claim is expected to cost, in wei."""
        return (await self.ours.fees(self.terms.asset)).authorized_claim

    async def signed(self, max_fee: int) -> bytes:
        """Let the user sign what the bridge asks for."""
        request = await authorizer(self.ours).request(self.terms, Amount(max_fee))
        answer = await authorizer(self.theirs).sign(self.terms, request, Amount(max_fee))
        return await authorizer(self.ours).check(self.terms, answer)

    async def prepared(self, authorization: bytes) -> SignedTx:
        action = msgspec.structs.replace(ClaimAction(self.terms, SECRET), authorization=authorization)
        return await self.ours.prepare(action, await self.ours.next_sequence(), FeeLevel())

    async def claimed(self, authorization: bytes) -> SignedTx:
        action = msgspec.structs.replace(ClaimAction(self.terms, SECRET), authorization=authorization)
        return await self.scene.done(self.ours, action)

    async def received(self) -> int:
        return await self.ours.balance(self.terms.recipient, self.terms.asset)


async def locked(
    scene: Scene,
    *,
    asset: Asset | None = None,
    lane: int = 0,
    recipient: str = "",
    lifetime: int = 10_000,
) -> Swap:
    ours = await scene.port("bridge", *([asset] if asset else []))
    theirs = scene.rig.port(f"{scene.name}/user without coins")
    terms = await scene.terms(ours, theirs, SECRET, asset=asset, lifetime=lifetime)
    terms = msgspec.structs.replace(terms, amount=AMOUNT, lane=lane, recipient=recipient or theirs.account)
    await scene.done(ours, LockAction(terms))
    return Swap(scene, ours, theirs, terms)


# ---------------------------------------------------------------------- the fee


@pytest.mark.parametrize("lane", [0, 5])
async def test_a_user_without_ether_gets_all_but_what_the_claim_costs(scene: Scene, lane: int) -> None:
    swap = await locked(scene, lane=lane)
    max_fee = AMOUNT // 2
    before = await swap.ours.balance(swap.ours.account, swap.terms.asset)
    tx = await swap.claimed(await swap.signed(max_fee))
    assert function(tx) == FOR_A_FEE
    fee = swap.terms.amount - await swap.received()
    assert 0 < fee < max_fee
    assert fee <= tx.max_cost
    kept = await swap.ours.balance(swap.ours.account, swap.terms.asset) - before
    assert 0 <= kept < fee, "the fee pays for the claim"
    assert await swap.ours.read_lock(swap.ours.lock_id(swap.terms), swap.terms) is LockStatus.CLAIMED


async def test_the_fee_is_never_more_than_was_signed(scene: Scene) -> None:
    swap = await locked(scene)
    max_fee = await swap.dear() * 8 // 10
    tx = await swap.claimed(await swap.signed(max_fee))
    assert function(tx) == FOR_A_FEE
    assert swap.terms.amount - await swap.received() == max_fee


async def test_a_tokens_fee_is_what_was_signed(scene: Scene, rig: EthereumRig) -> None:
    swap = await locked(scene, asset=rig.token)
    before = await swap.ours.balance(swap.ours.account, rig.token)
    await swap.claimed(await swap.signed(1_000))
    assert await swap.received() == AMOUNT - 1_000
    assert await swap.ours.balance(swap.ours.account, rig.token) == before + 1_000


async def test_the_claim_shows_its_preimage_to_those_who_watch(scene: Scene) -> None:
    swap = await locked(scene)
    watcher = Watcher(swap.ours)
    await watcher.look()
    tx = await swap.claimed(await swap.signed(AMOUNT // 2))
    scan = await watcher.look()
    assert scan.events == (Claimed(scan.blocks[-1], tx.tx_id, swap.ours.lock_id(swap.terms), SECRET),)


async def test_the_estimate_is_of_the_size_of_what_is_paid(scene: Scene) -> None:
    swap = await locked(scene)
    estimate = await swap.ours.fees(swap.terms.asset)
    assert estimate.authorized_claim > estimate.claim
    await swap.claimed(await swap.signed(AMOUNT // 2))
    fee = swap.terms.amount - await swap.received()
    assert estimate.authorized_claim / 2 <= fee <= estimate.authorized_claim * 2


async def test_the_fee_is_what_the_claim_costs_and_not_the_most_it_could(
    scene: Scene, rig: EthereumRig
) -> None:
    swap = await locked(scene)
    await rpc(rig, "anvil_setNextBlockBaseFeePerGas", 10**10)
    await rig.devnet.mine(1)
    tx = await swap.claimed(await swap.signed(AMOUNT // 2))
    receipt = await rpc(rig, "eth_getTransactionReceipt", tx.tx_id)
    paid = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    fee = swap.terms.amount - await swap.received()
    assert paid <= fee <= paid * 14 // 10


async def test_a_replacement_takes_more_but_never_more_than_was_signed(scene: Scene) -> None:
    swap = await locked(scene)
    authorization = await swap.signed(await swap.dear() * 11 // 10)
    action = msgspec.structs.replace(ClaimAction(swap.terms, SECRET), authorization=authorization)
    slow = await scene.sent(swap.ours, action)
    fast = await swap.ours.prepare(action, slow.sequence, FeeLevel(3, slow.fee))
    await swap.ours.broadcast(fast)
    await scene.rig.devnet.mine(1)
    assert swap.terms.amount - await swap.received() <= decode(authorization).max_fee


# ---------------------------------------------------------------------- ordinary claims instead


async def paid_in_full(swap: Swap, authorization: bytes) -> None:
    tx = await swap.claimed(authorization)
    assert function(tx) == ORDINARY
    assert await swap.received() == swap.terms.amount


async def test_an_authorisation_that_expires_while_the_claim_is_on_its_way_costs_the_user_nothing(
    scene: Scene,
) -> None:
    swap = await locked(scene, lifetime=1_000)
    authorization = await swap.signed(AMOUNT // 2)
    await scene.rig.devnet.advance_time(1_000 + EXPIRY_MARGIN - 60)
    await paid_in_full(swap, authorization)


async def test_a_nonce_that_was_used_is_good_for_no_second_fee(scene: Scene) -> None:
    swap = await locked(scene)
    authorization = await swap.signed(AMOUNT // 2)
    await swap.claimed(authorization)
    first = await swap.received()
    await scene.done(swap.ours, LockAction(swap.terms))
    tx = await swap.claimed(authorization)
    assert function(tx) == ORDINARY
    assert await swap.received() == first + swap.terms.amount


async def test_a_signature_for_another_relayer_or_none_at_all_is_an_ordinary_claim(scene: Scene) -> None:
    swap = await locked(scene)
    authorization = await swap.signed(AMOUNT // 2)
    other = authorization.replace(swap.ours.account.encode(), swap.theirs.account.encode())
    for useless in (other, b"{}", b"\xff", b"[]"):
        assert function(await swap.prepared(useless)) == ORDINARY
    await paid_in_full(swap, other)


async def test_a_fee_that_is_less_than_taking_it_costs_is_not_taken(scene: Scene) -> None:
    swap = await locked(scene)
    await paid_in_full(swap, await swap.signed(await swap.dear() // 4))


async def test_no_fee_at_all_is_an_ordinary_claim(scene: Scene, rig: EthereumRig) -> None:
    swap = await locked(scene)
    await paid_in_full(swap, await swap.signed(0))
    swap = await locked(scene, asset=rig.token)
    assert function(await swap.claimed(await swap.signed(0))) == ORDINARY_TOKEN
    assert await swap.received() == swap.terms.amount


async def test_a_lock_that_is_spent_is_refused_with_and_without(scene: Scene) -> None:
    swap = await locked(scene)
    authorization = await swap.signed(AMOUNT // 2)
    await swap.claimed(b"")
    with pytest.raises(ActionRefusedError, match="NotOpen"):
        await swap.prepared(authorization)


# ---------------------------------------------------------------------- what is signed


async def test_a_request_survives_json_and_any_wallet_can_sign_it(scene: Scene) -> None:
    swap = await locked(scene)
    request = await authorizer(swap.ours).request(swap.terms, Amount(AMOUNT // 2))
    assert request.format == FORMAT
    typed: dict[str, Any] = json.loads(json.dumps(request.payload))
    assert typed == request.payload
    assert all(isinstance(value, str) or value < 2**53 for value in typed["message"].values())
    wallet = Account.from_key(devnet_key(f"{scene.name}/user without coins"))
    signature = "0x" + bytes(wallet.sign_typed_data(full_message=typed).signature).hex()
    answer = {**typed["message"], "signature": signature}
    authorization = await authorizer(swap.ours).check(swap.terms, answer)
    assert await authorizer(swap.ours).check(swap.terms, answer) == authorization
    await swap.claimed(authorization)
    assert await swap.received() < AMOUNT


async def test_a_request_leaves_the_recipient_something(scene: Scene) -> None:
    swap = await locked(scene)
    for fee in (-1, AMOUNT, AMOUNT + 1):
        with pytest.raises(ActionRefusedError):
            await authorizer(swap.ours).request(swap.terms, Amount(fee))


async def test_nonces_are_drawn_from_the_same_slot_until_it_is_half_used(
    scene: Scene, rig: EthereumRig
) -> None:
    swap = await locked(scene)
    requests = [await authorizer(swap.ours).request(swap.terms, Amount(1)) for _ in range(8)]
    nonces = [int(request.payload["message"]["nonce"]) for request in requests]
    words = {nonce >> 8 for nonce in nonces}
    assert len(words) == 1
    assert len(set(nonces)) > 1
    await rig.devnet.fund(swap.theirs.account, rig.native, 10**17)
    cancelled = htlc.encode_cancel_nonces(min(words), 2**128 - 1)
    transaction = {"chainId": "0x7a69", "to": swap.ours.contract, "data": "0x" + cancelled.data.hex()}
    unsigned = UnsignedTx("", "", {"transactions": [{**transaction, "value": "0x0", "gas": hex(100_000)}]})
    await rig.send_from_wallet(f"{scene.name}/user without coins", unsigned, swap.terms)
    await rig.devnet.mine(1)
    request = await authorizer(swap.ours).request(swap.terms, Amount(1))
    assert int(request.payload["message"]["nonce"]) >> 8 == min(words) + 1


@pytest.mark.parametrize("named", [False, True], ids=["by its lock", "by a setting"])
async def test_who_holds_no_key_of_the_bridge_asks_and_checks_in_its_name(
    scene: Scene, rig: EthereumRig, named: bool
) -> None:
    swap = await locked(scene)
    settings = rig.devnet.settings
    if named:
        settings = msgspec.structs.replace(settings, relayer=swap.ours.account)
    desk = open_port(settings, devnet_key("made up and forgotten"))
    request = await authorizer(desk).request(swap.terms, Amount(AMOUNT // 2))
    answer = await authorizer(swap.theirs).sign(swap.terms, request, Amount(AMOUNT // 2))
    authorization = await authorizer(desk).check(swap.terms, answer)
    await desk.close()
    assert function(await swap.claimed(authorization)) == FOR_A_FEE


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("message", {"amount": str(AMOUNT - 1)}),
        ("message", {"recipient": "0x" + "11" * 20}),
        ("message", {"sender": "0x" + "11" * 20}),
        ("message", {"hashlock": "0x" + "00" * 32}),
        ("message", {"deadline": "1"}),
        ("message", {"lane": "1"}),
        ("message", {"token": "0x" + "11" * 20}),
        ("message", {"maxFee": str(10**15 + 1)}),
        ("message", {"maxFee": "-1"}),
        ("message", {"maxFee": "many"}),
        ("message", {"expiry": str(2**64)}),
        ("message", {"relayer": "nobody"}),
        ("message", {"extra": "1"}),
        ("domain", {"chainId": 1}),
        ("domain", {"verifyingContract": "0x" + "11" * 20}),
        ("domain", {"name": "Permit2"}),
        ("types", {"ClaimFor": []}),
    ],
)
async def test_a_lying_request_is_not_signed(scene: Scene, part: str, change: dict[str, Any]) -> None:
    swap = await locked(scene)
    request = await authorizer(swap.ours).request(swap.terms, Amount(10**15))
    payload = {**request.payload, part: {**request.payload[part], **change}}
    with pytest.raises(BadAuthorizationError) as refusal:
        await authorizer(swap.theirs).sign(
            swap.terms, msgspec.structs.replace(request, payload=payload), Amount(10**15)
        )
    assert refusal.value.hint


async def test_a_request_of_another_kind_or_for_somebody_else_is_not_signed(scene: Scene) -> None:
    swap = await locked(scene)
    request = await authorizer(swap.ours).request(swap.terms, Amount(1))
    for other in (
        msgspec.structs.replace(request, format="stellar"),
        msgspec.structs.replace(request, payload={}),
        msgspec.structs.replace(request, payload={**request.payload, "primaryType": "CooperativeRefund"}),
    ):
        with pytest.raises(BadAuthorizationError):
            await authorizer(swap.theirs).sign(swap.terms, other, Amount(1))
    with pytest.raises(BadAuthorizationError, match="pays"):
        await authorizer(swap.ours).sign(swap.terms, request, Amount(1))


async def test_a_relayer_of_a_setting_is_asked_for_and_no_other_is_taken(
    scene: Scene, rig: EthereumRig
) -> None:
    swap = await locked(scene)
    settings = msgspec.structs.replace(rig.devnet.settings, relayer=rig.other_address())
    desk = open_port(settings, devnet_key("made up and forgotten"))
    request = await authorizer(desk).request(swap.terms, Amount(10**15))
    assert request.payload["message"]["relayer"] == rig.other_address()
    with pytest.raises(BadAuthorizationError, match="relayer"):
        await authorizer(desk).check(swap.terms, await answered(swap))
    await desk.close()


# ---------------------------------------------------------------------- what comes back


async def answered(swap: Swap, max_fee: int = 10**15) -> dict[str, str]:
    request = await authorizer(swap.ours).request(swap.terms, Amount(max_fee))
    return await authorizer(swap.theirs).sign(swap.terms, request, Amount(max_fee))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"relayer": "0x" + "11" * 20}, "relayer"),
        ({"maxFee": str(10**15 + 1)}, "not signed by"),
        ({"nonce": "7"}, "not signed by"),
        ({"maxFee": str(AMOUNT)}, "leave nothing"),
        ({"expiry": "1"}, "deadline"),
        ({"expiry": ""}, "expiry"),
        ({"nonce": "0x1"}, "nonce"),
        ({"nonce": str(2**256)}, "nonce"),
        ({"relayer": ""}, "relayer"),
        ({"signature": ""}, "signature"),
        ({"signature": "0xzz"}, "signature"),
        ({"signature": "0x" + "00" * 65}, "not signed by"),
        ({"signature": "0x" + "ff" * 65}, "not signed by"),
        ({"signature": "0x12"}, "not signed by"),
        ({"signature": "0x" + "11" * (MAX_SIGNATURE + 1)}, "bytes"),
    ],
)
async def test_an_answer_that_is_not_what_was_asked_for_is_refused(
    scene: Scene, change: dict[str, str], said: str
) -> None:
    swap = await locked(scene)
    answer = await answered(swap)
    await authorizer(swap.ours).check(swap.terms, answer)
    with pytest.raises(BadAuthorizationError, match=said) as refusal:
        await authorizer(swap.ours).check(swap.terms, {**answer, **change})
    assert refusal.value.hint


async def test_a_signature_for_other_terms_is_refused(scene: Scene) -> None:
    swap = await locked(scene)
    answer = await answered(swap)
    for change in ({"amount": AMOUNT - 1}, {"lane": 1}, {"deadline": swap.terms.deadline - 1}):
        with pytest.raises(BadAuthorizationError, match="not signed by"):
            await authorizer(swap.ours).check(msgspec.structs.replace(swap.terms, **change), answer)


async def test_a_used_nonce_and_an_expired_signature_are_refused(scene: Scene) -> None:
    swap = await locked(scene, lifetime=1_000)
    answer = await answered(swap, AMOUNT // 2)
    late = await answered(swap, AMOUNT // 2)
    await swap.claimed(await authorizer(swap.ours).check(swap.terms, answer))
    with pytest.raises(BadAuthorizationError, match="nonce"):
        await authorizer(swap.ours).check(swap.terms, answer)
    await scene.rig.devnet.advance_time(1_000 + EXPIRY_MARGIN)
    with pytest.raises(BadAuthorizationError, match="expired"):
        await authorizer(swap.ours).check(swap.terms, late)


async def test_a_signature_is_taken_in_the_one_form_that_the_contract_takes(scene: Scene) -> None:
    swap = await locked(scene)
    answer = await answered(swap)
    raw = bytes.fromhex(answer["signature"][2:])
    as_ledger_gives_it = "0x" + (raw[:64] + bytes([raw[64] - 27])).hex()
    stored = await authorizer(swap.ours).check(swap.terms, {**answer, "signature": as_ledger_gives_it})
    assert stored == await authorizer(swap.ours).check(swap.terms, answer)
    high = (SECP256K1_N - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big")
    twin = "0x" + (raw[:32] + high + bytes([27 + 28 - raw[64]])).hex()
    with pytest.raises(BadAuthorizationError, match="not signed by"):
        await authorizer(swap.ours).check(swap.terms, {**answer, "signature": twin})


async def test_a_smart_wallet_answers_for_itself(scene: Scene, rig: EthereumRig) -> None:
    wallet = await deploy(rig, compiled()["Actor"][0])
    swap = await locked(scene, recipient=wallet)
    request = await authorizer(swap.ours).request(swap.terms, Amount(AMOUNT // 2))
    answer = {**request.payload["message"], "signature": "0x1234"}
    with pytest.raises(BadAuthorizationError, match="not signed by"):
        await authorizer(swap.ours).check(swap.terms, answer)
    digest = htlc.typed_data_digest(request.payload)
    await call(rig, wallet, "approveDigest(bytes32)", digest)
    await call(rig, wallet, "answerShort(bool)", True)
    with pytest.raises(BadAuthorizationError, match="not signed by"):
        await authorizer(swap.ours).check(swap.terms, answer)
    await call(rig, wallet, "answerShort(bool)", False)
    tx = await swap.claimed(await authorizer(swap.ours).check(swap.terms, answer))
    assert function(tx) == FOR_A_FEE
    assert 0 < AMOUNT - await swap.received() < AMOUNT // 2


async def test_a_recipient_that_burns_our_gas_claims_for_itself(scene: Scene, rig: EthereumRig) -> None:
    burner = await deploy(rig, CREATES_BURNER)
    swap = await locked(scene, recipient=burner)
    with pytest.raises(ActionRefusedError, match="gas") as refusal:
        await swap.prepared(b"")
    assert "owner" in refusal.value.hint
    assert await swap.received() == 0


async def test_a_sender_that_burns_our_gas_waits_for_its_deadline(scene: Scene, rig: EthereumRig) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    await scene.done(theirs, LockAction(terms))
    action = CooperativeRefundAction(terms)
    await ours.prepare(action, await ours.next_sequence(), FeeLevel())
    await rpc(rig, "anvil_setCode", theirs.account, "0x" + BURNER.hex())
    with pytest.raises(ActionRefusedError, match="gas"):
        await ours.prepare(action, await ours.next_sequence(), FeeLevel())
