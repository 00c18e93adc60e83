"""Nothing of a transaction under construction reaches a log, whatever becomes of it."""

from __future__ import annotations

import logging
import logging.config

import pytest
from pycardano import TransactionOutput, UTxO, Value
from pycardano import logging as pycardano_logging

from bridge.chains.errors import InsufficientFundsError
from relayers.cardano import building
from relayers.cardano.building import BuildContext, Spend
from relayers.cardano.script import ClaimRedeemer
from tests.unit.cardano.world import BOB, CAROL, PREIMAGE, CardanoWorld


def test_a_claim_that_cannot_be_paid_for_leaves_no_trace_of_itself(
    world: CardanoWorld, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (lock,) = world.lock(world.terms())
    view = world.view(CAROL)
    just_collateral = UTxO(view.confirmed[0].input, TransactionOutput(view.payer, Value(6_000_000)))
    poor = BuildContext(view.parameters, view.slot, view.network, view.payer, [just_collateral])
    dear = Spend(lock, ClaimRedeemer(PREIMAGE), BOB.key, memory=90_000_000, steps=90_000_000_000)
    with caplog.at_level(logging.DEBUG), pytest.raises(InsufficientFundsError) as refusal:
        building.spend(poor, [dear], world.reference, world.slot + 100)
    building.spend(view, [Spend(lock, ClaimRedeemer(PREIMAGE), BOB.key)], world.reference, world.slot + 100)
    shown = "".join([*capfd.readouterr(), caplog.text, repr(refusal.value), repr(refusal.value.__cause__)])
    for secret in (PREIMAGE.hex(), PREIMAGE.decode(), lock.input.transaction_id.payload.hex()):
        assert secret not in shown
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})  # as uvicorn does
    assert not pycardano_logging.logger.isEnabledFor(logging.CRITICAL)
