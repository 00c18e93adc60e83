"""What is concluded of a spend that the validator allows to be read in more than one way."""

from __future__ import annotations

import pytest
from pycardano import Network

from bridge.chains.port import Refunded, Spent
from bridge.protocol.types import Amount, LockId, LockTerms, Preimage, TxId, UnixSeconds
from relayers.cardano.chain_view import NOWHERE, HtlcTx
from relayers.cardano.fates import fate
from relayers.cardano.script import RefundRedeemer, validator_address
from relayers.cardano.settings import ADA
from tests.unit.cardano.world import ALICE, BOB, PREIMAGE

DEADLINE = UnixSeconds(1_800_000_000)
TERMS = LockTerms(
    chain=ADA.chain,
    contract=validator_address(Network.TESTNET),
    sender=ALICE.address,
    recipient=BOB.address,
    asset=ADA,
    amount=Amount(7_000_000),
    hashlock=Preimage(PREIMAGE).hashlock(),
    deadline=DEADLINE,
)


@pytest.mark.parametrize(
    ("valid_from", "refunded"),
    [(None, False), (0, False), (DEADLINE - 1, False), (DEADLINE, True), (DEADLINE + 1, True)],
)
def test_a_refund_is_one_only_where_it_is_shown_to_be_past_the_deadline(
    valid_from: int | None, refunded: bool
) -> None:
    tx = HtlcTx(TxId("ab" * 32), NOWHERE, (), ())
    since = None if valid_from is None else UnixSeconds(valid_from)
    found = fate(tx, LockId("cd"), TERMS, [RefundRedeemer().to_cbor()], BOB.key, since)
    assert isinstance(found, Refunded if refunded else Spent)
