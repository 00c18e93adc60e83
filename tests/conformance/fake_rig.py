"""The seeded chain in memory that the engine's scenarios run on: it must obey the same rules."""

from __future__ import annotations

from bridge.chains.port import UnsignedTx
from bridge.protocol.types import Asset, LockTerms, Preimage
from relayers.fake import FakeChain, FakeDevnet, FakePort
from tests import instances
from tests.conformance.rig import Traits


class FakeRig:
    name = "fake"
    chain = instances.ZION
    native = Asset(instances.ZION, "ZION", 8)
    token = Asset(instances.ZION, "TOKEN", 6, "token")
    unit = 100_000
    exact_clock = True
    traits = Traits()

    def __init__(self) -> None:
        self.devnet = FakeDevnet(FakeChain(self.chain, self.native, seed=7))
        self._ports: dict[str, FakePort] = {}

    async def start(self) -> FakeRig:
        return self

    def port(self, label: str) -> FakePort:
        account = label.replace("/", "_").replace("[", "_").replace("]", "_").replace("-", "_")[-60:]
        return self._ports.setdefault(label, self.devnet.port(account))

    def other_address(self) -> str:
        return "nobody"

    async def ready_to_receive(self, label: str, asset: Asset) -> None:
        return None

    async def send_from_wallet(self, label: str, tx: UnsignedTx, terms: LockTerms) -> list[str]:
        wallet = self.devnet.wallet(self.port(label).account)
        sent: list[str] = []
        match tx.payload["purpose"]:
            case "lock":
                if terms.asset != self.native:
                    sent.append(wallet.approve(terms.asset))
                sent.append(wallet.lock(terms))
            case "claim":
                preimage = Preimage(bytes.fromhex(tx.payload["preimage"]))
                sent.append(wallet.claim(tx.payload["lock_id"], preimage))
            case _:
                sent.append(wallet.refund(tx.payload["lock_id"]))
        return sent

    async def kill_node(self) -> None:
        for port in self._ports.values():
            port.faults.down = True

    async def start_node(self) -> None:
        for port in self._ports.values():
            port.faults.down = False

    async def stop(self) -> None:
        return None
