"""Times to live on the ledger: archived locks, restoring, keeping alive. No archival loses or holds money."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from stellar_sdk import scval, xdr
from stellar_sdk.operation import ExtendFootprintTTL, RestoreFootprint

from relayers.stellar.devnet.frames import SOROBAN_SETTINGS
from relayers.stellar.devnet.soroban.ledger_xdr import code_key, data_key, instance_key
from tests.unit.stellar.soroban.chain import (
    RECIPIENT,
    SENDER,
    STRANGER,
    WASM,
    XLM,
    Chain,
    RefusedError,
    returned,
    running,
)

QUICK = replace(SOROBAN_SETTINGS, min_persistent_ttl=30, min_temporary_ttl=8, max_ttl=60)
"""Entries live for thirty ledgers, so that a test can outlive them."""
ARCHIVED = "txFAILED INVOKE_HOST_FUNCTION_ENTRY_ARCHIVED"


async def locked(chain: Chain, preimage: bytes) -> xdr.SCVal:
    return returned(await chain.call(SENDER, "lock", *chain.terms(preimage)))


async def test_a_claim_restores_whatever_was_archived_and_pays() -> None:
    async with running(settings=QUICK) as chain:
        lock = await locked(chain, b"p")
        await chain.close_ledgers(70)
        before = chain.balance(RECIPIENT)
        claim = chain.invocation("claim", [lock, scval.to_bytes(b"p")])
        prepared = await chain.prepare(STRANGER, claim)
        data = prepared.transaction.soroban_data
        assert data is not None
        assert data.ext.resource_ext is not None
        assert len(data.ext.resource_ext.archived_soroban_entries) == 5
        got = await chain.sign_and_include(STRANGER, prepared)
        assert chain.balance(RECIPIENT) == before + 5 * XLM
        assert got.result_meta_xdr is not None
        meta = xdr.TransactionMeta.from_xdr(got.result_meta_xdr).v4
        assert meta is not None
        kinds = [each.type for each in meta.operations[0].changes.ledger_entry_changes]
        assert xdr.LedgerEntryChangeType.LEDGER_ENTRY_RESTORED in kinds


async def test_a_claim_that_does_not_list_archived_entries_fails_and_the_lock_stays() -> None:
    async with running(settings=QUICK) as chain:
        lock = await locked(chain, b"p")
        early = await chain.prepare(STRANGER, chain.invocation("claim", [lock, scval.to_bytes(b"p")]))
        await chain.close_ledgers(70)
        with pytest.raises(RefusedError, match=ARCHIVED):
            await chain.sign_and_include(STRANGER, early)
        before = chain.balance(RECIPIENT)
        await chain.call(STRANGER, "claim", lock, scval.to_bytes(b"p"))
        assert chain.balance(RECIPIENT) == before + 5 * XLM


async def test_anybody_restores_an_archived_lock_by_itself() -> None:
    async with running(settings=QUICK) as chain:
        lock = await locked(chain, b"p")
        await chain.close_ledgers(70)
        key = chain.lock_key(lock)
        assert chain.live_until(key) < chain.node.network.header.sequence
        await chain.footprint_operation(STRANGER, RestoreFootprint(), xdr.LedgerFootprint([], [key]))
        assert chain.live_until(key) == chain.node.network.header.sequence + 30 - 1


async def test_a_keeper_keeps_contract_code_and_balance_alive_and_a_lock_pays_for_none_of_it() -> None:
    async with running(settings=QUICK) as chain:
        keys = [
            instance_key(chain.contract),
            code_key(hashlib.sha256(WASM.read_bytes()).digest()),
        ]
        before = [chain.live_until(each) for each in keys]
        lock = await locked(chain, b"p")
        assert [chain.live_until(each) for each in keys] == before
        await chain.footprint_operation(STRANGER, ExtendFootprintTTL(50), xdr.LedgerFootprint(keys, []))
        sequence = chain.node.network.header.sequence
        assert [chain.live_until(each) for each in keys] == [sequence + 50] * 2
        await chain.call(STRANGER, "claim", lock, scval.to_bytes(b"p"))


async def test_a_lock_lives_past_its_deadline_as_long_as_the_network_lets_it() -> None:
    async with running(settings=QUICK) as chain:
        lock = await locked(chain, b"p")
        assert chain.live_until(chain.lock_key(lock)) == chain.node.network.header.sequence + 60 - 1


async def test_no_longer_life_than_the_network_allows() -> None:
    async with running(settings=QUICK) as chain:
        keys = xdr.LedgerFootprint([instance_key(chain.contract)], [])
        with pytest.raises(RefusedError, match="EXTEND_FOOTPRINT_TTL_MALFORMED"):
            await chain.footprint_operation(STRANGER, ExtendFootprintTTL(60), keys)


async def test_an_expired_nonce_entry_is_gone_and_its_signature_has_expired_too() -> None:
    async with running(settings=QUICK) as chain:
        operation = chain.invocation("lock", chain.terms(b"p", seconds=10_000))
        await chain.authorise(STRANGER, SENDER, operation, ledgers=2)
        first = await chain.prepare(STRANGER, operation)
        await chain.sign_and_include(STRANGER, first)
        lock = returned(await chain.call(STRANGER, "get", chain.lock_id(chain.last_terms)))
        assert lock.vec is not None
        await chain.call(STRANGER, "claim", chain.lock_id(chain.last_terms), scval.to_bytes(b"p"))
        await chain.close_ledgers(20)
        again = await chain.build(STRANGER, operation)
        again.transaction.soroban_data = first.transaction.soroban_data
        again.transaction.fee = first.transaction.fee
        with pytest.raises(RefusedError):
            await chain.sign_and_include(STRANGER, again)


async def test_the_shared_balance_of_an_asset_is_restored_too() -> None:
    async with running(settings=QUICK) as chain:
        lock = await locked(chain, b"p")
        held = scval.to_vec([scval.to_symbol("Balance"), scval.to_address(chain.contract)])
        key = data_key(chain.xlm, held)
        await chain.close_ledgers(70)
        assert chain.live_until(key) < chain.node.network.header.sequence
        await chain.call(STRANGER, "claim", lock, scval.to_bytes(b"p"))
        assert chain.live_until(key) >= chain.node.network.header.sequence
