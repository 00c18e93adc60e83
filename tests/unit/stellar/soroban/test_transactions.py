"""What the ledger refuses around a contract call: resources, fees, footprints, authorisations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from stellar_sdk import (
    Asset,
    IdMemo,
    Keypair,
    MuxedAccount,
    Network,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)
from stellar_sdk.auth import authorize_entry
from stellar_sdk.operation import ChangeTrust, Payment
from stellar_sdk.soroban_rpc import GetTransactionStatus

from tests.unit.stellar.soroban.chain import (
    RECIPIENT,
    SENDER,
    STRANGER,
    XLM,
    Chain,
    RefusedError,
    key_of,
    returned,
    running,
)

Change = Callable[[TransactionEnvelope], None]


def resources_of(envelope: TransactionEnvelope) -> xdr.SorobanResources:
    assert envelope.transaction.soroban_data is not None
    return envelope.transaction.soroban_data.resources


def lower_resource_fee(envelope: TransactionEnvelope) -> None:
    assert envelope.transaction.soroban_data is not None
    envelope.transaction.soroban_data.resource_fee = xdr.Int64(1_000)


def raise_resource_fee(envelope: TransactionEnvelope) -> None:
    assert envelope.transaction.soroban_data is not None
    envelope.transaction.soroban_data.resource_fee = xdr.Int64(envelope.transaction.fee + 1)


def add_memo(envelope: TransactionEnvelope) -> None:
    envelope.transaction.memo = IdMemo(7)


def mux_source(envelope: TransactionEnvelope) -> None:
    envelope.transaction.source = MuxedAccount(STRANGER.public_key, 7)


def double_operation(envelope: TransactionEnvelope) -> None:
    envelope.transaction.operations *= 2


def drop_data(envelope: TransactionEnvelope) -> None:
    envelope.transaction.soroban_data = None


def repeat_key(envelope: TransactionEnvelope) -> None:
    footprint = resources_of(envelope).footprint
    footprint.read_only.append(footprint.read_only[0])


def ask_too_much(envelope: TransactionEnvelope) -> None:
    resources_of(envelope).instructions = xdr.Uint32(400_000_001)


def list_classic_as_archived(envelope: TransactionEnvelope) -> None:
    data = envelope.transaction.soroban_data
    assert data is not None
    data.ext = xdr.SorobanTransactionDataExt(1, resource_ext=xdr.SorobanResourcesExtV0([xdr.Uint32(99)]))


def bid_too_little(envelope: TransactionEnvelope) -> None:
    assert envelope.transaction.soroban_data is not None
    envelope.transaction.fee = envelope.transaction.soroban_data.resource_fee.int64 + 99


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lower_resource_fee, "txSOROBAN_INVALID"),
        (raise_resource_fee, "txSOROBAN_INVALID"),
        (add_memo, "txSOROBAN_INVALID"),
        (mux_source, "txSOROBAN_INVALID"),
        (double_operation, "txMALFORMED"),
        (drop_data, "txMALFORMED"),
        (repeat_key, "txSOROBAN_INVALID"),
        (ask_too_much, "txSOROBAN_INVALID"),
        (list_classic_as_archived, "txSOROBAN_INVALID"),
        (bid_too_little, "txINSUFFICIENT_FEE"),
    ],
)
async def test_an_invalid_transaction_never_reaches_a_ledger(change: Change, code: str) -> None:
    async with running() as chain:
        prepared = await chain.prepare(SENDER, chain.invocation("lock", chain.terms(b"p")))
        if change is mux_source:
            prepared = await chain.prepare(STRANGER, chain.invocation("get", [scval.to_bytes(bytes(32))]))
        change(prepared)
        before = chain.balance(SENDER), chain.balance(STRANGER)
        with pytest.raises(RefusedError, match=f"ERROR {code}"):
            await chain.sign_and_include(STRANGER if change is mux_source else SENDER, prepared)
        await chain.node.close()
        assert (chain.balance(SENDER), chain.balance(STRANGER)) == before


def forget_a_read(envelope: TransactionEnvelope) -> None:
    resources_of(envelope).footprint.read_only.pop()


def forget_a_write(envelope: TransactionEnvelope) -> None:
    resources_of(envelope).footprint.read_write.pop()


def only_read(envelope: TransactionEnvelope) -> None:
    footprint = resources_of(envelope).footprint
    footprint.read_only.append(footprint.read_write.pop())


def too_few_instructions(envelope: TransactionEnvelope) -> None:
    resources_of(envelope).instructions = xdr.Uint32(100_000)


def too_few_bytes_read(envelope: TransactionEnvelope) -> None:
    resources_of(envelope).disk_read_bytes = xdr.Uint32(10)


def too_few_bytes_written(envelope: TransactionEnvelope) -> None:
    resources_of(envelope).write_bytes = xdr.Uint32(10)


def no_rent(envelope: TransactionEnvelope) -> None:
    data = envelope.transaction.soroban_data
    assert data is not None
    data.resource_fee = xdr.Int64(60_000)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (forget_a_read, "RESOURCE_LIMIT_EXCEEDED"),
        (forget_a_write, "RESOURCE_LIMIT_EXCEEDED"),
        (only_read, "RESOURCE_LIMIT_EXCEEDED"),
        (too_few_instructions, "RESOURCE_LIMIT_EXCEEDED"),
        (too_few_bytes_read, "RESOURCE_LIMIT_EXCEEDED"),
        (too_few_bytes_written, "RESOURCE_LIMIT_EXCEEDED"),
        (no_rent, "INSUFFICIENT_REFUNDABLE_FEE"),
    ],
)
async def test_a_transaction_with_too_little_fails_and_moves_nothing_but_its_fee(
    change: Change, code: str
) -> None:
    async with running() as chain:
        terms = chain.terms(b"p")
        prepared = await chain.prepare(SENDER, chain.invocation("lock", terms))
        change(prepared)
        before = chain.balance(SENDER)
        with pytest.raises(RefusedError, match=f"txFAILED INVOKE_HOST_FUNCTION_{code}"):
            await chain.sign_and_include(SENDER, prepared)
        paid = before - chain.balance(SENDER)
        assert 100 < paid < prepared.transaction.fee, "rent and events are not charged for a failure"
        assert returned(await chain.call(STRANGER, "get", chain.lock_id(terms))).type is (
            xdr.SCValType.SCV_VOID
        )


async def test_what_a_lock_costs_is_what_its_parts_cost_and_the_rest_comes_back() -> None:
    async with running() as chain:
        prepared = await chain.prepare(SENDER, chain.invocation("lock", chain.terms(b"p")))
        before = chain.balance(SENDER)
        got = await chain.sign_and_include(SENDER, prepared)
        paid = before - chain.balance(SENDER) - 5 * XLM
        assert got.result_xdr is not None
        assert paid == xdr.TransactionResult.from_xdr(got.result_xdr).fee_charged.int64
        assert paid < prepared.transaction.fee
        assert got.events is not None
        fees = [xdr.TransactionEvent.from_xdr(each) for each in got.events.transaction_events_xdr or []]
        amounts = [scval.from_int128(each.event.body.v0.data) for each in fees if each.event.body.v0]
        assert amounts == [prepared.transaction.fee, paid - prepared.transaction.fee]


async def test_lumens_are_neither_made_nor_lost() -> None:
    async with running() as chain:
        lock = returned(await chain.call(SENDER, "lock", *chain.terms(b"p")))
        await chain.call(STRANGER, "claim", lock, scval.to_bytes(b"p"))
        await chain.call(SENDER, "lock", *chain.terms(b"q"))
        network = chain.node.network
        fees = sum(each.result.fee_charged for ledger in network.ledgers for each in ledger.transactions)
        accounts = sum(getattr(each, "balance", 0) for each in network.state.entries())
        assert accounts + fees + 5 * XLM == 10**18


async def test_a_fee_bump_pays_for_a_contract_call_and_must_cover_its_resources() -> None:
    async with running() as chain:
        prepared = await chain.prepare(SENDER, chain.invocation("lock", chain.terms(b"p")))
        prepared.sign(SENDER)
        assert prepared.transaction.soroban_data is not None
        resource_fee = prepared.transaction.soroban_data.resource_fee.int64
        for bid, good in ((resource_fee // 2 + 50, False), (resource_fee // 2 + 200, True)):
            bump = TransactionBuilder.build_fee_bump_transaction(
                STRANGER, max(bid, prepared.transaction.fee), prepared, chain.passphrase
            )
            bump.transaction.fee = 2 * bid
            bump.sign(STRANGER)
            sent = await chain.rpc.send_transaction(bump)
            assert (sent.status.value == "PENDING") == good, sent.error_result_xdr
        before = chain.balance(STRANGER), chain.balance(SENDER)
        await chain.node.close()
        got = await chain.rpc.get_transaction(bump.hash_hex())
        assert got.status is GetTransactionStatus.SUCCESS
        assert got.fee_bump
        assert chain.balance(SENDER) == before[1] - 5 * XLM
        assert chain.balance(STRANGER) < before[0]
        inner = await chain.rpc.get_transaction(prepared.hash_hex())
        assert inner.status is GetTransactionStatus.SUCCESS


# Authorisations


async def signed_lock(
    chain: Chain, signer: Keypair, *, ledgers: int = 100, passphrase: str = "", upgraded: bool = True
) -> tuple[TransactionEnvelope, list[xdr.SCVal]]:
    """A lock that STRANGER sends and `signer` authorised, not signed by STRANGER yet."""
    terms = chain.terms(b"p")
    operation = chain.invocation("lock", terms)
    simulated = await chain.rpc.simulate_transaction(
        await chain.build(STRANGER, operation), use_upgraded_auth=upgraded
    )
    assert simulated.results
    until = chain.node.network.header.sequence + ledgers
    operation.auth = [
        authorize_entry(each, signer, until, passphrase or chain.passphrase)
        for each in simulated.results[0].auth or []
    ]
    envelope = await chain.build(STRANGER, operation)
    envelope.transaction.soroban_data = xdr.SorobanTransactionData.from_xdr(simulated.transaction_data or "")
    envelope.transaction.fee = 100_000_000
    envelope.transaction.soroban_data.resource_fee = xdr.Int64(90_000_000)
    resources_of(envelope).instructions = xdr.Uint32(10_000_000)
    return envelope, terms


@pytest.mark.parametrize("upgraded", [True, False])
async def test_an_authorisation_serves_once_by_either_kind_of_credentials(upgraded: bool) -> None:
    async with running() as chain:
        envelope, terms = await signed_lock(chain, SENDER, upgraded=upgraded)
        await chain.sign_and_include(STRANGER, envelope)
        lock = chain.lock_id(terms)
        await chain.call(STRANGER, "claim", lock, scval.to_bytes(b"p"))
        again = await chain.build(STRANGER, envelope.transaction.operations[0])
        again.transaction.soroban_data = envelope.transaction.soroban_data
        again.transaction.fee = envelope.transaction.fee
        before = chain.balance(SENDER)
        with pytest.raises(RefusedError, match="TRAPPED"):
            await chain.sign_and_include(STRANGER, again)
        assert chain.balance(SENDER) == before


@pytest.mark.parametrize(
    ("signer", "how"),
    [
        (RECIPIENT, {}),
        (SENDER, {"passphrase": Network.PUBLIC_NETWORK_PASSPHRASE}),
        (SENDER, {"ledgers": -1}),
        (SENDER, {"ledgers": 4_000_000}),
    ],
    ids=["another key", "another network", "expired", "too long"],
)
async def test_no_lock_without_the_senders_own_valid_authorisation(
    signer: Keypair, how: dict[str, object]
) -> None:
    async with running() as chain:
        passphrase = how.get("passphrase", "")
        ledgers = how.get("ledgers", 100)
        assert isinstance(passphrase, str)
        assert isinstance(ledgers, int)
        envelope, _ = await signed_lock(chain, SENDER, ledgers=ledgers, passphrase=passphrase)
        if signer is not SENDER:
            envelope, _ = await forged(chain, signer)
        before = chain.balance(SENDER)
        with pytest.raises(RefusedError, match="TRAPPED"):
            await chain.sign_and_include(STRANGER, envelope)
        assert chain.balance(SENDER) == before


async def forged(chain: Chain, signer: Keypair) -> tuple[TransactionEnvelope, list[xdr.SCVal]]:
    """The sender's entry, signed by somebody else."""
    envelope, terms = await signed_lock(chain, SENDER)
    operation = envelope.transaction.operations[0]
    entry = operation.auth[0]  # type: ignore[attr-defined]
    given = entry.credentials.address_v2
    fields = scval.from_map(scval.from_vec(given.signature)[0])
    fields[scval.to_symbol("public_key")] = scval.to_bytes(signer.raw_public_key())
    given.signature = scval.to_vec([scval.to_map(fields)])
    return envelope, terms


