"""What was not recorded, was pruned or cannot be read proves nothing, and stops nothing."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, MessageV1, TransactionConfig
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bridge.chains.actions import LockAction, RefundAction
from bridge.chains.port import (
    BroadcastOutcome,
    Claimed,
    FeeLevel,
    Locked,
    LockStatus,
    Refunded,
    Revealed,
    Scan,
    Spent,
    TxState,
)
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import BlockHeight, BlockRef, LockTerms, Preimage
from relayers.solana import blocks, program, terms, transactions
from relayers.solana.adapter import SolanaPort
from relayers.solana.devnet.encodings import RpcFailureError
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.settings import SOL
from scripts.build_solana import SOURCE, compile_object
from scripts.sbf_linker import link
from tests.conformance.lying_rpc import LyingRpc
from tests.unit.solana.conftest import Opener, lock_terms

SECRET = Preimage(b"claimed through another program.")
USER = Keypair.from_seed(devnet_key("proof/user"))


@pytest.fixture
async def devnet(started: SolanaNode) -> SolanaNode:
    await started.mine(160)
    await started.fund(str(USER.pubkey()), SOL, 10**10)
    return started


@pytest.fixture
async def port(devnet: SolanaNode, opened: Opener) -> SolanaPort:
    made = opened("proof/relayer")
    await devnet.fund(made.account, SOL, 10**10)
    return made


@pytest.fixture(scope="module")
def passes_on(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The code of a program that calls the one that its first account names."""
    place = tmp_path_factory.mktemp("proxy")
    shutil.copy(Path(__file__).with_name("proxy.c"), place)
    shutil.copy(SOURCE.parent / "sbf.h", place)
    return link(compile_object(place / "proxy.c"), 3)


@pytest.fixture
def proxy(devnet: SolanaNode, passes_on: bytes) -> Pubkey:
    at = Pubkey.new_unique()
    devnet.ledger.svm.add_program(at, passes_on)
    return at


async def locked(devnet: SolanaNode, port: SolanaPort, **terms_too: Any) -> LockTerms:
    made = lock_terms(devnet, port, SECRET.hashlock(), recipient=str(USER.pubkey()), **terms_too)
    await landed(devnet, port, LockAction(made))
    return made


async def landed(devnet: SolanaNode, port: SolanaPort, action: Any) -> str:
    tx = await port.prepare(action, None, FeeLevel())
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await devnet.mine(1)
    return tx.tx_id


def through(proxy: Pubkey, call: Instruction) -> Instruction:
    return Instruction(proxy, call.data, [AccountMeta(call.program_id, False, False), *call.accounts])


async def sent(devnet: SolanaNode, *instructions: Instruction, version: int = 0) -> str:
    recent = Hash.from_string(devnet.ledger.head.hash)
    message: MessageV0 | MessageV1
    if version == 1:
        config = TransactionConfig(compute_unit_limit=100_000, loaded_accounts_data_size_limit=1 << 20)
        message = MessageV1.try_compile(USER.pubkey(), list(instructions), recent, config)
    else:
        message = MessageV0.try_compile(USER.pubkey(), list(instructions), [], recent)
    signature = devnet.chain.submit(VersionedTransaction(message, [USER]), preflight=False)
    await devnet.mine(1)
    return signature


def claim_of(port: SolanaPort, lock: LockTerms, preimage: bytes = SECRET.reveal()) -> Instruction:
    at = terms.address(port.contract)
    (made,) = program.claim(at, terms.to_program(lock, port.chain), preimage, USER.pubkey())
    return made


def refund_of(port: SolanaPort, lock: LockTerms, *, cooperative: bool = False) -> Instruction:
    vault = terms.to_program(lock, port.chain)
    (made,) = program.refund(terms.address(port.contract), vault, USER.pubkey(), cooperative=cooperative)
    return made


def kinds(scan: Scan) -> list[str]:
    """The events but for what was only shown."""
    return [type(event).__name__ for event in scan.events if not isinstance(event, Revealed)]


def shows(scan: Scan) -> bool:
    return any(isinstance(event, Revealed) and event.preimage == SECRET for event in scan.events)


async def status(port: SolanaPort, lock: LockTerms, since: BlockRef | None = None) -> LockStatus:
    height = None if since is None else since.height
    return await port.read_lock(port.lock_id(lock), lock, since=height)


# -- calls that were not recorded ------------------------------------------------------------


