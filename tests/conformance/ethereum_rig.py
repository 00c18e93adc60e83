"""anvil with the HTLC and the demo token; users sign with eth-account."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from eth_account import Account

from bridge.chains.port import UnsignedTx
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, ChainId, LockTerms
from relayers.evm.adapter import EvmPort, open_port
from relayers.evm.devnet.anvil import CHAIN_ID, AnvilDevnet
from tests import instances
from tests.conformance.rig import Traits


class EthereumRig:
    unit = 10**15
    exact_clock = True
    traits = Traits()

    def __init__(
        self,
        directory: Path,
        chain: ChainId = instances.ETHEREUM,
        chain_id: int = CHAIN_ID,
        *,
        coin: str = "ETH",
        epoch: int = 1,
        persist: bool = True,
    ) -> None:
        self.name = str(chain)
        self.chain = chain
        self.devnet = AnvilDevnet(
            directory, persist=persist, chain=chain, chain_id=chain_id, coin=coin, epoch=epoch
        )
        self.native = self.devnet.native
        self.token = self.devnet.token
        self._ports: dict[str, EvmPort] = {}

    async def start(self) -> EthereumRig:
        await self.devnet.start()
        return self

    def port(self, label: str) -> EvmPort:
        if label not in self._ports:
            self._ports[label] = open_port(self.devnet.settings, devnet_key(label))
        return self._ports[label]

    def other_address(self) -> str:
        return str(Account.from_key(devnet_key("nobody")).address)

    async def ready_to_receive(self, label: str, asset: Asset) -> None:
        return None

    async def send_from_wallet(self, label: str, tx: UnsignedTx, terms: LockTerms) -> list[str]:
        account = Account.from_key(devnet_key(label))
        sent: list[str] = []
        async with httpx.AsyncClient(base_url=self.devnet.rpc_url) as client:

            async def rpc(method: str, *params: object) -> str:
                call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                answer = (await client.post("/", json=call)).json()
                assert "error" not in answer, answer
                return str(answer["result"])

            for transaction in tx.payload["transactions"]:
                assert transaction.get("from", account.address) == account.address
                fields = {key: value for key, value in transaction.items() if key != "from"}
                fields["nonce"] = int(await rpc("eth_getTransactionCount", account.address, "pending"), 16)
                fields["maxFeePerGas"] = 50 * 10**9
                fields["maxPriorityFeePerGas"] = 10**9
                signed = account.sign_transaction(fields)
                sent.append(await rpc("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex()))
        return sent

    async def kill_node(self) -> None:
        await asyncio.sleep(1.3)  # anvil saves its state every second
        self.devnet.kill()

    async def start_node(self) -> None:
        await self.devnet.restart()

    async def stop(self) -> None:
        for port in self._ports.values():
            await port.close()
        await self.devnet.stop()
