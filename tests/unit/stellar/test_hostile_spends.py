"""What R and the preimage can do to a gate beside claiming, and what becomes of envelopes nobody can read."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

import pytest
from stellar_sdk import (
    Account,
    AccountMerge,
    Asset,
    ClaimClaimableBalance,
    CreateAccount,
    FeeBumpTransaction,
    FeeBumpTransactionEnvelope,
    Payment,
    SetOptions,
    Signer,
    TransactionBuilder,
    TransactionEnvelope,
    xdr,
)
from stellar_sdk.operation import Operation

from bridge.chains.actions import ClaimAction, LockAction, RefundAction
from bridge.chains.port import Claimed, HtlcEvent, LockStatus, Refunded, Revealed, Scan, Spent
from bridge.protocol.types import BlockRef, LockTerms, Preimage, TxId
from relayers.stellar import htlc
from relayers.stellar.adapter import StellarPort
from relayers.stellar.assets import decimal
from relayers.stellar.devnet import entries
from relayers.stellar.htlc import Gate
from tests.unit.stellar.conftest import SECRET, Net


class Attack:
    """A lock of the bridge's, its recipient who does what the ledger allows, and a watcher."""

    def __init__(self, net: Net, bridge: StellarPort, user: StellarPort, terms: LockTerms) -> None:
        self.net, self.bridge, self.user, self.terms = net, bridge, user, terms
        self.key = net.key("user")
        self.at: BlockRef
        self.gate: Gate

    def envelope(
        self, operations: Sequence[Operation], preimage: Preimage | None = None
    ) -> TransactionEnvelope:
        entry = self.net.node.network.state.peek(entries.account(self.key.raw_public_key()))
        builder = TransactionBuilder(
            Account(self.key.public_key, entry.sequence), self.net.passphrase, base_fee=1000
        )
        for each in operations:
            builder.append_operation(each)
        made = builder.add_time_bounds(0, 0).build()
        made.sign(self.key)
        if preimage is not None:
            made.sign_hashx(preimage.reveal())
        return made

    async def does(self, operations: Sequence[Operation], preimage: Preimage | None = None) -> None:
        await self.net.submit_xdr(self.envelope(operations, preimage).to_xdr())

    async def scan(self) -> Scan:
        seen = await self.bridge.scan([self.at], 1000)
        self.at = seen.blocks[-1]
        return seen

    async def events(self) -> list[HtlcEvent]:
        return list((await self.scan()).events)

    async def status(self, port: StellarPort | None = None) -> LockStatus:
        port = port or self.bridge
        return await port.read_lock(port.lock_id(self.terms), self.terms)

    def raised(self) -> SetOptions:
        """R's weight on the gate becomes 2: from then on R needs no preimage."""
        signer = Signer.ed25519_public_key(self.key.public_key, 2)
        return SetOptions(signer=signer, source=self.gate.address)


@pytest.fixture
async def attack(net: Net) -> Attack:
    bridge, user = await net.port("bridge"), await net.port("user")
    made = Attack(net, bridge, user, net.terms(bridge, user))
    await net.done(bridge, LockAction(made.terms))
    made.at = (await bridge.tip()).block
    (made.gate,) = await bridge._locks.find(made.terms, bridge._builder.gate_key(made.terms).public_key)
    return made


async def test_a_gate_that_was_keyed_anew_shows_the_preimage_is_never_open_and_never_refunded(
    net: Net, attack: Attack
) -> None:
    await attack.does([attack.raised()], SECRET)
    shown, spent = await attack.events()
    assert isinstance(shown, Revealed)
    assert shown.preimage == SECRET
    assert isinstance(spent, Spent)
    assert spent.lock_id == attack.bridge.lock_id(attack.terms)
    assert await attack.status() is LockStatus.SPENT
    assert await attack.status(await net.port("anybody")) is LockStatus.SPENT
    assert await attack.bridge._locks.claimable(attack.terms) is None

    before = await attack.bridge.balance(attack.user.account, attack.terms.asset)
    await attack.does(htlc.claim_operations(attack.gate))
    gained = await attack.bridge.balance(attack.user.account, attack.terms.asset) - before
    assert gained == attack.terms.amount - 200
    (taken,) = await attack.events()
    assert isinstance(taken, Spent)
    assert await attack.status() is LockStatus.SPENT
    assert await attack.status(await net.port("nobody")) is LockStatus.SPENT
    assert await attack.bridge.revealed(attack.terms) == SECRET


