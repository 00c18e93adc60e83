"""What rollups charge for a transaction's bytes is in estimates, in what is set aside, and in what is kept.

anvil has no rollup's fees. The oracles are real contracts, put where rollups have them; what Arbitrum's nodes
add to gas estimates is added on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from eth_abi.abi import encode
from eth_account import Account

from bridge.chains.actions import ClaimAction, LockAction
from bridge.chains.errors import ActionRefusedError, InsufficientFundsError, PortUnavailableError
from bridge.chains.port import FeeEstimate, FeeLevel, SignedTx
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Address, Amount, LockTerms, Preimage, Purpose, UnixSeconds
from relayers.evm.accounting import fees_paid
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.data_fees import GAS_PRICE_ORACLE, HEADROOM, NODE_INTERFACE
from relayers.evm.estimates import samples
from relayers.evm.messages import HtlcContract
from relayers.evm.profiles import FeeModel
from relayers.evm.terms import Place
from tests.conformance.ethereum_calls import fields, function, rpc, selector, transact
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.lying_rpc import LyingRpc
from tests.unit.ethereum_contract.evm import compiled

SECRET = Preimage(b"what are these bytes worth on L1")
ETHER, GWEI = 10**18, 10**9
TERMS = "(address,address,address,uint256,bytes32,uint64,uint32)"
FOR_A_FEE = selector(f"claimFor(bytes,{TERMS},uint256,uint256,uint256,uint256,bytes)")
PURPOSES = ("lock", "claim", "refund", "gasless_claim", "authorized_claim")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EthereumRig]:
    made = EthereumRig(tmp_path_factory.mktemp("rollup"))
    await made.start()
    for address, name in ((GAS_PRICE_ORACLE, "TestGasPriceOracle"), (NODE_INTERFACE, "TestNodeInterface")):
        await put(made, address, name)
    yield made
    await made.stop()


async def put(rig: EthereumRig, address: str, name: str) -> None:
    await rpc(rig, "anvil_setCode", address, "0x" + compiled()[name][1].hex())


async def charge(rig: EthereumRig, *, price: int = 0, operator: int = 0) -> None:
    """Set what a unit of the parent chain's gas costs, in wei, and the operator's fee."""
    for address in (GAS_PRICE_ORACLE, NODE_INTERFACE):
        await rpc(rig, "anvil_setStorageAt", address, "0x0", f"0x{price:064x}")
    await rpc(rig, "anvil_setStorageAt", GAS_PRICE_ORACLE, "0x1", f"0x{operator:064x}")


async def charged(rig: EthereumRig, unsigned: bytes, gas: int = 0) -> int:
    """What the OP stack's oracle says of an unsigned transaction."""
    calls = ((b"getL1Fee(bytes)", ["bytes"], [unsigned]), (b"getOperatorFee(uint256)", ["uint256"], [gas]))
    total = 0
    for name, types, values in calls:
        data = "0x" + (selector(name.decode()) + encode(types, values)).hex()
        total += int(await rpc(rig, "eth_call", {"to": GAS_PRICE_ORACLE, "data": data}, "latest"), 16)
    return total


def opened(rig: EthereumRig, model: FeeModel, label: str, url: str = "") -> EvmPort:
    settings = msgspec.structs.replace(rig.devnet.settings, fee_model=model)
    if url:
        settings = msgspec.structs.replace(settings, rpc_urls=(url,), ws_url="")
    port = open_port(settings, devnet_key(label))
    _opened.append(port)
    return port


_opened: list[EvmPort] = []


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def closed() -> AsyncIterator[None]:
    """Close what a test has opened."""
    yield
    while _opened:
        await _opened.pop().close()


