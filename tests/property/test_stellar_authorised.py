"""Whatever is submitted in whatever order: an authorised claim pays the recipient once or not at all."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from stellar_sdk import (
    AccountMerge,
    Asset,
    ChangeTrust,
    ClaimClaimableBalance,
    CreateAccount,
    Payment,
    TransactionEnvelope,
)

from relayers.stellar import authorized, htlc
from relayers.stellar.assets import stroops, to_stellar
from relayers.stellar.authorized import Way
from relayers.stellar.htlc import Gate
from relayers.stellar.settings import XLM
from tests.unit.stellar.world import PREIMAGE, LedgerWorld, keypair

STEPS = (
    "create recipient",
    "first",
    "second",
    "way back",
    "reclaim",
    "refund",
    "dust",
    "no room",
    "room again",
    "deadline",
    "gate sequence",
)
LIFETIME = 10_000


def submit(world: LedgerWorld, gate: Gate, way: Way, step: str) -> None:
    """Take one step; the ledger may refuse it or let it fail."""
    recipient = keypair("recipient")
    asset = to_stellar(gate.terms.asset)
    if step == "create recipient" and world.entry(recipient) is None:
        world.apply(world.stranger, [CreateAccount(recipient.public_key, "1")])
    elif step in ("first", "second"):
        inner = authorized.claims(gate, gate.sequence, way, world.passphrase)[step == "second"]
        htlc.sign_claim(inner, recipient, PREIMAGE)
        world.send(htlc.bump(inner, world.stranger, 200))
    elif step == "way back":
        world.send(htlc.bump(authorized.way_back(gate, world.passphrase), world.stranger, 200))
    elif step == "reclaim":
        world.reclaim(gate, world.stranger)
    elif step == "refund":
        world.refund(gate, world.sender)
    elif step == "dust":
        world.send(world.build(world.stranger, [Payment(gate.address, Asset.native(), "0.0000001")]))
    elif step in ("no room", "room again") and not asset.is_native() and world.entry(recipient) is not None:
        line = world.line(recipient, asset)
        limit = (line.balance if line is not None else 0) + (0 if step == "no room" else 10**9)
        world.send(world.build(recipient, [ChangeTrust(asset, f"{max(1, limit) / 10**7:.7f}")]))
    elif step == "deadline":
        world.close(LIFETIME)
    elif step == "gate sequence":
        world.pass_gate_sequence()


def happened(world: LedgerWorld, gate: Gate) -> list[tuple[str, str]]:
    """Return what has taken effect on the gate and the balance, in order: what, and to whom."""
    found = []
    for closed in world.network.ledgers:
        for applied in closed.transactions:
            if not applied.result.succeeded:
                continue
            inner = applied.frame.inner.envelope
            for operation in TransactionEnvelope.from_xdr_object(
                inner, world.passphrase
            ).transaction.operations:
                source = operation.source.account_id if operation.source else ""
                if isinstance(operation, ClaimClaimableBalance):
                    found.append(("claim", source))
                elif isinstance(operation, AccountMerge):
                    found.append(("merge", operation.destination.account_id))
                elif isinstance(operation, Payment) and source == gate.address:
                    assert stroops(operation.amount) == gate.terms.amount
                    found.append(("pay", operation.destination.account_id))
                elif isinstance(operation, CreateAccount) and source == gate.address:
                    assert stroops(operation.starting_balance) == gate.terms.amount
                    found.append(("pay", operation.destination))
    return found


@example(issued=False, exists=False, way=Way.CREATION, steps=["first", "gate sequence", "way back"])
@example(issued=True, exists=True, way=Way.PAYMENT, steps=["no room", "first", "room again", "second"])
@example(issued=False, exists=False, way=Way.CREATION, steps=["create recipient", "first", "second"])
@example(issued=False, exists=True, way=Way.PAYMENT, steps=["first", "gate sequence", "deadline", "reclaim"])
@settings(max_examples=40, deadline=None)
@given(
    issued=st.booleans(),
    exists=st.booleans(),
    way=st.sampled_from(list(Way)),
    steps=st.lists(st.sampled_from(STEPS), max_size=9),
)
def test_an_authorised_claim_pays_once_and_the_deposit_follows_the_amount(
    issued: bool, exists: bool, way: Way, steps: list[str]
) -> None:
    world = LedgerWorld("sender", "stranger")
    recipient = keypair("recipient")
    asset = world.issue(world.stranger, "USD", world.sender) if issued else XLM
    if issued or exists:
        world.apply(world.stranger, [CreateAccount(recipient.public_key, "5")])
    if issued:
        world.apply(recipient, [ChangeTrust(to_stellar(asset))])
    terms = world.terms(world.sender, recipient, asset=asset, lifetime=LIFETIME)
    gate = world.lock(terms, world.sender)
    for step in steps:
        submit(world, gate, Way.PAYMENT if issued else way, step)
    seen = happened(world, gate)
    to_recipient, to_sender = ("pay", recipient.public_key), ("claim", terms.sender)
    assert [each for each in seen if each[0] == "pay"] == [to_recipient] * seen.count(("claim", gate.address))
    assert seen.count(to_recipient) + seen.count(to_sender) <= 1
    merged = [who for what, who in seen if what == "merge"]
    if merged:
        claimed_first = to_recipient in seen and "first" in steps
        assert merged == [recipient.public_key] or (merged == [terms.sender] and to_recipient not in seen)
        assert claimed_first or merged == [terms.sender]
