"""The emulated Stellar network; users sign with stellar_sdk and build with the wallet module."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stellar_sdk import ChangeTrust, Keypair, TransactionEnvelope, scval, xdr

from bridge.chains.port import UnsignedTx
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, LockTerms, Preimage, Purpose
from relayers.stellar.adapter import StellarPort, open_port
from relayers.stellar.assets import to_stellar
from relayers.stellar.devnet.local import StellarDevnet
from relayers.stellar.rpc import ask, open_rpc
from relayers.stellar.settings import XLM
from relayers.stellar.wallet import StellarWallet
from tests import instances
from tests.conformance.rig import Traits


class FundingDevnet(StellarDevnet):
    """Opens the trustlines of the rig's own accounts before it funds them: only their keys can."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.keys: dict[str, Keypair] = {}

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        if asset.contract and address in self.keys:
            await self.send(self.keys[address], [ChangeTrust(to_stellar(asset))])
        if amount:
            await super().fund(address, asset, amount)


class StellarRig:
    name = "stellar"
    chain = instances.STELLAR
    native = XLM
    unit = 10 * 10**7
    exact_clock = True
    traits = Traits(many_per_block=False, reserve=10**7)

    def __init__(self, directory: Path) -> None:
        self.devnet = FundingDevnet(directory)
        self.token = self.devnet.token
        self._ports: dict[str, StellarPort] = {}

    async def start(self) -> StellarRig:
        await self.devnet.start()
        return self

    def port(self, label: str) -> StellarPort:
        if label not in self._ports:
            key = devnet_key(label)
            self._ports[label] = open_port(self.devnet.settings, key)
            self.devnet.keys[self._ports[label].account] = Keypair.from_raw_ed25519_seed(key)
        return self._ports[label]

    def other_address(self) -> str:
        return Keypair.from_raw_ed25519_seed(devnet_key("nobody")).public_key

    async def ready_to_receive(self, label: str, asset: Asset) -> None:
        if asset.contract:
            await self.devnet.fund(self.port(label).account, asset, 0)

    async def send_from_wallet(self, label: str, tx: UnsignedTx, terms: LockTerms) -> list[str]:
        key = Keypair.from_raw_ed25519_seed(devnet_key(label))
        wallet = StellarWallet(self.devnet.settings)
        purpose = Purpose(tx.payload["purpose"])
        rpc = open_rpc((self.devnet.url,), 30.0, self.chain)
        try:
            preimage = None
            if purpose is Purpose.CLAIM:
                shown = xdr.SCVal.from_xdr(tx.payload["arguments"][1])
                preimage = Preimage(scval.from_bytes(shown))
            ready = await wallet.unsigned(purpose, terms, preimage)
            envelope = TransactionEnvelope.from_xdr(ready.payload["xdr"], self.devnet.settings.passphrase)
            envelope.sign(key)
            answer = await ask(rpc, "sendTransaction", transaction=envelope.to_xdr())
        finally:
            await wallet.close()
            await rpc.close()
        assert answer["status"] == "PENDING", answer
        return [envelope.hash_hex()]

    async def kill_node(self) -> None:
        await asyncio.to_thread(self.devnet.kill)

    async def start_node(self) -> None:
        await self.devnet.restart()

    async def stop(self) -> None:
        for port in self._ports.values():
            await port.close()
        await self.devnet.stop()
