"""The sample chain for the conformance suite; found by the entry point group `rainbow.conformance`."""

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec

from bridge.chains.port import UnsignedTx
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, ChainId, LockTerms
from samplechain.adapter import TRAITS, SamplePort
from samplechain.ledger import Tx, address_of
from samplechain.local import SampleDevnet
from tests.conformance.rig import Traits


class SampleRig:
    """See `tests.conformance.rig.Rig`."""

    name = "sample"
    chain = ChainId("sample")
    native = TRAITS.native(ChainId("sample"))
    token = None
    unit = 100_000
    exact_clock = True
    traits = Traits()

    def __init__(self, directory: Path) -> None:
        self.devnet = SampleDevnet(directory)
        self._ports: dict[str, SamplePort] = {}

    async def start(self) -> SampleRig:
        """Start the node."""
        await self.devnet.start()
        return self

    def port(self, label: str) -> SamplePort:
        """See `Rig.port`."""
        if label not in self._ports:
            self._ports[label] = SamplePort(self.chain, self.devnet.rpc_url, devnet_key(label))
        return self._ports[label]

    def other_address(self) -> str:
        """See `Rig.other_address`."""
        return address_of(devnet_key("nobody"))

    async def ready_to_receive(self, label: str, asset: Asset) -> None:
        """Nothing is needed: every address can be paid."""

    async def send_from_wallet(self, label: str, tx: UnsignedTx, terms: LockTerms) -> list[str]:
        """Do what an ordinary wallet does: fill in address and sequence, sign, send."""
        key = devnet_key(label)
        sequence = await self.port(label).next_sequence()
        filled = {**tx.payload, "sender": address_of(key), "sequence": sequence}
        signed = msgspec.convert(filled, Tx).signed(key)
        async with httpx.AsyncClient(base_url=self.devnet.rpc_url) as client:
            answer = await client.post("/transactions", content=msgspec.json.encode(signed))
        assert answer.json()["outcome"] == "accepted", answer.text
        return [signed.tx_id]

    async def kill_node(self) -> None:
        """See `Rig.kill_node`."""
        self.devnet.kill()

    async def start_node(self) -> None:
        """See `Rig.start_node`."""
        await self.devnet.restart()

    async def stop(self) -> None:
        """Close the ports and end the node."""
        for port in self._ports.values():
            await port.close()
        await self.devnet.stop()
