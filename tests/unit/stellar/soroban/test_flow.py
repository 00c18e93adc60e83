"""Lock, claim and refund through the RPC server with the unmodified Stellar SDK."""

from __future__ import annotations

import pytest
from stellar_sdk import scval, xdr
from stellar_sdk.exceptions import PrepareTransactionException

from tests.unit.stellar.soroban.chain import RECIPIENT, SENDER, STRANGER, XLM, returned, running


async def test_a_stranger_claims_for_the_recipient_and_events_rebuild_the_lock() -> None:
    async with running() as chain:
        preimage = b"p" * 32
        terms = chain.terms(preimage)
        before = chain.balance(RECIPIENT)
        locked = returned(await chain.call(SENDER, "lock", *terms))
        assert locked == chain.lock_id(terms)
        await chain.call(STRANGER, "claim", locked, scval.to_bytes(preimage))
        assert chain.balance(RECIPIENT) == before + 5 * XLM
        found = await chain.rpc.get_events(start_ledger=2)
        own = [each for each in found.events if each.contract_id == chain.contract]
        topics = [[xdr.SCVal.from_xdr(topic) for topic in each.topic] for each in own]
        assert [scval.from_symbol(each[0]) for each in topics] == ["lock", "claim"]
        assert all(each[1:] == [locked, terms[0], terms[1]] for each in topics)
        assert scval.from_vec(xdr.SCVal.from_xdr(own[0].value)) == terms[2:]
        assert scval.from_bytes(xdr.SCVal.from_xdr(own[1].value)) == preimage


async def test_a_lock_whose_sender_only_authorises_comes_back_at_its_deadline_and_not_before() -> None:
    async with running() as chain:
        before = chain.balance(SENDER)
        locked = returned(await chain.call_signed(STRANGER, SENDER, "lock", *chain.terms(b"x")))
        assert chain.balance(SENDER) == before - 5 * XLM
        with pytest.raises(PrepareTransactionException) as refused:
            await chain.call(STRANGER, "refund", locked)
        assert "Error(Contract, #9)" in (refused.value.simulate_transaction_response.error or "")
        await chain.node.advance(3600)
        await chain.call(STRANGER, "refund", locked)
        assert chain.balance(SENDER) == before
