"""Access lists: what of a node's proposal is taken, and what is not."""

from __future__ import annotations

import msgspec
import pytest

from bridge.protocol.types import Address, Amount, Asset, LockTerms, Purpose, UnixSeconds
from relayers.evm.access import MAX_KEYS, Entry, may_pay, worthwhile
from relayers.evm.settings import ETH
from tests import instances

SENDER, HTLC, TOKEN = ("0x" + digits * 20 for digits in ("a1", "B2", "c3"))
TERMS = LockTerms(
    instances.ETHEREUM,
    Address(HTLC),
    Address(SENDER),
    Address("0x" + "d4" * 20),
    ETH,
    Amount(10**18),
    bytes(32),
    UnixSeconds(1_900_000_000),
)
USDX = Asset(instances.ETHEREUM, "USDX", 6, TOKEN)


def key(number: int) -> str:
    return f"0x{number:064x}"


def proposal(*entries: tuple[str, int]) -> dict[str, object]:
    listed = [{"address": address, "storageKeys": [key(n) for n in range(keys)]} for address, keys in entries]
    return {"accessList": listed, "gasUsed": "0x5208"}


def test_a_token_and_its_slots_are_listed_and_the_contract_itself_is_not() -> None:
    found = worthwhile(proposal((HTLC.lower(), 1), (TOKEN, 3)), SENDER, HTLC)
    assert found == (Entry(TOKEN, (key(0), key(1), key(2))),)
    assert found[0].cost == 2_400 + 3 * 1_900


def test_an_account_that_is_only_paid_is_listed_without_slots() -> None:
    assert worthwhile(proposal((HTLC, 1), (TOKEN, 0)), SENDER, HTLC) == (Entry(TOKEN),)


def test_a_warm_account_is_listed_from_the_twenty_fifth_slot_on() -> None:
    for slots, pays in ((24, False), (25, True)):
        for warm in (HTLC, SENDER):
            assert bool(worthwhile(proposal((warm, slots)), SENDER, HTLC)) == pays


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "0x",
        {"accessList": None},
        {"accessList": ["0x"]},
        {"accessList": [{"address": "0x12", "storageKeys": []}]},
        {"accessList": [{"address": TOKEN, "storageKeys": ["0x1"]}]},
        {"accessList": [{"address": TOKEN, "storageKeys": None}]},
        proposal((TOKEN, MAX_KEYS)),
    ],
)
def test_a_proposal_that_cannot_be_is_no_list(nonsense: object) -> None:
    assert worthwhile(nonsense, SENDER, HTLC) == ()


def test_a_list_is_asked_for_only_where_something_cold_is_touched() -> None:
    token = msgspec.structs.replace(TERMS, asset=USDX)
    assert not may_pay(Purpose.APPROVE, None, SENDER)
    assert not may_pay(Purpose.LOCK, TERMS, SENDER)
    assert may_pay(Purpose.LOCK, token, SENDER)
    assert may_pay(Purpose.CLAIM, TERMS, SENDER)
    assert not may_pay(Purpose.CLAIM, TERMS, TERMS.recipient)
    assert not may_pay(Purpose.REFUND, TERMS, SENDER)
    assert may_pay(Purpose.COOPERATIVE_REFUND, TERMS, TERMS.recipient)
