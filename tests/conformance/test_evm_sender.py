"""EVM: what is sent where and for how much, who can be paid, and tokens that are not what they seem."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from eth_abi.abi import encode

from bridge.chains.actions import CancelAction, ClaimAction, LockAction
from bridge.chains.errors import CannotReceiveError, PortError, PortUnavailableError
from bridge.chains.port import BroadcastOutcome, FeeLevel, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, Asset, Preimage, Purpose
from relayers.evm import erc20
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.wallet import EvmWalletBuilder
from scripts.solidity import EVM_VERSION, compile_sources
from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_calls import call, deploy, rpc, selector
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.lying_rpc import LyingRpc
from tests.conformance.rig import Scene
from tests.unit.ethereum_contract.evm import compiled

SECRET = Preimage(b"thirty-two bytes against liars..")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> EthereumRig:
    made: EthereumRig = await rigs.get("ethereum")
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(rig: EthereumRig) -> AsyncIterator[LyingRpc]:
    async with LyingRpc(rig.devnet.rpc_url) as made:
        yield made


def opened(rig: EthereumRig, label: str, **changes: Any) -> EvmPort:
    return open_port(msgspec.structs.replace(rig.devnet.settings, ws_url="", **changes), devnet_key(label))


# ---------------------------------------------------------------------- where transactions go (c14, c15)


async def test_an_internal_error_is_sent_again_as_it_is(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc
) -> None:
    """It was taken for a rejection, and the bid rose from 2 to 297 gwei."""
    await scene.port("bridge")
    port = opened(rig, f"{scene.name}/bridge", rpc_urls=(proxy.url,))
    proxy.mangle = lambda request, answer: (
        {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32603, "message": "Internal error"}}
        if request["method"] == "eth_sendRawTransaction"
        else answer
    )
    tx = await port.prepare(CancelAction(), await port.next_sequence(), FeeLevel())
    with pytest.raises(PortUnavailableError):
        await port.broadcast(tx)
    both = opened(rig, f"{scene.name}/bridge", rpc_urls=(proxy.url, rig.devnet.rpc_url))
    assert (await both.broadcast(tx)).outcome in {BroadcastOutcome.ACCEPTED, BroadcastOutcome.ALREADY_KNOWN}
    await rig.devnet.mine(1)
    for opened_port in (port, both):
        await opened_port.close()


async def test_claims_are_private_and_only_claims(scene: Scene, rig: EthereumRig, proxy: LyingRpc) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    await scene.done(theirs, LockAction(terms))
    async with LyingRpc(rig.devnet.rpc_url) as public:
        port = opened(rig, f"{scene.name}/bridge", rpc_urls=(public.url,), send_urls=(proxy.url,))
        cancel = await port.prepare(CancelAction(), await port.next_sequence(), FeeLevel())
        await port.broadcast(cancel)
        await rig.devnet.mine(1)
        assert (public.seen.count("eth_sendRawTransaction"), "eth_sendRawTransaction" in proxy.seen) == (
            1,
            False,
        )
        public.seen.clear()
        claim = await port.prepare(ClaimAction(terms, SECRET), await port.next_sequence(), FeeLevel())
        await port.broadcast(claim)
        assert (proxy.seen.count("eth_sendRawTransaction"), "eth_sendRawTransaction" in public.seen) == (
            1,
            False,
        )
        # It was outbid twice and is still in no block: privacy is worth less than the claim.
        again = await port.prepare(ClaimAction(terms, SECRET), claim.sequence, FeeLevel(1, claim.fee))
        await port.broadcast(again)
        assert "eth_sendRawTransaction" not in public.seen
        last = await port.prepare(ClaimAction(terms, SECRET), claim.sequence, FeeLevel(2, again.fee))
        await port.broadcast(last)
        assert public.seen.count("eth_sendRawTransaction") == 1
        await rig.devnet.mine(1)
        assert (await port.tx_status(last)).state is TxState.INCLUDED
        await port.close()


async def test_a_private_endpoint_of_another_network_gets_nothing(
    scene: Scene, rig: EthereumRig, proxy: LyingRpc
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(theirs, ours, SECRET)
    await scene.done(theirs, LockAction(terms))
    proxy.mangle = lambda request, answer: (
        {**answer, "result": "0x1"} if request["method"] == "eth_chainId" else answer
    )
    port = opened(rig, f"{scene.name}/bridge", send_urls=(proxy.url,))
    claim = await port.prepare(ClaimAction(terms, SECRET), await port.next_sequence(), FeeLevel())
    with pytest.raises(PortError, match="chain id 1"):
        await port.broadcast(claim)
    assert "eth_sendRawTransaction" not in proxy.seen
    await port.close()


async def test_what_is_signed_knows_the_height_it_was_signed_at(scene: Scene) -> None:
    ours = await scene.port("bridge")
    tx = await ours.prepare(CancelAction(), await ours.next_sequence(), FeeLevel())
    assert tx.signed_height == (await ours.tip()).block.height


# ---------------------------------------------------------------------- what a fee is (c08)


@pytest.mark.parametrize("lane", [0, 1])
async def test_the_fee_of_a_signed_claim_is_what_the_claim_costs(
    scene: Scene, rig: EthereumRig, lane: int
) -> None:
    """Clearing a slot gives 4,800 gas back, which the estimate does not know of."""
    ours, theirs = await scene.port("bridge"), rig.port(f"{scene.name}/fresh {lane}")
    await rig.devnet.fund(ours.account, rig.native, Amount(10**19))
    wanted = await scene.terms(ours, theirs, SECRET)
    terms = msgspec.structs.replace(wanted, lane=lane, amount=Amount(10**17))
    await scene.done(ours, LockAction(terms))
    authorizer = theirs.authorizer
    assert authorizer is not None
    assert ours.authorizer is not None
    request = await ours.authorizer.request(terms, Amount(10**16))
    signed = await ours.authorizer.check(terms, await authorizer.sign(terms, request, Amount(10**16)))
    before = await ours.balance(ours.account, rig.native)
    tx = await scene.done(ours, ClaimAction(terms, SECRET, authorization=signed))
    receipt = await rpc(rig, "eth_getTransactionReceipt", tx.tx_id)
    cost = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    kept = await ours.balance(ours.account, rig.native) - before + cost
    assert 0.97 <= kept / cost <= 1.03


# ---------------------------------------------------------------------- who can be paid (c09)


def port_of(rig: EthereumRig, scene: Scene) -> EvmPort:
    return rig.port(f"{scene.name}/bridge")


async def test_addresses_that_nobody_holds_are_refused(scene: Scene, rig: EthereumRig) -> None:
    await scene.port("bridge", rig.token)
    port = port_of(rig, scene)
    for asset in (rig.native, rig.token):
        for text in (port.contract, rig.token.contract, "0x" + "00" * 19 + "01", "0x" + "00" * 18 + "0100"):
            with pytest.raises(CannotReceiveError) as refusal:
                await port.check_receiver(port.parse_address(text), asset)
            assert refusal.value.hint
        await port.check_receiver(port.parse_address(rig.other_address()), asset)


async def test_a_contract_that_refuses_payments_is_refused(scene: Scene, rig: EthereumRig) -> None:
    await scene.port("bridge")
    port = port_of(rig, scene)
    wallet = port.parse_address(await deploy(rig, compiled()["Actor"][0]))
    await port.check_receiver(wallet, rig.native)
    await call(rig, wallet, "refuse(bool)", True)
    with pytest.raises(CannotReceiveError, match="refuses payments"):
        await port.check_receiver(wallet, rig.native)
    await port.check_receiver(wallet, rig.token)  # tokens do not ask it


BLOCKING = """// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;
contract Blocking {
  mapping(address => bool) public blocked;
  mapping(address => uint256) public balanceOf;
  mapping(address => mapping(address => uint256)) public allowance;
  function decimals() external pure returns (uint8) { return 6; }
  function mint(address who, uint256 value) external { balanceOf[who] += value; }
  function block_(address who) external { blocked[who] = true; }
  function approve(address spender, uint256 value) external returns (bool) {
    require(value == 0 || allowance[msg.sender][spender] == 0);
    allowance[msg.sender][spender] = value;
    return true;
  }
  function transfer(address to, uint256 value) external returns (bool) {
    require(!blocked[to]);
    balanceOf[msg.sender] -= value;
    balanceOf[to] += value;
    return true;
  }
  function transferFrom(address from, address to, uint256 value) external returns (bool) {
    require(!blocked[to]);
    allowance[from][msg.sender] -= value;
    balanceOf[from] -= value;
    balanceOf[to] += value;
    return true;
  }
}"""


async def blocking_token(rig: EthereumRig) -> Asset:
    """A token like USDT: it blocks holders, and changes an allowance only by way of zero."""
    output = compile_sources({"B.sol": BLOCKING}, {"evmVersion": EVM_VERSION})["B.sol"]["Blocking"]
    address = await deploy(rig, bytes.fromhex(output["evm"]["bytecode"]["object"]))
    return Asset(rig.chain, "BLK", 6, address)


async def test_a_holder_whom_the_token_blocks_is_refused(scene: Scene, rig: EthereumRig) -> None:
    await scene.port("bridge")
    port = port_of(rig, scene)
    token = await blocking_token(rig)
    who = port.parse_address(rig.other_address())
    await call(rig, token.contract, "block_(address)", who)
    await port.check_receiver(who, token)  # nobody has any of it: nothing can be found out
    await call(rig, token.contract, "mint(address,uint256)", port.account, 10)
    with pytest.raises(CannotReceiveError, match="refuses"):
        await port.check_receiver(who, token)
    await port.check_receiver(port.parse_address("0x" + "77" * 20), token)


# ---------------------------------------------------------------------- approvals of wallets (c07)


async def test_a_wallet_changes_an_allowance_by_way_of_zero(scene: Scene, rig: EthereumRig) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    token = await blocking_token(rig)
    await call(rig, token.contract, "mint(address,uint256)", theirs.account, 10**9)
    builder = EvmWalletBuilder(opened(rig, "builder"))
    wanted = await scene.terms(theirs, ours, SECRET, asset=token)
    first = msgspec.structs.replace(wanted, amount=Amount(5_000_000))
    second = msgspec.structs.replace(wanted, amount=Amount(7_000_000))
    label = f"{scene.name}/user"
    unsigned = await builder.unsigned(Purpose.LOCK, first)
    approve, _ = unsigned.payload["transactions"]
    assert approve["data"] == erc20.approve(ours.contract, 5_000_000)
    # The approval is sent, then the user lets the quote pass.
    only = msgspec.structs.replace(unsigned, payload={"transactions": [approve]})
    await rig.send_from_wallet(label, only, first)
    await rig.devnet.mine(1)
    assert len((await builder.unsigned(Purpose.LOCK, first)).payload["transactions"]) == 1
    unsigned = await builder.unsigned(Purpose.LOCK, second)
    assert [tx["data"] for tx in unsigned.payload["transactions"][:2]] == [
        erc20.approve(ours.contract, 0),
        erc20.approve(ours.contract, 7_000_000),
    ]
    for tx_id in await rig.send_from_wallet(label, unsigned, second):
        await rig.devnet.mine(1)
        assert (await rpc(rig, "eth_getTransactionReceipt", tx_id))["status"] == "0x1"
    claim = await builder.unsigned(Purpose.CLAIM, second, SECRET)
    assert claim == ours.unsigned(Purpose.CLAIM, second, SECRET)
    await builder.close()


# ---------------------------------------------------------------------- decimals (field 20)


async def test_decimals_that_are_not_the_contracts_are_refused(scene: Scene, rig: EthereumRig) -> None:
    ours, theirs = await scene.port("bridge", rig.token), await scene.port("user")
    right = rig.token
    wrong = msgspec.structs.replace(right, decimals=right.decimals + 12)
    port = opened(rig, f"{scene.name}/bridge", assets=(wrong,))
    terms = await scene.terms(ours, theirs, SECRET, asset=wrong)
    for ask in (
        lambda: port.setup_actions([wrong]),
        lambda: port.fees(wrong),
        lambda: port.prepare(LockAction(terms), 0, FeeLevel()),
    ):
        with pytest.raises(PortError, match=f"{right.decimals} decimals") as refusal:
            await ask()
        assert not isinstance(refusal.value, PortUnavailableError)
        assert "decimals" in refusal.value.hint
    assert await port.setup_actions([right]) == ()
    nowhere = msgspec.structs.replace(right, contract=rig.other_address())
    with pytest.raises(PortError, match="not a contract"):
        await port.setup_actions([nowhere])
    await port.close()


async def test_a_token_that_does_not_tell_its_decimals_is_believed(scene: Scene, rig: EthereumRig) -> None:
    """decimals() is optional in EIP-20."""
    await scene.port("bridge")
    silent = Asset(rig.chain, "ACT", 9, await deploy(rig, compiled()["Actor"][0]))
    assert (await port_of(rig, scene).fees(silent)).lock > 0


def test_selectors_are_those_of_the_standard() -> None:
    assert "0x" + selector("decimals()").hex() == erc20.DECIMALS
    sent = selector("transfer(address,uint256)") + encode(["address", "uint256"], ["0x" + "11" * 20, 5])
    assert erc20.transfer("0x" + "11" * 20, 5) == "0x" + sent.hex()