# Classic operations beside


async def test_classic_payments_and_trustlines_go_through_the_same_ledger_and_emit_events() -> None:
    async with running() as chain:
        asset = Asset("USD", STRANGER.public_key)
        await chain.send(SENDER, ChangeTrust(asset))
        await chain.send(STRANGER, Payment(SENDER.public_key, asset, "10"))
        await chain.send(SENDER, Payment(RECIPIENT.public_key, Asset.native(), "1"))
        contract = await chain.deploy_asset(asset)
        held = await chain.call(STRANGER, "balance", scval.to_address(SENDER.public_key), contract=contract)
        assert scval.from_int128(returned(held)) == 10 * XLM
        found = await chain.rpc.get_events(start_ledger=2)
        names = [
            (each.contract_id, scval.from_symbol(xdr.SCVal.from_xdr(each.topic[0]))) for each in found.events
        ]
        assert (contract, "mint") in names
        assert (chain.xlm, "transfer") in names


async def test_a_claim_makes_the_account_that_is_missing_if_it_is_enough() -> None:
    async with running() as chain:
        poor, rich = key_of("poor"), key_of("rich")
        little = returned(
            await chain.call(SENDER, "lock", *chain.terms(b"a", XLM // 2, recipient=poor.public_key))
        )
        enough = returned(
            await chain.call(SENDER, "lock", *chain.terms(b"b", XLM, recipient=rich.public_key))
        )
        simulated = await chain.rpc.simulate_transaction(
            await chain.build(STRANGER, chain.invocation("claim", [little, scval.to_bytes(b"a")]))
        )
        assert "Error(Contract, #14)" in (simulated.error or "")
        await chain.call(STRANGER, "claim", enough, scval.to_bytes(b"b"))
        assert chain.balance(rich) == XLM
        await chain.fund(poor, stroops=XLM)
        await chain.call(STRANGER, "claim", little, scval.to_bytes(b"a"))
        assert chain.balance(poor) == XLM + XLM // 2