async def test_a_watcher_that_never_saw_the_lock_does_not_take_the_theft_for_a_refund(
    net: Net, attack: Attack
) -> None:
    await attack.does([attack.raised()], SECRET)
    await attack.does(htlc.claim_operations(attack.gate))
    fresh = await net.port("bridge")
    events = (await fresh.scan([attack.at], 100)).events
    assert [each.preimage for each in events if isinstance(each, Revealed)] == [SECRET]
    assert [type(each) for each in events if not isinstance(each, Revealed)] == [Spent]


async def test_the_same_transaction_may_change_the_gate_and_claim(attack: Attack) -> None:
    await attack.does([attack.raised(), *htlc.claim_operations(attack.gate)], SECRET)
    (claimed,) = await attack.events()
    assert isinstance(claimed, Claimed)
    assert claimed.preimage == SECRET
    assert await attack.status() is LockStatus.CLAIMED


async def test_a_balance_that_goes_elsewhere_than_to_the_recipient_is_spent_and_the_secret_shown(
    attack: Attack,
) -> None:
    elsewhere = [
        ClaimClaimableBalance(attack.gate.balance_id, source=attack.gate.address),
        Payment(attack.bridge.account, Asset.native(), "10", source=attack.gate.address),
    ]
    await attack.does(elsewhere, SECRET)
    shown, spent = await attack.events()
    assert isinstance(shown, Revealed)
    assert shown.preimage == SECRET
    assert isinstance(spent, Spent)
    assert await attack.status() is LockStatus.SPENT


