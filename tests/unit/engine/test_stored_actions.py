"""Actions that belong to no swap keep their layout in the database: rows of the first release are read."""

from __future__ import annotations

import pytest

from bridge.chains.actions import (
    AccountAction,
    AnchorAction,
    ApproveAction,
    CancelAction,
    CloseAction,
    action_of,
)
from bridge.chains.errors import ActionRefusedError
from bridge.engine.actions import decode_action, encode_action
from bridge.protocol.types import Address, Amount, Asset, ChainId, LockTerms, Preimage, Purpose, UnixSeconds

STELLAR = ChainId("stellar")
TERMS = LockTerms(
    chain=STELLAR,
    contract=Address(""),
    sender=Address("GSENDER"),
    recipient=Address("GRECIPIENT"),
    asset=Asset(STELLAR, "XLM", 7),
    amount=Amount(10**9),
    hashlock=bytes(range(32)),
    deadline=UnixSeconds(1_800_003_600),
)

# Written by release 0.1.0, whose one `Action` had a field for every purpose.
RECORDED: list[tuple[str, AccountAction]] = [
    (
        '{"purpose":"approve","payload":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",'
        '"amount":"57896044618658097711785492504343953926634992332820282019728792003956564819968"}',
        ApproveAction(b"\xaa" * 20, Amount(2**255)),
    ),
    ('{"purpose":"approve","payload":"6368616e6e656c73","amount":"0"}', ApproveAction(b"channels")),
    (
        '{"purpose":"anchor","payload":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",'
        '"amount":"17"}',
        AnchorAction(b"\xa5" * 32, 17),
    ),
    ('{"purpose":"cancel","amount":"0"}', CancelAction()),
    (
        '{"purpose":"close","amount":"0","terms":{"chain":"stellar","contract":"","sender":"GSENDER",'
        '"recipient":"GRECIPIENT","asset":{"chain":"stellar","symbol":"XLM","decimals":7,"contract":""},'
        '"amount":1000000000,"hashlock":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",'
        '"deadline":1800003600,"lane":0}}',
        CloseAction(TERMS),
    ),
]


@pytest.mark.parametrize(("row", "action"), RECORDED, ids=[action.purpose for _, action in RECORDED])
def test_a_row_of_the_first_release_is_read_as_the_action_it_was(row: str, action: AccountAction) -> None:
    assert decode_action(row) == action


@pytest.mark.parametrize("action", [action for _, action in RECORDED], ids=lambda action: action.purpose)
def test_what_is_written_is_read_back(action: AccountAction) -> None:
    assert decode_action(encode_action(action)) == action


@pytest.mark.parametrize("purpose", [Purpose.LOCK, Purpose.CLAIM, Purpose.REFUND, Purpose.CLOSE])
def test_a_row_without_what_its_purpose_needs_is_no_action(purpose: Purpose) -> None:
    with pytest.raises(ValueError, match=purpose):
        decode_action(f'{{"purpose":"{purpose}","amount":"0"}}')


def test_a_claim_cannot_be_made_without_its_preimage() -> None:
    with pytest.raises(ActionRefusedError, match="preimage") as refused:
        action_of(Purpose.CLAIM, TERMS)
    assert refused.value.hint
    assert action_of(Purpose.CLAIM, TERMS, Preimage(b"x")).purpose is Purpose.CLAIM
    with pytest.raises(ActionRefusedError, match="nothing to do with a lock"):
        action_of(Purpose.ANCHOR, TERMS)
