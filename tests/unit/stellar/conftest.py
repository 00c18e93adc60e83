"""An emulated network behind its HTTP server in this very process, and ports to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import pytest_asyncio
from stellar_sdk import (
    Account,
    Asset,
    AuthorizationFlag,
    ChangeTrust,
    FeeBumpTransaction,
    FeeBumpTransactionEnvelope,
    Keypair,
    Payment,
    SetOptions,
    TransactionBuilder,
    scval,
    xdr,
)
from stellar_sdk.operation import Operation

from bridge.chains.actions import Action
from bridge.chains.port import BroadcastOutcome, FeeLevel, SignedTx, TxState
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Address, Amount, LockTerms, Preimage, UnixSeconds
from bridge.protocol.types import Asset as SwapAsset
from relayers.stellar import assets, contract
from relayers.stellar.adapter import StellarPort, open_port
from relayers.stellar.deploying import contract_address, deploy, send_call
from relayers.stellar.devnet import entries
from relayers.stellar.devnet.queue import Submitted
from relayers.stellar.devnet.server import DevnetServer
from relayers.stellar.rpc import open_rpc
from relayers.stellar.settings import XLM, StellarSettings
from relayers.stellar.wallet import StellarWallet
from tests import instances

SECRET = Preimage(b"a preimage of thirty-two bytes..")


class Net:
    """The server, its node, and everything a test wants of them in one line."""

    def __init__(self, server: DevnetServer) -> None:
        self.server = server
        self.node = server.node
        self.passphrase = server.node.network.passphrase
        self._ports: list[StellarPort] = []

    @property
    def url(self) -> str:
        return f"{self.server.url}/rpc"

    @property
    def contract(self) -> str:
        return contract_address(self.key("deployer").public_key, self.passphrase)

    def settings(self, *assets: SwapAsset, **more: Any) -> StellarSettings:
        return StellarSettings((self.url,), self.contract, self.passphrase, assets=(XLM, *assets), **more)

    async def deploy(self, *assets: SwapAsset) -> None:
        """Put the contract on the ledger, and the asset contracts of XLM and these assets."""
        deployer = self.key("deployer")
        if not self.node.network.state.has_account(deployer.raw_public_key()):
            self.node.fund(deployer.public_key, 10_000 * 10**7)
            await self.node.close()

        async def closed() -> None:
            await self.node.close()

        rpc = open_rpc((self.url,), 30.0, instances.STELLAR)
        wanted = (XLM, *assets)
        made = await rpc.pinned(lambda one: deploy(one, deployer, self.passphrase, wanted, closed=closed))
        assert made == self.contract
        await rpc.close()

    async def port(
        self, name: str, *assets: SwapAsset, xlm: int = 1000, more: dict[str, Any] | None = None
    ) -> StellarPort:
        port = open_port(self.settings(*assets, **(more or {})), devnet_key(name))
        self._ports.append(port)
        key = self.key(name)
        if xlm and not self.node.network.state.has_account(key.raw_public_key()):
            self.node.fund(key.public_key, xlm * 10**7)
            await self.node.close()
        return port

    def key(self, name: str) -> Keypair:
        return Keypair.from_raw_ed25519_seed(devnet_key(name))

    async def send(self, name: str, operations: Sequence[Operation], *signers: Keypair) -> None:
        key = self.key(name)
        entry = self.node.network.state.peek(entries.account(key.raw_public_key()))
        builder = TransactionBuilder(Account(key.public_key, entry.sequence), self.passphrase, base_fee=1000)
        for operation in operations:
            builder.append_operation(operation)
        envelope = builder.add_time_bounds(0, 0).build()
        for signer in (key, *signers):
            envelope.sign(signer)
        status, frame = self.node.submit(envelope.to_xdr_object())
        assert status is Submitted.PENDING, frame.result.names
        await self.node.close()
        applied = self.node.network.transaction(frame.contents_hash)
        assert applied is not None
        assert applied.result.succeeded, applied.result.names

    async def submit_xdr(self, envelope: str) -> None:
        status, frame = self.node.submit(xdr.TransactionEnvelope.from_xdr(envelope))
        assert status is Submitted.PENDING, frame.result.names
        await self.node.close()
        applied = self.node.network.transaction(frame.contents_hash)
        assert applied is not None
        assert applied.result.succeeded, applied.result.names

    async def asset(self, issuer: str, *holders: str, flags: int = 0) -> SwapAsset:
        """Issue an asset to holders, 100 each; the flags are set afterwards, so the lines are authorised."""
        await self.port(issuer)
        asset = Asset("USD", self.key(issuer).public_key)
        for holder in holders:
            await self.send(holder, [ChangeTrust(asset)])
            await self.send(issuer, [Payment(self.key(holder).public_key, asset, "100")])
        if flags:
            await self.send(issuer, [SetOptions(set_flags=AuthorizationFlag(flags))])
        made = SwapAsset(instances.STELLAR, "USD", 7, f"USD:{asset.issuer}")
        await self.deploy(made)
        return made

    @property
    def requests(self) -> int:
        """How many requests all ports together have sent."""
        return sum(next(copy(each._rpc.pool.clients[0]._ids)) for each in self._ports)

    async def freeze(self, issuer: str, asset: SwapAsset) -> None:
        """Take the authorisation of an asset from our contract, as its issuer can (CAP-46-6)."""
        await self.of_issuer(issuer, asset, "set_authorized", self.contract, scval.to_bool(False))

    async def authorise(self, issuer: str, asset: SwapAsset, holder: str) -> None:
        """Let a contract hold an asset."""
        await self.of_issuer(issuer, asset, "set_authorized", holder, scval.to_bool(True))

    async def claw_back(self, issuer: str, asset: SwapAsset, amount: int) -> None:
        """Take so much of an asset from our contract (CAP-46-6, CAP-35)."""
        await self.of_issuer(issuer, asset, "clawback", self.contract, scval.to_int128(amount))

    async def give_back(self, issuer: str, asset: SwapAsset, amount: int) -> None:
        """Give so much of an asset to our contract."""
        await self.of_issuer(issuer, asset, "mint", self.contract, scval.to_int128(amount))

    async def of_issuer(
        self, issuer: str, asset: SwapAsset, function: str, holder: str, value: xdr.SCVal
    ) -> None:
        key, token = self.key(issuer), assets.token_address(asset.contract, self.passphrase)
        arguments = [scval.to_address(holder), value]
        rpc = open_rpc((self.url,), 30.0, instances.STELLAR)
        call = contract.call(token, function, arguments)
        call = contract.call(token, function, arguments, None, [contract.authorised(call)])

        async def closed() -> None:
            await self.node.close()

        await rpc.pinned(lambda one: send_call(one, key, self.passphrase, call, closed))
        await rpc.close()

    def age_contracts(self, ledgers: int) -> None:
        """Take so many ledgers off the life of every entry of contracts, as if they had been closed."""
        state = self.node.network.state
        for entry_key, entry in list(state._changes.items()):
            if isinstance(entry, entries.ContractEntry):
                state._changes[entry_key] = replace(entry, live_until=entry.live_until - ledgers)

    def starved(self, tx: SignedTx, name: str) -> FeeBumpTransactionEnvelope:
        """Return a transaction of `name`'s again, with too few instructions to succeed."""
        outer = FeeBumpTransactionEnvelope.from_xdr_object(
            xdr.TransactionEnvelope.from_xdr_bytes(tx.raw), self.passphrase
        )
        inner = outer.transaction.inner_transaction_envelope
        data = inner.transaction.soroban_data
        assert data is not None
        data.resources.instructions = xdr.Uint32(100_000)
        del inner.signatures[:]
        del outer.signatures[:]
        inner.sign(self.key(name))
        again = FeeBumpTransactionEnvelope(
            FeeBumpTransaction(self.key(name), outer.transaction.fee, inner), self.passphrase
        )
        again.sign(self.key(name))
        return again

    async def submit_failing(self, envelope: FeeBumpTransactionEnvelope) -> None:
        status, frame = self.node.submit(envelope.to_xdr_object())
        assert status is Submitted.PENDING, frame.result.names
        await self.node.close()
        applied = self.node.network.transaction(frame.contents_hash)
        assert applied is not None
        assert not applied.result.succeeded

    def terms(
        self,
        sender: StellarPort,
        recipient: StellarPort | str,
        *,
        asset: SwapAsset = XLM,
        preimage: Preimage = SECRET,
        amount: int = 10 * 10**7,
        lifetime: int = 10_000,
    ) -> LockTerms:
        address = recipient if isinstance(recipient, str) else recipient.account
        deadline = self.node.network.header.close_time + lifetime
        return LockTerms(
            instances.STELLAR,
            sender.contract,
            sender.account,
            Address(address),
            asset,
            Amount(amount),
            preimage.hashlock(),
            UnixSeconds(deadline),
        )

    async def sent(self, port: StellarPort, action: Action, sequence: int | None = None) -> SignedTx:
        at = await port.next_sequence() if sequence is None else sequence
        tx = await port.prepare(action, at, FeeLevel())
        assert (await port.broadcast(tx)).outcome is BroadcastOutcome.ACCEPTED
        return tx

    async def done(self, port: StellarPort, action: Action) -> SignedTx:
        tx = await self.sent(port, action)
        await self.node.close()
        status = await port.tx_status(tx)
        assert status.state is TxState.INCLUDED, status
        return tx

    async def close_ports(self) -> None:
        for port in self._ports:
            await port.close()


@pytest_asyncio.fixture
async def net() -> AsyncIterator[Net]:
    server = DevnetServer()
    await server.start()
    made = Net(server)
    await made.deploy()
    yield made
    await made.close_ports()
    await server.stop()


@pytest_asyncio.fixture
async def ours(net: Net) -> StellarPort:
    return await net.port("ours")


@pytest_asyncio.fixture
async def theirs(net: Net) -> StellarPort:
    return await net.port("theirs")


@pytest_asyncio.fixture
async def sender(net: Net) -> StellarPort:
    return await net.port("sender")


@pytest_asyncio.fixture
async def recipient(net: Net) -> StellarPort:
    return await net.port("recipient")


@pytest_asyncio.fixture
async def wallet(net: Net) -> AsyncIterator[StellarWallet]:
    made = StellarWallet(net.settings())
    yield made
    await made.close()
