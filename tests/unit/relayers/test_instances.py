"""Several instances of one family in one process: each knows its own name, and takes no other's locks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from stellar_sdk import Network, scval

from bridge.chains.actions import LockAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.local.devnet import Devnet
from bridge.chains.port import ChainPort, FeeLevel, Locked
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import (
    Amount,
    Asset,
    BlockHeight,
    BlockRef,
    ChainId,
    LockTerms,
    Preimage,
    Purpose,
    TxId,
    UnixSeconds,
)
from chain.rules.address import decode_address
from chain.rules.params import Network as ZionNetwork
from relayers.cardano import htlc as cardano_htlc
from relayers.cardano.adapter import open_port as open_cardano
from relayers.cardano.chain_view import Output
from relayers.cardano.devnet import DEMO_TOKEN as CARDANO_TOKEN
from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.settings import CardanoSettings
from relayers.cardano.settings import Network as CardanoNetwork
from relayers.fake import FakeChain, FakePort
from relayers.solana import building
from relayers.solana import terms as solana_terms
from relayers.solana.adapter import open_port as open_solana
from relayers.solana.devnet.local import DEMO_TOKEN as SOLANA_TOKEN
from relayers.solana.devnet.local import PROGRAM, SolanaDevnet
from relayers.solana.settings import SolanaSettings
from relayers.stellar import assets as stellar_assets
from relayers.stellar import contract as stellar_contract
from relayers.stellar.adapter import open_port as open_stellar
from relayers.stellar.devnet.local import CONTRACT as STELLAR_CONTRACT
from relayers.stellar.devnet.local import TOKEN as STELLAR_TOKEN
from relayers.stellar.devnet.local import StellarDevnet
from relayers.stellar.settings import StellarSettings
from relayers.stellar.wallet import StellarWallet
from relayers.zion import htlc as zion_htlc
from relayers.zion.adapter import open_port as open_zion
from relayers.zion.devnet.local import ZionDevnet
from relayers.zion.settings import ZionSettings

SECRET = Preimage(b"a preimage of thirty-two bytes..")
BLOCK = BlockRef(BlockHeight(9), "b9", "b8", UnixSeconds(1_800_000_000))
OURS, THEIRS = ChainId("the-one"), ChainId("the-other")


def zion(chain: ChainId) -> ZionSettings:
    return ZionSettings(rpc_urls=("http://127.0.0.1:9",), network=ZionNetwork.DEV, chain=chain)


def solana(chain: ChainId) -> SolanaSettings:
    return SolanaSettings(rpc_urls=("http://127.0.0.1:9",), program=str(PROGRAM), chain=chain)


def stellar(chain: ChainId) -> StellarSettings:
    return StellarSettings(
        ("http://127.0.0.1:9",), STELLAR_CONTRACT, Network.STANDALONE_NETWORK_PASSPHRASE, chain=chain
    )


def cardano(chain: ChainId) -> CardanoSettings:
    return CardanoSettings("http://127.0.0.1:9", CardanoNetwork.DEV, chain=chain)


def fake(chain: ChainId, account: str) -> FakePort:
    made = FakeChain(chain, Asset(chain, "FAKE", 8))
    made.credit(account, made.native, 10**12)
    return FakePort(made, account)


class Family(NamedTuple):
    """How a family opens the port of an account on an instance, and that instance's coin."""

    port: Callable[[ChainId, str], ChainPort]
    native: Callable[[ChainId], Asset]


FAMILIES = {
    "zion": Family(lambda chain, who: open_zion(zion(chain), devnet_key(who)), lambda c: zion(c).native),
    "solana": Family(
        lambda chain, who: open_solana(solana(chain), devnet_key(who)), lambda c: solana(c).native
    ),
    "stellar": Family(
        lambda chain, who: open_stellar(stellar(chain), devnet_key(who)), lambda c: stellar(c).native
    ),
    "cardano": Family(
        lambda chain, who: open_cardano(cardano(chain), devnet_key(who)), lambda c: cardano(c).native
    ),
    "fake": Family(fake, lambda chain: Asset(chain, "FAKE", 8)),
}


def lock_terms(family: str, chain: ChainId) -> LockTerms:
    """Terms of a lock that the instance could have."""
    us, them = (FAMILIES[family].port(chain, who) for who in ("us", "them"))
    native = FAMILIES[family].native(chain)
    return LockTerms(
        chain,
        us.contract,
        us.account,
        them.account,
        native,
        Amount(10**7),
        SECRET.hashlock(),
        UnixSeconds(1_900_000_000),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_port_and_its_coin_bear_the_instances_name(family: str) -> None:
    assert FAMILIES[family].port(OURS, "us").chain == OURS
    assert FAMILIES[family].port(THEIRS, "us").chain == THEIRS
    assert FAMILIES[family].native(OURS).chain == OURS


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"fake"}))
@pytest.mark.parametrize("part", ["all", "chain", "asset"])
def test_a_lock_whose_terms_name_another_instance_is_refused(family: str, part: str) -> None:
    port = FAMILIES[family].port(OURS, "us")
    ours, theirs = lock_terms(family, OURS), lock_terms(family, THEIRS)
    assert port.lock_id(ours)
    wrong = {
        "all": theirs,
        "chain": msgspec.structs.replace(ours, chain=THEIRS),
        "asset": msgspec.structs.replace(ours, asset=theirs.asset),
    }[part]
    with pytest.raises(ActionRefusedError, match=THEIRS if family != "solana" else OURS):
        port.lock_id(wrong)


