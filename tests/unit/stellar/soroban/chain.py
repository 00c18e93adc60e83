"""A devnet node with the contract deployed, driven through its RPC server by the unmodified Stellar SDK."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stellar_sdk import (
    Address,
    Asset,
    Keypair,
    SorobanServerAsync,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)
from stellar_sdk.auth import authorize_entry
from stellar_sdk.operation import InvokeHostFunction, Operation
from stellar_sdk.soroban_rpc import GetTransactionResponse, GetTransactionStatus

from relayers.stellar.devnet.entries import ContractEntry
from relayers.stellar.devnet.frames import SOROBAN_SETTINGS
from relayers.stellar.devnet.node import StellarNode
from relayers.stellar.devnet.server import DevnetServer
from relayers.stellar.devnet.soroban.ledger_xdr import data_key
from relayers.stellar.devnet.soroban.settings import Settings
from relayers.stellar.devnet.soroban.storage import entry_at

WASM = Path(__file__).parents[4] / "relayers" / "stellar" / "artifacts" / "rainbow_htlc.wasm"
Host = xdr.HostFunctionType
XLM = 10_000_000
DAY = 86_400


def key_of(name: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(hashlib.sha256(name.encode()).digest())


SENDER, RECIPIENT, STRANGER = (key_of(each) for each in ("sender", "recipient", "stranger"))


class RefusedError(Exception):
    """A simulation or a ledger refused a call."""


@dataclass
class Chain:
    node: StellarNode
    rpc: SorobanServerAsync
    contract: str = ""
    xlm: str = ""
    last_terms: list[xdr.SCVal] = field(default_factory=list)

    @property
    def passphrase(self) -> str:
        return self.node.network.passphrase

    @property
    def now(self) -> int:
        return self.node.network.header.close_time

    async def fund(self, *keys: Keypair, stroops: int = 10_000 * XLM) -> None:
        for key in keys:
            self.node.fund(key.public_key, stroops)
            await self.node.close()

    async def build(self, key: Keypair, operation: Operation) -> TransactionEnvelope:
        account = await self.rpc.load_account(key.public_key)
        builder = TransactionBuilder(account, self.passphrase, base_fee=100)
        return builder.append_operation(operation).add_time_bounds(0, 0).build()

    async def include(self, envelope: TransactionEnvelope) -> GetTransactionResponse:
        """Send a signed transaction and put it into a ledger of its own."""
        sent = await self.rpc.send_transaction(envelope)
        if sent.status.value != "PENDING":
            codes = sent.error_result_xdr and names_of(xdr.TransactionResult.from_xdr(sent.error_result_xdr))
            raise RefusedError(f"{sent.status.value} {codes}")
        await self.node.close()
        return await self.rpc.get_transaction(sent.hash)

    async def prepare(self, key: Keypair, operation: Operation) -> TransactionEnvelope:
        """Simulate and assemble; not signed yet."""
        envelope = await self.build(key, operation)
        if isinstance(operation, InvokeHostFunction):
            envelope = await self.rpc.prepare_transaction(envelope)
        return envelope

    async def send(self, key: Keypair, operation: Operation) -> GetTransactionResponse:
        """Simulate, sign, send."""
        return await self.sign_and_include(key, await self.prepare(key, operation))

    async def sign_and_include(self, key: Keypair, envelope: TransactionEnvelope) -> GetTransactionResponse:
        """Sign, send, and put it into a ledger; it must succeed there."""
        envelope.sign(key)
        got = await self.include(envelope)
        if got.status is not GetTransactionStatus.SUCCESS:
            assert got.result_xdr is not None
            raise RefusedError(names_of(xdr.TransactionResult.from_xdr(got.result_xdr)))
        return got

    async def deploy(self) -> None:
        """Upload and create the contract, and XLM's asset contract."""
        self.contract = await self.deploy_wasm(WASM.read_bytes())
        self.xlm = await self.deploy_asset(Asset.native())

    async def deploy_wasm(self, code: bytes, salt: bytes = bytes(32)) -> str:
        """Upload a contract, make one of it, and return its address."""
        upload = xdr.HostFunction(Host.HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM, wasm=code)
        wasm_hash = scval.from_bytes(returned(await self.send(STRANGER, InvokeHostFunction(upload))))
        deployer = Address(STRANGER.public_key).to_xdr_sc_address()
        preimage = xdr.ContractIDPreimage(
            xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS,
            from_address=xdr.ContractIDPreimageFromAddress(deployer, xdr.Uint256(salt)),
        )
        executable = xdr.ContractExecutable(
            xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, wasm_hash=xdr.Hash(wasm_hash)
        )
        return await self._create(xdr.CreateContractArgs(preimage, executable))

    async def deploy_asset(self, asset: Asset) -> str:
        """Make an asset's contract and return its address."""
        preimage = xdr.ContractIDPreimage(
            xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ASSET, from_asset=asset.to_xdr_object()
        )
        kind = xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET
        return await self._create(xdr.CreateContractArgs(preimage, xdr.ContractExecutable(kind)))

    async def _create(self, arguments: xdr.CreateContractArgs) -> str:
        kind = Host.HOST_FUNCTION_TYPE_CREATE_CONTRACT
        function = xdr.HostFunction(kind, create_contract=arguments)
        return scval.from_address(returned(await self.send(STRANGER, InvokeHostFunction(function)))).address

    def invocation(
        self, function: str, arguments: Sequence[xdr.SCVal], contract: str = ""
    ) -> InvokeHostFunction:
        target = Address(contract or self.contract).to_xdr_sc_address()
        call = xdr.InvokeContractArgs(target, xdr.SCSymbol(function.encode()), list(arguments))
        kind = Host.HOST_FUNCTION_TYPE_INVOKE_CONTRACT
        return InvokeHostFunction(xdr.HostFunction(kind, invoke_contract=call))

    async def call(
        self, key: Keypair, function: str, *arguments: xdr.SCVal, contract: str = ""
    ) -> GetTransactionResponse:
        return await self.send(key, self.invocation(function, arguments, contract))

    async def call_signed(
        self, payer: Keypair, signer: Keypair, function: str, *arguments: xdr.SCVal
    ) -> GetTransactionResponse:
        """`signer` only authorises; `payer` sends and pays."""
        operation = self.invocation(function, arguments)
        await self.authorise(payer, signer, operation)
        return await self.send(payer, operation)

    async def authorise(
        self, payer: Keypair, signer: Keypair, operation: InvokeHostFunction, ledgers: int = 100
    ) -> None:
        """Let `signer` sign what a simulation says that it must."""
        simulated = await self.rpc.simulate_transaction(await self.build(payer, operation))
        if simulated.error or not simulated.results:
            raise RefusedError(simulated.error)
        until = self.node.network.header.sequence + ledgers
        operation.auth = [
            authorize_entry(each, signer, until, self.passphrase) for each in simulated.results[0].auth or []
        ]

    def terms(
        self,
        preimage: bytes,
        amount: int = 5 * XLM,
        seconds: int = 3600,
        recipient: str = RECIPIENT.public_key,
        asset: str = "",
        sender: str = SENDER.public_key,
    ) -> list[xdr.SCVal]:
        self.last_terms = [
            scval.to_address(sender),
            scval.to_address(recipient),
            scval.to_address(asset or self.xlm),
            scval.to_int128(amount),
            scval.to_bytes(hashlib.sha256(preimage).digest()),
            scval.to_uint64(self.now + seconds),
        ]
        return self.last_terms

    def lock_id(self, terms: list[xdr.SCVal]) -> xdr.SCVal:
        own = [scval.to_bytes(self.node.network.network_id), scval.to_address(self.contract)]
        return scval.to_bytes(hashlib.sha256(scval.to_vec([*own, *terms]).to_xdr_bytes()).digest())

    async def footprint_operation(
        self, key: Keypair, operation: Operation, footprint: xdr.LedgerFootprint
    ) -> GetTransactionResponse:
        """Send an ExtendFootprintTTL or RestoreFootprint with this footprint."""
        resources = xdr.SorobanResources(footprint, xdr.Uint32(0), xdr.Uint32(0), xdr.Uint32(0))
        data = xdr.SorobanTransactionData(xdr.SorobanTransactionDataExt(0), resources, xdr.Int64(0))
        account = await self.rpc.load_account(key.public_key)
        builder = TransactionBuilder(account, self.passphrase, base_fee=100).append_operation(operation)
        envelope = builder.add_time_bounds(0, 0).set_soroban_data(data).build()
        return await self.sign_and_include(key, await self.rpc.prepare_transaction(envelope))

    def lock_key(self, lock_id: xdr.SCVal) -> xdr.LedgerKey:
        return data_key(self.contract, lock_id)

    def live_until(self, key: xdr.LedgerKey) -> int:
        entry = entry_at(self.node.network.state, key)
        assert isinstance(entry, ContractEntry)
        return entry.live_until

    async def close_ledgers(self, count: int) -> None:
        for _ in range(count):
            await self.node.close()

    def balance(self, key: Keypair) -> int:
        account = self.node.network.state.peek(("account", key.raw_public_key()))
        return account.balance if account is not None else 0


def returned(got: GetTransactionResponse) -> xdr.SCVal:
    assert got.result_meta_xdr is not None
    meta = xdr.TransactionMeta.from_xdr(got.result_meta_xdr).v4
    assert meta is not None
    assert meta.soroban_meta is not None
    assert meta.soroban_meta.return_value is not None
    return meta.soroban_meta.return_value


def names_of(result: xdr.TransactionResult) -> str:
    found = [result.result.code.name]
    for each in result.result.results or []:
        arm = each.tr and (
            each.tr.invoke_host_function_result
            or each.tr.extend_footprint_ttl_result
            or each.tr.restore_footprint_result
        )
        found.append(arm.code.name if arm else each.code.name)
    return " ".join(found)


@asynccontextmanager
async def running(
    deployed: bool = True, settings: Settings = SOROBAN_SETTINGS, journal: Path | None = None
) -> AsyncIterator[Chain]:
    server = DevnetServer(journal, settings=settings)
    await server.start()
    async with SorobanServerAsync(f"{server.url}/rpc") as rpc:
        chain = Chain(server.node, rpc)
        try:
            await chain.fund(SENDER, RECIPIENT, STRANGER)
            if deployed:
                await chain.deploy()
            yield chain
        finally:
            await server.stop()
