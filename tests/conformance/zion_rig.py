"""A real ZION node; users sign with the chain's own wallet functions."""

from __future__ import annotations

from pathlib import Path

from bridge.chains.port import UnsignedTx
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, LockTerms
from chain.rules.address import decode_address
from chain.service.client import ZionClient
from chain.wallet.keys import Key
from chain.wallet.transactions import sign
from relayers.zion.adapter import ZionPort, open_port
from relayers.zion.devnet.local import ZionDevnet
from relayers.zion.htlc import from_payload
from relayers.zion.settings import ZION
from tests import instances
from tests.conformance.rig import Traits


class ZionRig:
    name = "zion"
    chain = instances.ZION
    native = ZION
    token = None
    unit = 10**6
    exact_clock = False
    traits = Traits()

    def __init__(self, directory: Path) -> None:
        self.devnet = ZionDevnet(directory)
        self._ports: dict[str, ZionPort] = {}

    async def start(self) -> ZionRig:
        await self.devnet.start()
        return self

    def port(self, label: str) -> ZionPort:
        if label not in self._ports:
            self._ports[label] = open_port(self.devnet.settings, devnet_key(label))
        return self._ports[label]

    def other_address(self) -> str:
        return Key.from_secret(devnet_key("nobody")).address

    async def ready_to_receive(self, label: str, asset: Asset) -> None:
        return None

    async def send_from_wallet(self, label: str, tx: UnsignedTx, terms: LockTerms) -> list[str]:
        key = Key.from_secret(devnet_key(label))
        async with ZionClient(self.devnet.rpc_url) as client:
            nonce = (await client.get_account(key.address)).pending_nonce
            assert decode_address(tx.payload.get("sender", key.address)) == key.key_hash
            unsigned = from_payload(tx.payload, sender=key.key_hash, nonce=nonce)
            return [(await client.submit(sign(key, unsigned, unsigned.witness.aux))).txid]

    async def kill_node(self) -> None:
        self.devnet.kill()

    async def start_node(self) -> None:
        await self.devnet.restart()

    async def stop(self) -> None:
        for port in self._ports.values():
            await port.close()
        await self.devnet.stop()
