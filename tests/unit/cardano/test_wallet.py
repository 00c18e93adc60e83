"""Users' own wallets: transactions ready for CIP-30's signTx, paid from wherever the key's money lies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from pycardano import Address, Network, PaymentSigningKey, Transaction, VerificationKeyHash

from bridge.chains.actions import LockAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import FeeLevel, LockStatus
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Amount, Asset, LockTerms, Preimage, Purpose, UnixSeconds
from relayers.cardano.devnet import DEMO_TOKEN, CardanoDevnet
from relayers.cardano.settings import ADA
from relayers.cardano.wallet import CBOR_FORMAT, CardanoWallet
from tests.conformance.cardano_rig import witness
from tests.unit.cardano.conftest import Opener

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = Preimage(b"a preimage that a browser holds.")


@pytest_asyncio.fixture(loop_scope="session")
async def wallet(devnet: CardanoDevnet) -> AsyncIterator[CardanoWallet]:
    async with CardanoWallet(devnet.settings) as made:
        yield made


class Browser:
    """A user whose money lies at an address with a stake part, as every CIP-30 wallet's does."""

    def __init__(self, devnet: CardanoDevnet, opened: Opener, name: str) -> None:
        self.key = PaymentSigningKey(devnet_key(name))
        self.port = opened(devnet.settings, name)
        payment, stake = self.key.to_verification_key().hash(), VerificationKeyHash(b"\x05" * 28)
        self.base = str(Address(payment, stake, network=Network.TESTNET).encode())

    async def terms(self, recipient: str, asset: Asset = ADA, amount: int = 20_000_000) -> LockTerms:
        return LockTerms(
            chain=self.port.chain,
            contract=self.port.contract,
            sender=self.port.parse_address(self.base),
            recipient=Address(recipient),
            asset=asset,
            amount=Amount(amount),
            hashlock=SECRET.hashlock(),
            deadline=UnixSeconds((await self.port.tip()).time + 300),
        )


async def test_money_at_an_address_with_a_stake_part_is_locked_claimed_and_refunded(
    devnet: CardanoDevnet, wallet: CardanoWallet, opened: Opener
) -> None:
    alice, bob = Browser(devnet, opened, "wallets/alice"), Browser(devnet, opened, "wallets/bob")
    for person in (alice, bob):
        await devnet.fund(person.base, ADA, 100_000_000)
    await devnet.fund(alice.base, DEMO_TOKEN, 50)
    claimed = await alice.terms(bob.port.account)
    refunded = await alice.terms(bob.port.account, DEMO_TOKEN, 30)
    for terms in (claimed, refunded):
        tx = await wallet.unsigned(Purpose.LOCK, terms)
        assert (tx.format, tx.payload["signer"]) == (CBOR_FORMAT, terms.sender)
        outputs = Transaction.from_cbor(tx.payload["cbor"]).transaction_body.outputs
        assert [str(one.address) for one in outputs] == [terms.contract, alice.base]
        await wallet.submit(tx.payload["cbor"], witness(tx.payload["cbor"], alice.key))
        await devnet.mine(1)
        assert await alice.port.read_lock(alice.port.lock_id(terms), terms) is LockStatus.OPEN
    claim = await wallet.unsigned(Purpose.CLAIM, claimed, SECRET)
    await wallet.submit(claim.payload["cbor"], witness(claim.payload["cbor"], bob.key))
    await devnet.mine(1)
    await devnet.advance_time(400)
    refund = await wallet.unsigned(Purpose.REFUND, refunded)
    await wallet.submit(refund.payload["cbor"], witness(refund.payload["cbor"], alice.key))
    await devnet.mine(1)
    for terms, status in ((claimed, LockStatus.CLAIMED), (refunded, LockStatus.REFUNDED)):
        assert await alice.port.read_lock(alice.port.lock_id(terms), terms) is status
    assert await alice.port.balance(Address(alice.base), DEMO_TOKEN) == 50


async def test_a_key_without_money_is_refused_in_words(
    devnet: CardanoDevnet, wallet: CardanoWallet, opened: Opener
) -> None:
    poor, rich = Browser(devnet, opened, "wallets/poor"), Browser(devnet, opened, "wallets/rich")
    with pytest.raises(ActionRefusedError, match="does not hold the amount") as refusal:
        await wallet.unsigned(Purpose.LOCK, await poor.terms(rich.port.account))
    assert "send ada" in refusal.value.hint
    await devnet.fund(rich.base, ADA, 100_000_000)
    terms = await rich.terms(poor.port.account)
    lock = await wallet.unsigned(Purpose.LOCK, terms)
    await wallet.submit(lock.payload["cbor"], witness(lock.payload["cbor"], rich.key))
    await devnet.mine(1)
    with pytest.raises(ActionRefusedError, match="the fee and its collateral") as refusal:
        await wallet.unsigned(Purpose.CLAIM, terms, SECRET)
    assert "let the bridge claim" in refusal.value.hint
    with pytest.raises(ActionRefusedError, match="nothing to sign"):
        await wallet.unsigned(Purpose.COOPERATIVE_REFUND, terms)


async def test_less_than_the_least_amount_is_refused_and_the_least_is_taken(
    devnet: CardanoDevnet, opened: Opener
) -> None:
    alice = Browser(devnet, opened, "wallets/least")
    await devnet.fund(alice.port.account, ADA, 100_000_000)
    least = (await alice.port.fees(ADA)).minimum
    assert 1_000_000 < least < 2_000_000
    assert (await alice.port.fees(DEMO_TOKEN)).minimum == 0
    enough = await alice.terms(alice.port.account, amount=least)
    short = msgspec.structs.replace(enough, amount=least - 1)
    with pytest.raises(ActionRefusedError, match=f"at least {least} lovelace"):
        await alice.port.prepare(LockAction(short), None, FeeLevel())
    await alice.port.broadcast(await alice.port.prepare(LockAction(enough), None, FeeLevel()))
    await devnet.mine(1)
    assert await alice.port.read_lock(alice.port.lock_id(enough), enough) is LockStatus.OPEN