CHANGES: dict[str, Callable[[str, str], SetOptions]] = {
    "a signer more": lambda gate, user: SetOptions(signer=Signer.ed25519_public_key(user, 3), source=gate),
    "lower thresholds": lambda gate, _user: SetOptions(
        low_threshold=1, med_threshold=1, high_threshold=1, source=gate
    ),
    "the gate's own key": lambda gate, _user: SetOptions(master_weight=2, source=gate),
    "no preimage any more": lambda gate, _user: SetOptions(
        signer=Signer.sha256_hash(SECRET.hashlock(), 0), source=gate
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_gate_is_spent_and_never_open(attack: Attack, change: str) -> None:
    await attack.does([CHANGES[change](attack.gate.address, attack.key.public_key)], SECRET)
    events = await attack.events()
    assert [type(each) for each in events] == [Revealed, Spent]
    assert await attack.status() is LockStatus.SPENT


async def test_a_gate_that_its_recipient_merges_is_spent_and_the_balance_left_is_no_open_lock(
    net: Net, attack: Attack
) -> None:
    for _ in range(htlc.SEQUENCE_LEDGERS + 1):
        await net.node.close()
    await attack.does([AccountMerge(attack.user.account, source=attack.gate.address)], SECRET)
    assert [type(each) for each in await attack.events()] == [Revealed, Spent]
    assert await attack.status() is LockStatus.SPENT


async def test_the_reclaim_that_was_agreed_upon_spends_nothing_and_the_refund_is_one(
    net: Net, attack: Attack
) -> None:
    for _ in range(htlc.SEQUENCE_LEDGERS + 1):
        await net.node.close()
    await net.node.advance(10_000)
    inner = htlc.reclaim_transaction(attack.terms, attack.gate.address, attack.gate.sequence, net.passphrase)
    await net.submit_xdr(htlc.bump(inner, attack.key, 1000).to_xdr())
    assert await attack.events() == []
    assert await attack.status() is LockStatus.OPEN, "the refund is left of it"
    await net.done(attack.bridge, RefundAction(attack.terms))
    assert [type(each) for each in await attack.events()] == [Refunded]
    assert await attack.status() is LockStatus.REFUNDED


async def test_whoever_makes_a_reclaimed_gate_anew_and_claims_as_the_gate_proves_no_refund(
    net: Net, attack: Attack
) -> None:
    for _ in range(htlc.SEQUENCE_LEDGERS + 1):
        await net.node.close()
    await net.node.advance(10_000)
    inner = htlc.reclaim_transaction(attack.terms, attack.gate.address, attack.gate.sequence, net.passphrase)
    await net.submit_xdr(htlc.bump(inner, attack.key, 1000).to_xdr())
    again = [
        CreateAccount(attack.gate.address, "1"),
        ClaimClaimableBalance(attack.gate.balance_id, source=attack.gate.address),
        Payment(attack.bridge.account, Asset.native(), decimal(attack.terms.amount), attack.gate.address),
    ]
    await net.send("bridge", again, attack.bridge._builder.gate_key(attack.terms))
    assert [type(each) for each in await attack.events()] == [Spent]
    assert await attack.status() is LockStatus.SPENT


async def test_what_happens_to_a_claimed_gate_spends_nothing_again(attack: Attack) -> None:
    await attack.net.done(attack.user, ClaimAction(attack.terms, SECRET))
    await attack.does([SetOptions(home_domain="later", source=attack.gate.address)], SECRET)
    assert [type(each) for each in await attack.events()] == [Claimed, Revealed]
    fresh = await attack.net.port("fresh")
    fresh._watch.remember(attack.gate)
    assert [type(each) for each in (await fresh.scan([attack.at], 9)).events] == []
    assert await attack.status() is LockStatus.CLAIMED


async def test_a_secret_in_the_outer_envelope_is_shown(net: Net, attack: Attack) -> None:
    """The fee payer lets a hash(x) signer sign for it: the preimage stands around the inner transaction."""
    await net.send("bridge", [SetOptions(signer=Signer.sha256_hash(SECRET.hashlock(), 1))])
    await attack.scan()
    inner = attack.envelope([Payment(attack.gate.address, Asset.native(), "1")])
    outer = FeeBumpTransactionEnvelope(
        FeeBumpTransaction(attack.bridge.account, 10_000, inner), net.passphrase
    )
    outer.sign_hashx(SECRET.reveal())
    await net.submit_xdr(outer.to_xdr())
    (shown,) = await attack.events()
    assert isinstance(shown, Revealed)
    assert shown.preimage == SECRET


def _of_a_newer_protocol(envelope: str) -> str:
    """Give an envelope's first operation a kind that this library does not know."""
    raw = bytearray(base64.b64decode(envelope))
    decoded = xdr.TransactionEnvelope.from_xdr(envelope)
    inner = decoded.v1
    assert inner is not None
    body = inner.tx.operations[0].body.to_xdr_bytes()
    at = bytes(raw).index(body)
    raw[at : at + 4] = (77).to_bytes(4)
    return base64.b64encode(bytes(raw)).decode()


async def test_an_envelope_that_cannot_be_decoded_is_set_aside_and_the_scan_goes_on(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await attack.does([Payment(attack.bridge.account, Asset.native(), "1")])
    await attack.does([attack.raised()], SECRET)
    await attack.net.done(
        attack.bridge, LockAction(attack.net.terms(attack.bridge, attack.user, amount=10**8))
    )
    genuine = attack.bridge._horizon.transactions

    async def newer(first: int, last: int) -> list[dict[str, object]]:
        found = await genuine(first, last)
        for each in found[:2]:
            each["envelope_xdr"] = _of_a_newer_protocol(str(each["envelope_xdr"]))
        return found

    monkeypatch.setattr(attack.bridge._horizon, "transactions", newer)
    scan = await attack.scan()
    plain, naming = scan.set_aside
    assert plain.item == (await genuine(plain.block.height, plain.block.height))[0]["hash"]
    assert plain.lock_ids == ()
    assert "77" in plain.reason
    assert naming.lock_ids == (attack.bridge.lock_id(attack.terms),)
    assert [type(each).__name__ for each in scan.events] == ["Revealed", "Locked"]
    assert scan.events[0] == Revealed(naming.block, TxId(naming.item), SECRET)
