"""Contracts of other people on the test network: tokens that lie, and a smart account."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stellar_sdk import Keypair, SorobanServerAsync, scval, xdr
from stellar_sdk.operation import InvokeHostFunction
from stellar_sdk.utils import sha256

from bridge.protocol.types import Asset
from relayers.stellar.assets import token_address
from scripts.soroban_vectors.tokens import compiled
from tests import instances
from tests.unit.stellar.conftest import Net
from tests.unit.stellar.soroban.chain import STRANGER, Chain

TOKEN_DECIMALS = 9


@asynccontextmanager
async def deployer(net: Net) -> AsyncIterator[Chain]:
    """Yield a chain's helper whose stranger has money."""
    async with SorobanServerAsync(net.url) as rpc:
        chain = Chain(net.node, rpc, net.contract)
        if not net.node.network.state.has_account(STRANGER.raw_public_key()):
            await chain.fund(STRANGER)
        yield chain


class Token:
    """A token with code of its own, which does as it is told."""

    def __init__(self, net: Net, address: str) -> None:
        self._net = net
        self.address = address
        self.asset = Asset(instances.STELLAR, "TOK", TOKEN_DECIMALS, address)

    @classmethod
    async def made(cls, net: Net, salt: int = 1) -> Token:
        async with deployer(net) as chain:
            return cls(net, await chain.deploy_wasm(compiled("whole_token"), bytes([salt]) * 32))

    async def call(self, function: str, *arguments: xdr.SCVal) -> None:
        async with deployer(self._net) as chain:
            await chain.call(STRANGER, function, *arguments, contract=self.address)

    async def mint(self, holder: str, amount: int) -> None:
        await self.call("mint", scval.to_address(holder), scval.to_int128(amount))

    async def behave(self, how: int) -> None:
        await self.call("behave", scval.to_uint32(how))

    async def arm(self, called: str, function: str, arguments: list[xdr.SCVal]) -> None:
        """Tell it what to call in the middle of a transfer."""
        one = [scval.to_address(called), scval.to_symbol(function), scval.to_vec(arguments)]
        await self.call("arm", scval.to_vec(one))


class SmartAccount:
    """A contract that acts when its own key has signed."""

    def __init__(self, net: Net, address: str, key: Keypair) -> None:
        self._net = net
        self._key = key
        self.address = address

    @classmethod
    async def made(cls, net: Net) -> SmartAccount:
        key = net.key("a smart account's key")
        async with deployer(net) as chain:
            address = await chain.deploy_wasm(compiled("account"), bytes([9]) * 32)
            await chain.call(STRANGER, "init", scval.to_bytes(key.raw_public_key()), contract=address)
            funds = [scval.to_address(STRANGER.public_key), scval.to_address(address), scval.to_int128(10**9)]
            await chain.call(STRANGER, "transfer", *funds, contract=token_address("", net.passphrase))
        return cls(net, address, key)

    async def send(self, operation: InvokeHostFunction, key: Keypair | None = None) -> None:
        """Simulate a call, sign what this account must authorise, and have a stranger send it."""
        async with deployer(self._net) as chain:
            simulated = await chain.rpc.simulate_transaction(
                await chain.build(STRANGER, operation), use_upgraded_auth=False
            )
            assert simulated.results, simulated.error
            (entry,) = [
                xdr.SorobanAuthorizationEntry.from_xdr(each) if isinstance(each, str) else each
                for each in simulated.results[0].auth or []
            ]
            given = entry.credentials.address
            assert given is not None
            given.signature_expiration_ledger = xdr.Uint32(self._net.node.network.header.sequence + 50)
            plain = xdr.HashIDPreimageSorobanAuthorization(
                xdr.Hash(sha256(self._net.passphrase.encode())),
                given.nonce,
                given.signature_expiration_ledger,
                entry.root_invocation,
            )
            image = xdr.HashIDPreimage(
                xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION, soroban_authorization=plain
            )
            signed = (key or self._key).sign(hashlib.sha256(image.to_xdr_bytes()).digest())
            given.signature = scval.to_bytes(signed)
            operation.auth = [entry]
            await chain.send(STRANGER, operation)