async def test_a_claim_through_another_program_is_seen_where_calls_are_recorded(
    devnet: SolanaNode, port: SolanaPort, proxy: Pubkey
) -> None:
    lock = await locked(devnet, port)
    ring = (await port.scan((), 1)).blocks
    await sent(devnet, through(proxy, claim_of(port, lock)))
    scan = await port.scan(ring, 10)
    assert (kinds(scan), scan.set_aside) == (["Claimed"], ())
    assert await status(port, lock) is LockStatus.CLAIMED


async def test_a_spend_that_was_not_recorded_is_neither_refund_nor_nothing_and_its_secret_is_found(
    devnet: SolanaNode, port: SolanaPort, proxy: Pubkey
) -> None:
    lock = await locked(devnet, port)
    ring = (await port.scan((), 1)).blocks
    devnet.ledger.records_inner = False
    signature = await sent(devnet, through(proxy, claim_of(port, lock)))
    scan = await port.scan(ring, 10)
    assert [event.lock_id for event in scan.events if isinstance(event, Spent)] == [port.lock_id(lock)]
    assert kinds(scan) == ["Spent"]
    assert shows(scan)
    (item,) = scan.set_aside
    assert item.item == signature
    assert port.lock_id(lock) in item.lock_ids
    assert await status(port, lock) is LockStatus.SPENT


async def test_a_refund_that_was_not_recorded_proves_no_refund(
    devnet: SolanaNode, port: SolanaPort, proxy: Pubkey
) -> None:
    lock = await locked(devnet, port, lifetime=100)
    ring = (await port.scan((), 1)).blocks
    await devnet.advance_time(200)
    devnet.ledger.records_inner = False
    await sent(devnet, through(proxy, refund_of(port, lock)))
    assert kinds(await port.scan(ring, 10)) == ["Spent"]
    assert await status(port, lock) is LockStatus.SPENT


async def test_what_only_well_known_programs_are_called_for_is_read_without_recorded_calls(
    devnet: SolanaNode, port: SolanaPort
) -> None:
    devnet.ledger.records_inner = False
    ring = (await port.scan((), 1)).blocks
    lock = await locked(devnet, port)
    await sent(devnet, claim_of(port, lock))
    scan = await port.scan(ring, 10)
    assert (kinds(scan), scan.set_aside) == (["Locked", "Claimed"], ())
    assert await status(port, lock) is LockStatus.CLAIMED


async def test_unrecorded_calls_that_name_a_refunded_vault_make_the_refund_unproved(
    devnet: SolanaNode, port: SolanaPort, proxy: Pubkey
) -> None:
    """It could have been locked and claimed again inside of them."""
    lock = await locked(devnet, port, lifetime=100)
    await devnet.advance_time(200)
    await landed(devnet, port, RefundAction(lock))
    assert await status(port, lock) is LockStatus.REFUNDED
    devnet.ledger.records_inner = False
    vault, _ = program.vault_address(terms.address(port.contract), terms.to_program(lock, port.chain))
    gift = Instruction(
        Pubkey.default(),
        (2).to_bytes(4, "little") + (10**7).to_bytes(8, "little"),
        [AccountMeta(USER.pubkey(), True, True), AccountMeta(vault, False, True)],
    )
    await sent(devnet, through(proxy, gift))
    assert await status(port, lock) is LockStatus.SPENT


# -- refunds ---------------------------------------------------------------------------------


async def test_refunds_are_proved_by_the_deadline_or_by_the_recipient(
    devnet: SolanaNode, port: SolanaPort
) -> None:
    late = await locked(devnet, port, lifetime=100, amount=10**8)
    early = await locked(devnet, port, lifetime=5000, amount=10**8 + 1)
    ring = (await port.scan((), 1)).blocks
    await sent(devnet, refund_of(port, early, cooperative=True))
    await devnet.advance_time(200)
    await sent(devnet, refund_of(port, late))
    assert kinds(await port.scan(ring, 10)) == ["Refunded", "Refunded"]
    assert [await status(port, lock) for lock in (early, late)] == [LockStatus.REFUNDED] * 2


