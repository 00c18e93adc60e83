"""The local Solana on the real virtual machine; users sign what the port gives out with solders."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from bridge.chains.port import UnsignedTx
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, LockTerms
from relayers.solana.adapter import SolanaPort, open_port
from relayers.solana.devnet.local import SolanaDevnet
from relayers.solana.settings import SOL
from tests import instances
from tests.conformance.rig import Traits

SOL_VAULT_RENT = 1_781_760
"""Lamports for 128 bytes: 2 years of 3,480 for each byte and 128 bytes of overhead (solana rent 128)."""


def _read(described: dict[str, Any]) -> Instruction:
    metas = [
        AccountMeta(Pubkey.from_string(one["address"]), one["signer"], one["writable"])
        for one in described["accounts"]
    ]
    program_id = Pubkey.from_string(described["program"])
    return Instruction(program_id, base64.b64decode(described["data"]), metas)


class SolanaRig:
    name = "solana"
    chain = instances.SOLANA
    native = SOL
    unit = 10**7
    exact_clock = True

    def __init__(self, directory: Path) -> None:
        self.devnet = SolanaDevnet(directory)
        self.token = self.devnet.token
        self.traits = Traits(has_sequences=False, bound_by_lock=SOL_VAULT_RENT)
        self._ports: dict[str, SolanaPort] = {}

    async def start(self) -> SolanaRig:
        await self.devnet.start()
        await self.devnet.mine(40)
        return self

    def port(self, label: str) -> SolanaPort:
        if label not in self._ports:
            self._ports[label] = open_port(self.devnet.settings, devnet_key(label))
        return self._ports[label]

    def other_address(self) -> str:
        return str(Keypair.from_seed(devnet_key("nobody")).pubkey())

    async def ready_to_receive(self, label: str, asset: Asset) -> None:
        return  # the payer makes the token account

    async def send_from_wallet(self, label: str, tx: UnsignedTx, terms: LockTerms) -> list[str]:
        key = Keypair.from_seed(devnet_key(label))
        async with httpx.AsyncClient(base_url=self.devnet.rpc_url) as client:

            async def rpc(method: str, *params: object) -> object:
                call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                answer = (await client.post("/", json=call)).json()
                assert "error" not in answer, answer
                return answer["result"]

            recent = await rpc("getLatestBlockhash")
            assert isinstance(recent, dict)
            blockhash = recent["value"]["blockhash"]
            if tx.payload["fee_payer"] == str(key.pubkey()):
                given = VersionedTransaction.from_bytes(base64.b64decode(tx.payload["transaction"])).message
                assert isinstance(given, MessageV0)
                own = MessageV0(
                    given.header,
                    given.account_keys,
                    Hash.from_string(blockhash),
                    given.instructions,
                    given.address_table_lookups,
                )
                raw = bytes(VersionedTransaction(own, [key]))
            else:  # somebody else's wallet pays
                parts = [_read(one) for one in tx.payload["instructions"]]
                own = MessageV0.try_compile(key.pubkey(), parts, [], Hash.from_string(blockhash))
                raw = bytes(VersionedTransaction(own, [key]))
            sent = await rpc("sendTransaction", base64.b64encode(raw).decode(), {"encoding": "base64"})
            return [str(sent)]

    async def kill_node(self) -> None:
        self.devnet.kill()

    async def start_node(self) -> None:
        await self.devnet.restart()

    async def stop(self) -> None:
        for port in self._ports.values():
            await port.close()
        await self.devnet.stop()