async def lock_terms(port: EvmPort, recipient: str, amount: int = ETHER // 10) -> LockTerms:
    return LockTerms(
        chain=port.chain,
        contract=port.contract,
        sender=port.account,
        recipient=Address(recipient),
        asset=port.traits.native(port.chain),
        amount=Amount(amount),
        hashlock=SECRET.hashlock(),
        deadline=UnixSeconds((await port.tip()).time + 10_000),
    )


async def prepared(port: EvmPort, action: Any) -> SignedTx:
    return await port.prepare(action, await port.next_sequence(), FeeLevel())


def costs(estimate: FeeEstimate) -> list[int]:
    return [getattr(estimate, purpose) for purpose in PURPOSES]


def unsigned(tx: SignedTx) -> bytes:
    """The unsigned transaction as the OP stack's nodes hand it to the oracle, less the signature."""
    values = {key: value for key, value in fields(tx).items() if key not in {"v", "r", "s", "yParity"}}
    signed = Account.from_key(devnet_key("anybody")).sign_transaction(values)
    return bytes(signed.raw_transaction)[:-67]


# ---------------------------------------------------------------------- OP stack


@pytest.mark.parametrize("kind", ["coin", "token"])
async def test_estimates_of_the_op_stack_have_the_data_in_them(rig: EthereumRig, kind: str) -> None:
    port = opened(rig, FeeModel.OP_STACK, "op/estimates")
    asset = rig.native if kind == "coin" else rig.token
    await charge(rig)
    without = costs(await port.fees(asset))
    await charge(rig, price=GWEI, operator=10**12)
    more = [dear - cheap for dear, cheap in zip(costs(await port.fees(asset)), without, strict=True)]
    htlc = HtlcContract(Place(port.chain, rig.devnet.chain_id, port.contract))
    for ask, extra in zip(samples(htlc, port.account, asset), more, strict=True):
        data = bytes.fromhex(ask.message.data[2:])
        exact = await charged(rig, data + b"\1" * 96, ask.units)
        assert extra == pytest.approx(exact, rel=0.01)
    lock, claim, _, _, authorized = more
    assert authorized > max(lock, claim) * 3 / 2, "claimFor shows a signature and all terms"


async def test_what_is_set_aside_covers_the_data_at_twice_its_price(rig: EthereumRig) -> None:
    port = opened(rig, FeeModel.OP_STACK, "op/max cost")
    await rig.devnet.fund(port.account, rig.native, ETHER)
    action = LockAction(await lock_terms(port, rig.other_address()))
    await charge(rig)
    plain = await prepared(port, action)
    await charge(rig, price=10 * GWEI, operator=10**13)
    dear = await prepared(port, action)
    exact = await charged(rig, unsigned(dear), fields(dear)["gas"])
    set_aside = dear.max_cost - plain.max_cost
    assert dear.fee == plain.fee, "gas and bids are those of before"
    assert HEADROOM * exact <= set_aside * 1.02
    assert set_aside <= HEADROOM * exact * 1.3


async def test_an_account_that_can_pay_the_gas_and_not_the_data_signs_nothing(rig: EthereumRig) -> None:
    port = opened(rig, FeeModel.OP_STACK, "op/poor")
    await charge(rig)
    amount = ETHER // 10
    await rig.devnet.fund(port.account, rig.native, ETHER)
    action = LockAction(await lock_terms(port, rig.other_address(), amount))
    gas_alone = (await prepared(port, action)).max_cost
    spare = await port.balance(port.account, rig.native) - amount - gas_alone
    # Each unit of the parent chain's gas at a price that takes more than is to spare.
    await charge(rig, price=spare // 1_000)
    with pytest.raises(InsufficientFundsError) as refusal:
        await prepared(port, action)
    assert "ethereum" in str(refusal.value)
    await charge(rig, price=spare // 100_000)
    assert (await prepared(port, action)).max_cost > gas_alone


async def test_a_claim_for_a_fee_keeps_what_the_data_cost_too(rig: EthereumRig) -> None:
    ours, theirs = opened(rig, FeeModel.OP_STACK, "op/bridge"), opened(rig, FeeModel.OP_STACK, "op/user")
    await rig.devnet.fund(ours.account, rig.native, 10 * ETHER)
    terms = await lock_terms(ours, theirs.account, ETHER)
    await charge(rig)
    await ours.broadcast(await prepared(ours, LockAction(terms)))
    await rig.devnet.mine(1)
    assert ours.authorizer is not None
    assert theirs.authorizer is not None
    request = await ours.authorizer.request(terms, Amount(ETHER // 2))
    signed = await theirs.authorizer.sign(terms, request, Amount(ETHER // 2))
    action = ClaimAction(terms, SECRET, authorization=await ours.authorizer.check(terms, signed, Amount(0)))
    fees = {}
    for price in (0, 10 * GWEI):
        await charge(rig, price=price)
        tx = await prepared(ours, action)
        assert function(tx) == FOR_A_FEE
        fees[price] = kept(tx)
    exact = await charged(rig, unsigned(tx))
    assert fees[10 * GWEI] - fees[0] == pytest.approx(exact, rel=0.1)


async def test_data_that_costs_more_than_the_fee_brings_is_not_sent_for_it(rig: EthereumRig) -> None:
    """claimFor has 600 bytes more than an ordinary claim: where these are expensive the claim is ordinary."""
    ours, theirs = opened(rig, FeeModel.OP_STACK, "op/bridge"), opened(rig, FeeModel.OP_STACK, "op/user 2")
    await rig.devnet.fund(ours.account, rig.native, 10 * ETHER)
    terms = await lock_terms(ours, theirs.account, ETHER)
    await charge(rig)
    await ours.broadcast(await prepared(ours, LockAction(terms)))
    await rig.devnet.mine(1)
    assert ours.authorizer is not None
    assert theirs.authorizer is not None
    most = Amount(2 * (await ours.fees(terms.asset)).authorized_claim)
    request = await ours.authorizer.request(terms, most)
    signed = await theirs.authorizer.sign(terms, request, most)
    action = ClaimAction(terms, SECRET, authorization=await ours.authorizer.check(terms, signed, Amount(0)))
    assert function(await prepared(ours, action)) == FOR_A_FEE
    await charge(rig, price=most // 2_000)
    assert function(await prepared(ours, action)) != FOR_A_FEE


def kept(tx: SignedTx) -> int:
    """The fee that a claimFor takes: the eleventh word of its calldata (after the seven of the terms)."""
    data = bytes(fields(tx)["data"])[4:]
    return int.from_bytes(data[8 * 32 : 9 * 32], "big")


async def test_an_oracle_without_an_operators_fee_is_understood(rig: EthereumRig) -> None:
    port = opened(rig, FeeModel.OP_STACK, "op/estimates")
    await charge(rig, price=GWEI, operator=10**12)
    with_operator = await port.fees(rig.native)
    await put(rig, GAS_PRICE_ORACLE, "TestFjordOracle")
    try:
        before_isthmus = await port.fees(rig.native)
    finally:
        await put(rig, GAS_PRICE_ORACLE, "TestGasPriceOracle")
    assert 0 < before_isthmus.lock < with_operator.lock


@pytest.mark.parametrize("model", [FeeModel.OP_STACK, FeeModel.ARBITRUM])
async def test_a_network_that_charges_otherwise_than_its_profile_says_is_not_guessed_at(
    tmp_path: Path, model: FeeModel
) -> None:
    plain = await EthereumRig(tmp_path).start()
    try:
        port = opened(plain, model, "wrong model")
        with pytest.raises(PortUnavailableError, match="charges for data") as refusal:
            await port.fees(plain.native)
        assert "fee_model" in refusal.value.hint
        await plain.devnet.fund(port.account, plain.native, ETHER)
        with pytest.raises(PortUnavailableError, match="charges for data"):
            await prepared(port, LockAction(await lock_terms(port, plain.other_address())))
    finally:
        await plain.stop()


async def test_on_ethereum_nobody_asks_what_data_costs(rig: EthereumRig) -> None:
    async with LyingRpc(rig.devnet.rpc_url) as between:
        asked: list[str] = []

        def note(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            asked.append(str(call["params"]))
            return answer

        between.mangle = note
        port = opened(rig, FeeModel.EIP1559, "op/max cost", between.url)
        await charge(rig, price=GWEI, operator=10**12)
        await port.fees(rig.native)
        await prepared(port, LockAction(await lock_terms(port, rig.other_address())))
    assert asked
    assert not any(GAS_PRICE_ORACLE in call or NODE_INTERFACE in call for call in asked)


async def test_an_audit_counts_what_receipts_say_was_paid_for_data(rig: EthereumRig) -> None:
    port = opened(rig, FeeModel.EIP1559, "op/audited")
    await rig.devnet.fund(port.account, rig.native, ETHER)
    tx = await prepared(port, LockAction(await lock_terms(port, rig.other_address())))
    await port.broadcast(tx)
    await rig.devnet.mine(1)
    height = (await port.tip()).block.height
    plain = await fees_paid(rig.devnet.rpc_url, {port.account}, height, height)

    def with_data_fee(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] != "eth_getBlockReceipts":
            return answer
        return {**answer, "result": [{**receipt, "l1Fee": hex(12_345)} for receipt in answer["result"]]}

    async with LyingRpc(rig.devnet.rpc_url) as between:
        between.mangle = with_data_fee
        assert await fees_paid(between.url, {port.account}, height, height) == plain + 12_345


# ---------------------------------------------------------------------- Arbitrum


def adds_gas(amount: int) -> Any:
    """Let gas estimates include the data, as Arbitrum's nodes do."""

    def mangle(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "eth_estimateGas" and "result" in answer:
            return {**answer, "result": hex(int(answer["result"], 16) + amount)}
        return answer

    return mangle


async def test_estimates_of_arbitrum_have_the_data_in_them_as_gas(rig: EthereumRig) -> None:
    port = opened(rig, FeeModel.ARBITRUM, "arbitrum/estimates")
    await charge(rig)
    without = await port.fees(rig.native)
    await charge(rig, price=30 * GWEI)
    dear = await port.fees(rig.native)
    more = [after - before for after, before in zip(costs(dear), costs(without), strict=True)]
    assert all(extra > 0 for extra in more)
    price = without.lock // 46_500
    # 30 units of gas for each of the parent chain's: some 1,088 for the signature and 16 a byte.
    assert more[0] == pytest.approx(30 * (1_088 + 68 * 14) * price, rel=0.2)


async def test_the_gas_limit_leaves_room_for_dearer_data(rig: EthereumRig) -> None:
    async with LyingRpc(rig.devnet.rpc_url) as between:
        port = opened(rig, FeeModel.ARBITRUM, "arbitrum/limit", between.url)
        await rig.devnet.fund(port.account, rig.native, 10 * ETHER)
        await charge(rig)
        action = LockAction(await lock_terms(port, rig.other_address()))
        plain = fields(await prepared(port, action))["gas"]
        await charge(rig, price=100 * GWEI)
        between.mangle = adds_gas(200_000)
        limit = fields(await prepared(port, action))["gas"]
        assert limit >= plain + 200_000 * 2, "the data may cost twice as much in the next block"


async def test_dear_data_is_no_reason_to_refuse_a_claim_for_somebody(rig: EthereumRig) -> None:
    """What may be used when a stranger is paid is execution alone: data on Arbitrum can be ten times that."""
    async with LyingRpc(rig.devnet.rpc_url) as between:
        port = opened(rig, FeeModel.ARBITRUM, "arbitrum/claims", between.url)
        await rig.devnet.fund(port.account, rig.native, 10 * ETHER)
        terms = await lock_terms(port, rig.other_address())
        await port.broadcast(await prepared(port, LockAction(terms)))
        await rig.devnet.mine(1)
        await charge(rig, price=500 * GWEI)
        between.mangle = adds_gas(900_000)
        assert fields(await prepared(port, ClaimAction(terms, SECRET)))["gas"] > 900_000
        elsewhere = opened(rig, FeeModel.EIP1559, "arbitrum/claims", between.url)
        with pytest.raises(ActionRefusedError, match="over the limit"):
            await prepared(elsewhere, ClaimAction(terms, SECRET))


async def test_a_wallet_on_arbitrum_estimates_gas_itself(rig: EthereumRig) -> None:
    port, ordinary = opened(rig, FeeModel.ARBITRUM, "a"), opened(rig, FeeModel.EIP1559, "a")
    terms = await lock_terms(port, rig.other_address())
    for purpose in (Purpose.LOCK, Purpose.CLAIM, Purpose.REFUND):
        (transaction,) = port.unsigned(purpose, terms, SECRET).payload["transactions"]
        (hinted,) = ordinary.unsigned(purpose, terms, SECRET).payload["transactions"]
        assert set(hinted) - set(transaction) == {"gas"}


async def test_the_stub_oracles_are_contracts_of_their_own(rig: EthereumRig) -> None:
    """The addresses are those of the rollups, and the contracts there answer."""
    await charge(rig, price=1)
    receipt = await transact(rig, GAS_PRICE_ORACLE, selector("price()"))
    assert receipt["status"] == "0x1"
    assert await charged(rig, b"\0" * 10) == 68 * 16 + 40