async def test_the_fake_chain_refuses_a_lock_whose_terms_name_another_instance() -> None:
    port = fake(OURS, "us")
    ours, theirs = lock_terms("fake", OURS), lock_terms("fake", THEIRS)
    await port.prepare(LockAction(ours), 0, FeeLevel())
    wrong = msgspec.structs.replace(ours, chain=THEIRS)
    with pytest.raises(ActionRefusedError, match=THEIRS):
        await port.prepare(LockAction(wrong), 0, FeeLevel())
    port.fake.credit("us", theirs.asset, 10**9)
    port.fake.ledger.approvals.add(("us", theirs.asset.key))
    with pytest.raises(ActionRefusedError, match=THEIRS):
        await port.prepare(LockAction(theirs), 0, FeeLevel())


def test_zion_reads_a_lock_as_one_of_its_instance() -> None:
    for chain in (OURS, THEIRS):
        terms = lock_terms("zion", chain)
        sender = decode_address(terms.sender)
        tx = zion_htlc.transaction(LockAction(terms), zion(chain), sender=sender, nonce=1, fee=1_000)
        event = zion_htlc.read_event(tx, BLOCK, zion(chain).native)
        assert isinstance(event, Locked)
        assert event.terms == terms


def test_solana_reads_a_lock_as_one_of_its_instance() -> None:
    for chain in (OURS, THEIRS):
        terms = lock_terms("solana", chain)
        vault = solana_terms.to_program(terms, chain)
        assert solana_terms.from_program(vault, terms.contract, solana(chain).named) == terms
        unknown = msgspec.structs.replace(vault, mint=PROGRAM)
        assert solana_terms.from_program(unknown, terms.contract, solana(chain).named).asset.chain == chain
    sender = solana_terms.address(terms.sender)
    action = LockAction(terms)
    with pytest.raises(ActionRefusedError, match=OURS):
        building.plan(PROGRAM, OURS, action, sender, building.Rents(0, 0, 0, 0))


def test_stellar_reads_a_lock_as_one_of_its_instance() -> None:
    for chain in (OURS, THEIRS):
        settings = stellar(chain)
        terms = lock_terms("stellar", chain)
        values = stellar_contract.term_values(terms, settings.passphrase)
        topics = [
            scval.to_symbol("lock"),
            stellar_contract.id_value(stellar_contract.lock_id(terms, settings.passphrase)),
            *values[:2],
        ]
        shown = stellar_contract.read_event(topics, scval.to_vec(values[2:]), settings)
        assert shown.terms == terms
        token = stellar_assets.token_address(STELLAR_TOKEN.contract, settings.passphrase)
        stranger = msgspec.structs.replace(terms, asset=STELLAR_TOKEN)
        values[2] = scval.to_address(token)
        topics[1] = stellar_contract.id_value(stellar_contract.lock_id(stranger, settings.passphrase))
        unknown = stellar_contract.read_event(topics, scval.to_vec(values[2:]), settings)
        assert unknown.terms is not None
        assert unknown.terms.asset.chain == chain


async def test_stellars_wallet_signs_nothing_for_another_instance() -> None:
    wallet = StellarWallet(stellar(OURS))
    theirs = lock_terms("stellar", THEIRS)
    for purpose, preimage in ((Purpose.LOCK, None), (Purpose.CLAIM, SECRET), (Purpose.REFUND, None)):
        with pytest.raises(ActionRefusedError, match=THEIRS):
            await wallet.unsigned(purpose, theirs, preimage)
    await wallet.close()


def test_cardano_reads_a_lock_as_one_of_its_instance() -> None:
    for chain in (OURS, THEIRS):
        terms = lock_terms("cardano", chain)
        datum = cardano_htlc.datum_of(terms).to_cbor().hex()
        reader = cardano_htlc.Reader(cardano(chain))
        assert reader.terms(Output(TxId("00" * 32), 0, terms.contract, terms.amount, {}, datum)) == terms
        unit = CARDANO_TOKEN.contract
        for tokens in ({unit: 7}, {unit: 7, unit + "ff": 1}):
            odd = reader.terms(Output(TxId("00" * 32), 0, terms.contract, 2_000_000, tokens, datum))
            assert odd is not None
            assert odd.chain == odd.asset.chain == chain


@pytest.mark.parametrize(
    ("make", "token"),
    [
        (SolanaDevnet, SOLANA_TOKEN),
        (StellarDevnet, STELLAR_TOKEN),
        (CardanoDevnet, CARDANO_TOKEN),
    ],
)
def test_a_local_chain_and_its_token_bear_the_instances_name(
    tmp_path: Path, make: Callable[..., SolanaDevnet | StellarDevnet | CardanoDevnet], token: Asset
) -> None:
    one, other, default = (make(tmp_path, **named) for named in ({"chain": OURS}, {"chain": THEIRS}, {}))
    assert (one.token.chain, other.token.chain, default.token) == (OURS, THEIRS, token)
    for devnet in (one, other, default):
        assert devnet.settings.chain == devnet.settings.native.chain == devnet.token.chain
        assert {asset.chain for asset in devnet.settings.assets} == {devnet.token.chain}
        assert all(key.startswith(f"{devnet.token.chain} ") for key in devnet.describe())


async def test_a_local_zion_bears_the_instances_name(tmp_path: Path) -> None:
    devnet = ZionDevnet(tmp_path, chain=OURS)
    shown: Devnet = devnet
    assert devnet.settings.chain == devnet.settings.native.chain == OURS
    assert all(key.startswith(f"{OURS} ") for key in shown.describe())
    await devnet.stop()
