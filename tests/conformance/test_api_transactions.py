"""What the REST API gives wallets to sign, signed as it is and sent: a lock, a refund and a claim.

The API is the real one, over the real adapters' wallets; the other side of each swap is the fake chain, and
the bridge's part is played by its port.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pycardano import PaymentSigningKey
from solders.keypair import Keypair as SolanaKeypair
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction
from stellar_sdk import Keypair as StellarKeypair
from stellar_sdk import TransactionEnvelope

from bridge import config
from bridge.api.app import create_app
from bridge.api.services import build
from bridge.chains.actions import LockAction
from bridge.chains.port import ChainPort, FeeEstimate, LockStatus, Tip, UnsignedTx, WalletBuilder
from bridge.engine.apply import apply_events
from bridge.keys.devkeys import devnet_key
from bridge.keys.keystore import devnet_key as secret_key
from bridge.keys.quote_signature import QuoteSigner
from bridge.protocol.events import LockFinal, LockSeen
from bridge.protocol.types import (
    Amount,
    ChainId,
    LegRole,
    LockId,
    LockTerms,
    Preimage,
    TxId,
    UnixSeconds,
)
from bridge.store import Store
from bridge.store.records import ChainStatus
from relayers.cardano.wallet import CardanoWallet
from relayers.fake import FakeChain, FakePort
from relayers.solana.wallet import SolanaWallet
from relayers.stellar.rpc import ask
from relayers.stellar.rpc import open_rpc as open_stellar_rpc
from relayers.stellar.wallet import StellarWallet
from tests import instances
from tests.conformance.cardano_rig import witness
from tests.conformance.conftest import Rigs
from tests.conformance.rig import Rig, Scene
from tests.unit.api.play import FixedPrices

ZION = "zion:ZION"
SECRET = Preimage(b"what only the user knows".ljust(32, b"."))


def sections(rig: Any) -> dict[str, Any]:
    """The chain's section of the configuration; only what is checked when it is read."""
    match rig.chain:
        case instances.ETHEREUM:
            return {"rpc_urls": [rig.devnet.rpc_url], "contract": rig.devnet.contract}
        case instances.SOLANA:
            return {"rpc_urls": [rig.devnet.rpc_url], "contract": rig.devnet.settings.program}
        case instances.STELLAR:
            return {"rpc_urls": [rig.devnet.url], "contract": rig.devnet.settings.contract}
        case _:
            return {"blockfrost_url": rig.devnet.blockfrost_url}


def builder(rig: Any) -> WalletBuilder | None:
    match rig.chain:
        case instances.SOLANA:
            return SolanaWallet(rig.devnet.settings)
        case instances.STELLAR:
            return StellarWallet(rig.devnet.settings)
        case instances.CARDANO:
            return CardanoWallet(rig.settings)
    return None


