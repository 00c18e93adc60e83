"""Finding a lock by its terms alone, with what Horizon can be asked, whatever strangers put in the way."""

from __future__ import annotations

import msgspec
import pytest
from stellar_sdk import Asset as StellarAsset
from stellar_sdk import (
    BeginSponsoringFutureReserves,
    BumpSequence,
    Claimant,
    CreateAccount,
    CreateClaimableBalance,
    EndSponsoringFutureReserves,
    Keypair,
    RevokeSponsorship,
    SetOptions,
    Signer,
)

from bridge.chains.actions import ClaimAction, CloseAction
from bridge.chains.port import FeeLevel, LockStatus, TxState
from bridge.protocol.types import LockTerms
from relayers.stellar import htlc
from relayers.stellar.adapter import StellarPort
from relayers.stellar.horizon import Horizon
from relayers.stellar.wallet import StellarWallet
from tests.unit.stellar.conftest import SECRET, Net


async def locked_by_a_wallet(net: Net, terms: LockTerms, name: str, gate: Keypair | None = None) -> None:
    wallet = StellarWallet(net.settings())
    built = await wallet.lock(terms, gate)
    await wallet.close()
    built.envelope.sign(net.key(name))
    await net.submit_xdr(built.envelope.to_xdr())


async def status(port: StellarPort, terms: LockTerms) -> LockStatus:
    return await port.read_lock(port.lock_id(terms), terms)


@pytest.mark.parametrize("reader", ["sender", "recipient", "stranger"])
async def test_anybody_finds_a_lock_with_a_random_gate_and_tells_how_it_ends(
    net: Net, sender: StellarPort, recipient: StellarPort, reader: str
) -> None:
    terms = net.terms(sender, recipient)
    await locked_by_a_wallet(net, terms, "sender")
    looking = await net.port(reader)
    assert await status(looking, terms) is LockStatus.OPEN
    assert await status(looking, msgspec.structs.replace(terms, amount=terms.amount + 1)) is LockStatus.ABSENT
    await net.done(recipient, ClaimAction(terms, SECRET))
    assert await status(await net.port(reader), terms) is LockStatus.CLAIMED
    for _ in range(htlc.SEQUENCE_LEDGERS):
        await net.node.close()
    closing = await recipient.prepare(CloseAction(terms), None, FeeLevel())
    await recipient.broadcast(closing)
    await net.node.close()
    assert (await recipient.tx_status(closing)).state is TxState.INCLUDED
    assert await status(await net.port(reader), terms) is LockStatus.CLAIMED, "the gate is gone"


@pytest.fixture
def short_sighted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every list were longer than we are willing to read: four records are all that we see of any."""
    monkeypatch.setattr("relayers.stellar.horizon.PAGE", 2)
    pages = Horizon._pages

    async def few(self: Horizon, call: object, _most: int) -> list[dict[str, object]]:
        return await pages(self, call, 2)

    monkeypatch.setattr(Horizon, "_pages", few)


@pytest.mark.usefixtures("short_sighted")
async def test_a_flood_of_accounts_and_balances_of_strangers_hides_no_lock(
    net: Net, sender: StellarPort, recipient: StellarPort
) -> None:
    await net.port("flooder")
    terms = net.terms(sender, recipient)
    keys = sorted(
        (Keypair.from_raw_ed25519_seed(index.to_bytes(32)) for index in range(9)),
        key=lambda each: each.public_key,
    )
    await locked_by_a_wallet(net, terms, "sender", keys[-1])
    for fake in keys[:-1]:
        hashx = SetOptions(signer=Signer.sha256_hash(terms.hashlock, 1), source=fake.public_key)
        theirs = SetOptions(signer=Signer.ed25519_public_key(recipient.account, 1), source=fake.public_key)
        await net.send("flooder", [CreateAccount(fake.public_key, "3"), hashx, theirs], fake)
        claimants = [Claimant(fake.public_key), Claimant(sender.account)]
        await net.send("flooder", [CreateClaimableBalance(StellarAsset.native(), "10", claimants)])
    fresh = await net.port("recipient")
    (gate,) = await fresh._locks.all_standing(terms)
    assert gate.address == keys[-1].public_key
    assert await status(fresh, terms) is LockStatus.OPEN
    await net.done(fresh, ClaimAction(terms, SECRET))


@pytest.mark.usefixtures("short_sighted")
async def test_the_end_of_a_busy_senders_lock_is_found_by_its_gate(
    net: Net, sender: StellarPort, recipient: StellarPort
) -> None:
    terms = net.terms(sender, recipient)
    await locked_by_a_wallet(net, terms, "sender")
    await net.done(recipient, ClaimAction(terms, SECRET))
    for _ in range(5):
        await net.send("sender", [BumpSequence(0)])
    assert await status(await net.port("stranger"), terms) is LockStatus.CLAIMED


async def test_a_sender_who_lets_another_pay_the_reserve_does_not_hide_the_lock(
    net: Net, sender: StellarPort, recipient: StellarPort
) -> None:
    other = await net.port("other")
    terms = net.terms(sender, recipient)
    await locked_by_a_wallet(net, terms, "sender")
    (gate,) = await recipient._locks.find(terms)
    handed_on = [
        BeginSponsoringFutureReserves(sender.account, source=other.account),
        RevokeSponsorship.revoke_claimable_balance_sponsorship(gate.balance_id),
        EndSponsoringFutureReserves(),
    ]
    await net.send("sender", handed_on, net.key("other"))
    fresh = await net.port("recipient")
    assert await status(fresh, terms) is LockStatus.OPEN
    await net.done(fresh, ClaimAction(terms, SECRET))