async def test_a_refund_before_the_deadline_without_the_recipient_is_not_believed(
    devnet: SolanaNode, opened: Opener, port: SolanaPort
) -> None:
    lock = await locked(devnet, port, lifetime=100)
    await devnet.advance_time(200)
    await landed(devnet, port, RefundAction(lock))

    def early(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "getTransaction":
            honest["result"]["blockTime"] = lock.deadline - 1
        return honest

    async with LyingRpc(devnet.rpc_url) as liar:
        lied_to = opened("proof/relayer", rpc_urls=(liar.url,))
        assert await status(lied_to, lock) is LockStatus.REFUNDED
        liar.mangle = early
        assert await status(lied_to, lock) is LockStatus.SPENT


async def test_an_early_refund_that_somebody_else_consented_to_is_not_believed(
    devnet: SolanaNode, opened: Opener, port: SolanaPort
) -> None:
    lock = await locked(devnet, port)
    payer, stranger = Keypair(), Keypair()
    await devnet.fund(str(payer.pubkey()), SOL, 10**9)
    call = refund_of(port, lock, cooperative=True)
    recent = Hash.from_string(devnet.ledger.head.hash)

    def consented_to(who: Keypair) -> VersionedTransaction:
        accounts = [*call.accounts[:-1], AccountMeta(who.pubkey(), is_signer=True, is_writable=False)]
        refund = Instruction(call.program_id, call.data, accounts)
        return VersionedTransaction(MessageV0.try_compile(payer.pubkey(), [refund], [], recent), [payer, who])

    devnet.chain.submit(consented_to(USER), preflight=False)
    await devnet.mine(1)
    shown = base64.b64encode(bytes(consented_to(stranger))).decode()

    def swapped(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "getTransaction":
            honest["result"]["transaction"] = [shown, "base64"]
        return honest

    async with LyingRpc(devnet.rpc_url) as liar:
        lied_to = opened("proof/relayer", rpc_urls=(liar.url,))
        assert await status(lied_to, lock) is LockStatus.REFUNDED
        liar.mangle = swapped
        assert await status(lied_to, lock) is LockStatus.SPENT


async def test_a_claim_with_a_preimage_that_opens_nothing_is_not_believed(
    devnet: SolanaNode, opened: Opener, port: SolanaPort
) -> None:
    lock = await locked(devnet, port)
    wrong = await sent(devnet, claim_of(port, lock, b"a wrong one"))
    shown = devnet.ledger.entries[wrong].transaction
    right = await sent(devnet, claim_of(port, lock))

    def swapped(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        if call["method"] == "getTransaction" and call["params"][0] == right:
            honest["result"]["transaction"] = [base64.b64encode(bytes(shown)).decode(), "base64"]
        return honest

    async with LyingRpc(devnet.rpc_url) as liar:
        lied_to = opened("proof/relayer", rpc_urls=(liar.url,))
        assert await status(lied_to, lock) is LockStatus.CLAIMED
        liar.mangle = swapped
        assert await status(lied_to, lock) is LockStatus.SPENT


# -- history that is not there ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pruned", "hole"])
async def test_a_lock_is_not_new_to_a_node_that_lost_the_time_in_which_it_was_made_and_claimed(
    kind: str, devnet: SolanaNode, port: SolanaPort
) -> None:
    before = (await port.tip()).block
    lock = lock_terms(devnet, port, SECRET.hashlock(), recipient=str(USER.pubkey()), lifetime=100_000)
    tx = await port.prepare(LockAction(lock), None, FeeLevel())
    assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
    await devnet.mine(1)
    await sent(devnet, claim_of(port, lock))
    assert await status(port, lock, before) is LockStatus.CLAIMED
    await devnet.mine(40)
    jump = devnet.ledger.head
    await devnet.mine(250)
    # A start from a snapshot on an old store leaves old blocks there: getFirstAvailableBlock tells nothing.
    await devnet.forget(0 if kind == "pruned" else before.height, jump.slot)
    assert (devnet.ledger.first_available == 0) is (kind == "hole")
    for agreed in (False, True):
        found = await port.read_lock(port.lock_id(lock), lock, since=before.height, agreed=agreed)
        assert found is LockStatus.UNKNOWN
        assert (await port.tx_status(tx, agreed=agreed)).state is TxState.UNSURE
    assert await status(port, lock) is LockStatus.UNKNOWN


async def test_a_lock_is_new_and_a_transaction_lost_where_the_history_reaches_back(
    devnet: SolanaNode, port: SolanaPort
) -> None:
    await devnet.mine(5)
    await devnet.skip(7)
    before = (await port.tip()).block
    lock = lock_terms(devnet, port, SECRET.hashlock())
    tx = await port.prepare(LockAction(lock), None, FeeLevel())
    await devnet.mine(3)
    first = blocks.slot_of(before) + 1
    named = await port.prepare(LockAction(lock), None, FeeLevel())
    assert named.valid_until_height is not None
    assert await status(port, lock) is LockStatus.ABSENT
    await devnet.forget(0, first - 1)
    assert await status(port, lock, before) is LockStatus.ABSENT
    assert await status(port, lock) is LockStatus.UNKNOWN
    below = await port.read_lock(port.lock_id(lock), lock, since=BlockHeight(before.height - 1))
    assert below is LockStatus.UNKNOWN
    assert (await port.tx_status(tx)).state is TxState.UNSURE  # it names a block that is 32 older
    signed = msgspec.structs.replace(tx, signed_height=before.height)
    assert (await port.tx_status(signed)).state is TxState.UNKNOWN


async def test_two_endpoints_must_agree_that_a_lock_is_new(
    devnet: SolanaNode, opened: Opener, port: SolanaPort
) -> None:
    before = (await port.tip()).block
    lock = lock_terms(devnet, port, SECRET.hashlock())
    tx = await port.prepare(LockAction(lock), None, FeeLevel())
    async with LyingRpc(devnet.rpc_url) as liar:
        both = opened("proof/relayer", rpc_urls=(devnet.rpc_url, liar.url))
        lock_id = both.lock_id(lock)
        assert await both.read_lock(lock_id, lock, since=before.height, agreed=True) is LockStatus.ABSENT
        assert (await both.tx_status(tx, agreed=True)).state is TxState.UNKNOWN
        liar.status = 500
        assert await both.read_lock(lock_id, lock, since=before.height, agreed=True) is LockStatus.UNKNOWN
        assert (await both.tx_status(tx, agreed=True)).state is TxState.UNSURE
        assert await both.read_lock(lock_id, lock, since=before.height) is LockStatus.ABSENT


# -- transactions that cannot be read --------------------------------------------------------


async def test_the_devnet_refuses_a_version_above_what_is_asked_for(
    devnet: SolanaNode, port: SolanaPort
) -> None:
    lock = await locked(devnet, port)
    signature = await sent(devnet, claim_of(port, lock), version=1)
    methods = devnet._server.methods
    for most in (None, 0):
        with pytest.raises(RpcFailureError, match=r"version \(1\) is not supported") as refusal:
            methods.getTransaction(
                signature,
                {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": most},
            )
        assert refusal.value.code == transactions.UNSUPPORTED_VERSION
        slot = devnet.ledger.entries[signature].slot
        with pytest.raises(RpcFailureError):
            methods.getBlock(
                slot,
                {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": most},
            )
    shown = methods.getTransaction(
        signature, {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 1}
    )
    assert (shown["version"], shown["meta"]["err"]) == (1, None)


async def test_a_claim_in_a_version_1_transaction_is_read(devnet: SolanaNode, port: SolanaPort) -> None:
    lock = await locked(devnet, port)
    ring = (await port.scan((), 1)).blocks
    await sent(devnet, claim_of(port, lock), version=1)
    scan = await port.scan(ring, 10)
    (claimed,) = [event for event in scan.events if isinstance(event, Claimed)]
    assert (claimed.lock_id, claimed.preimage) == (port.lock_id(lock), SECRET)
    assert await status(port, lock) is LockStatus.CLAIMED


@pytest.mark.parametrize("how", ["newer", "garbled", "no meta"])
async def test_what_cannot_be_read_is_set_aside_and_the_scan_goes_on(
    how: str, devnet: SolanaNode, opened: Opener, port: SolanaPort
) -> None:
    lock = await locked(devnet, port)
    ring = (await port.scan((), 1)).blocks
    strange = await sent(devnet, claim_of(port, lock))
    other = lock_terms(devnet, port, Preimage(b"another").hashlock())
    normal = await landed(devnet, port, LockAction(other))

    def unreadable(call: dict[str, Any], honest: dict[str, Any]) -> dict[str, Any]:
        if call["method"] != "getTransaction" or call["params"][0] != strange:
            return honest
        if how == "newer":
            error = {"code": -32015, "message": "Transaction version (2) is not supported"}
            return {"jsonrpc": "2.0", "id": call["id"], "error": error}
        if how == "garbled":
            honest["result"]["transaction"] = [
                base64.b64encode(b"\x01" + bytes(64) + b"\x82").decode(),
                "base64",
            ]
        else:
            honest["result"]["meta"] = None
        return honest

    async with LyingRpc(devnet.rpc_url) as liar:
        lied_to = opened("proof/relayer", rpc_urls=(liar.url,))
        liar.mangle = unreadable
        scan = await lied_to.scan(ring, 10)
        assert [item.item for item in scan.set_aside] == [strange]
        assert scan.set_aside[0].lock_ids == ()
        assert [event.tx_id for event in scan.events if isinstance(event, Locked)] == [normal]
        assert not any(isinstance(event, Refunded | Claimed | Spent) for event in scan.events)
        assert await status(lied_to, lock) in {LockStatus.SPENT, LockStatus.UNKNOWN}
        await devnet.mine(1)
        assert len((await lied_to.scan(scan.blocks, 10)).blocks) == 1