class Desk:
    """The API over one real chain and the fake one, and this test's own accounts on the real one."""

    def __init__(self, rig: Any, scene: Scene, folder: Path) -> None:
        self.rig = rig
        self.scene = scene
        self.native = rig.native
        here, name = self.native.key, rig.chain
        self.settings = config.parse(
            {
                "chains": {name: sections(rig), "zion": {"rpc_urls": ["http://127.0.0.1:1"]}},
                "assets": [
                    {
                        "chain": name,
                        "symbol": self.native.symbol,
                        "decimals": self.native.decimals,
                    },
                    {"chain": "zion", "symbol": "ZION", "decimals": 8},
                ],
                "pairs": [
                    {"from": here, "to": ZION, "min": "0.000001", "max": "1000"},
                    {"from": ZION, "to": here, "min": "0.000001", "max": "1000"},
                ],
                "prices": {"static": {here: "1", ZION: "1"}},
                "swaps": {"user_window": 1_200, "outage_budget": 0, "halt_budget": 0, "lock_window": 60},
            },
            folder,
        )
        self.store = Store.open(f"sqlite:///{folder}/bridge.db", secrets_key=bytes(32))
        self.ours: ChainPort
        self.theirs: ChainPort

    async def open(self) -> None:
        self.ours = await self.scene.port("ours")
        self.theirs = await self.scene.port("theirs")
        fake = FakePort(FakeChain(instances.ZION, self.settings.assets_by_key()[ZION]), "bridge")
        ports = {self.rig.chain: self.ours, instances.ZION: fake}
        made = builder(self.rig)
        services = build(
            self.settings,
            self.store,
            prices=FixedPrices(self.settings.prices.static, lambda: self.store.now_ms() // 1000),
            signer=QuoteSigner(secret_key("quotes/signer")),
            ports=ports,
            builders={} if made is None else {self.rig.chain: made},
        )
        clock = (await self.ours.tip()).time
        for port in ports.values():
            await self._report(port, clock)
        self.made = made
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(services)), base_url="http://bridge"
        )

    async def _report(self, port: ChainPort, clock: int) -> None:
        """Write what the chain's relayer would; both chains have one clock here."""
        tip = await port.tip()
        asset = self.native if port.chain == self.rig.chain else self.settings.assets_by_key()[ZION]
        now = self.store.now_ms()
        status = ChainStatus(
            port.chain,
            account=port.account,
            contract=port.contract,
            tip=Tip(tip.block, UnixSeconds(clock)),
            scanned=tip.block.height,
            healthy=True,
            balances={asset.key: Amount(10**24)},
            fees={asset.key: FeeEstimate(Amount(0), Amount(0), Amount(0))},
            seen_ms=now,
            tip_ms=now,
        )
        with self.store.transaction() as tx:
            tx.chains.put(status)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.http.post(path, json=body)
        assert answer.is_success, answer.text
        given: dict[str, Any] = answer.json()
        return given

    async def swap(self, source: str, destination: str, refund: str, recipient: str) -> dict[str, Any]:
        side = "from" if source == self.native.key else "to"
        ask = {"from": source, "to": destination, "amount": str(self.rig.unit), "side": side}
        quote = await self.post("/v1/quotes", ask)
        return await self.post(
            "/v1/swaps",
            {
                "quote_id": quote["id"],
                "hashlock": SECRET.hashlock().hex(),
                "refund_address": refund,
                "recipient": recipient,
            },
        )

    def terms(self, swap: dict[str, Any], role: LegRole) -> LockTerms:
        with self.store.reading() as tx:
            stored = tx.swaps.get(swap["id"])
        assert stored is not None
        return stored.swap.leg(role).terms

    def happen(self, swap: dict[str, Any], role: LegRole, block: Any) -> None:
        """The engine hears of a leg's lock, and that it is final."""
        terms = self.terms(swap, role)
        with self.store.transaction() as tx:
            seen = LockSeen(role, LockId(f"lock {role.value}"), terms, TxId("tx"), block)
            apply_events(tx, swap["id"], (seen, LockFinal(role, seen.lock_id)))

    async def status(self, terms: LockTerms) -> LockStatus:
        return await self.ours.read_lock(self.ours.lock_id(terms), terms)

    async def close(self) -> None:
        await self.http.aclose()
        if self.made is not None:
            await self.made.close()
        self.store.close()


@pytest_asyncio.fixture(loop_scope="session", params=["ethereum", "solana", "stellar", "cardano"])
async def rig(request: pytest.FixtureRequest, rigs: Rigs) -> Rig:
    """The chains but ZION, whose transactions need no look at the chain (tests/unit/api has them)."""
    made: Rig = await rigs.get(request.param)
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def desk(rig: Rig, scene: Scene, tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(rig, scene, tmp_path)
    await made.open()
    yield made
    await made.close()


# -- ordinary wallets: they sign what they are given and change nothing in it --------------------


async def rpc(url: str, method: str, *params: object) -> Any:
    async with httpx.AsyncClient(base_url=url) as client:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await client.post("/", json=call)).json()
    assert "error" not in answer, answer
    return answer["result"]


async def with_solana(desk: Desk, label: str, given: dict[str, Any]) -> None:
    key = SolanaKeypair.from_seed(devnet_key(label))
    message = VersionedTransaction.from_bytes(base64.b64decode(given["payload"]["transaction"])).message
    raw = bytes(VersionedTransaction.populate(message, [key.sign_message(to_bytes_versioned(message))]))
    await rpc(
        desk.rig.devnet.rpc_url,
        "sendTransaction",
        base64.b64encode(raw).decode(),
        {"encoding": "base64"},
    )


async def with_cardano(desk: Desk, label: str, given: dict[str, Any]) -> None:
    assert given["format"] == "cardano-cbor", given
    cbor = given["payload"]["cbor"]
    async with CardanoWallet(desk.rig.settings) as wallet:
        await wallet.submit(cbor, witness(cbor, PaymentSigningKey(devnet_key(label))))


async def with_stellar(desk: Desk, label: str, given: dict[str, Any]) -> None:
    assert given["format"] == "stellar-xdr", given
    passphrase = given["payload"]["network_passphrase"]
    envelope = TransactionEnvelope.from_xdr(given["payload"]["xdr"], passphrase)
    envelope.sign(StellarKeypair.from_raw_ed25519_seed(devnet_key(label)))
    rpc = open_stellar_rpc((desk.rig.devnet.url,), 30.0, desk.rig.chain)
    answer = await ask(rpc, "sendTransaction", transaction=envelope.to_xdr())
    await rpc.close()
    assert answer["status"] == "PENDING", answer


async def with_ethereum(desk: Desk, label: str, given: dict[str, Any]) -> None:
    unsigned = UnsignedTx(given["format"], given["summary"], given["payload"])
    await desk.rig.send_from_wallet(label, unsigned, None)


WALLETS: dict[ChainId, Callable[[Desk, str, dict[str, Any]], Awaitable[None]]] = {
    instances.ETHEREUM: with_ethereum,
    instances.SOLANA: with_solana,
    instances.STELLAR: with_stellar,
    instances.CARDANO: with_cardano,
}


async def signed_by(desk: Desk, role: str, given: dict[str, Any]) -> None:
    await WALLETS[desk.rig.chain](desk, f"{desk.scene.name}/{role}", given)
    await desk.rig.devnet.mine(1)


# -- the tests -------------------------------------------------------------------------------------


async def test_a_wallet_signs_the_lock_that_an_order_gets_and_the_refund_after_the_deadline(
    desk: Desk,
) -> None:
    swap = await desk.swap(desk.native.key, ZION, desk.theirs.account, "alice")
    terms = desk.terms(swap, LegRole.SOURCE)
    await signed_by(desk, "theirs", swap["transaction"])
    assert await desk.status(terms) is LockStatus.OPEN

    tip = await desk.ours.tip()
    await desk.rig.devnet.advance_time(max(0, terms.deadline - tip.time) + 1)
    given = await desk.post(f"/v1/swaps/{swap['id']}/transactions", {"purpose": "refund"})
    await signed_by(desk, "theirs", given)
    assert await desk.status(terms) in {LockStatus.REFUNDED, LockStatus.SPENT}


async def test_a_wallet_signs_the_claim_that_the_preimage_is_put_into(desk: Desk) -> None:
    swap = await desk.swap(ZION, desk.native.key, "alice", desk.theirs.account)
    terms = desk.terms(swap, LegRole.DESTINATION)
    await desk.scene.done(desk.ours, LockAction(terms))
    block = (await desk.ours.tip()).block
    desk.happen(swap, LegRole.SOURCE, block)
    desk.happen(swap, LegRole.DESTINATION, block)

    body = {"purpose": "claim", "preimage": SECRET.reveal().hex()}
    given = await desk.post(f"/v1/swaps/{swap['id']}/transactions", body)
    before = await desk.ours.balance(desk.theirs.account, desk.native)
    await signed_by(desk, "theirs", given)
    assert await desk.status(terms) in {LockStatus.CLAIMED, LockStatus.SPENT}
    received = await desk.ours.balance(desk.theirs.account, desk.native) - before
    assert 0.9 * terms.amount < received <= terms.amount
