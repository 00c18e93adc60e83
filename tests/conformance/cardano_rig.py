"""The scalus ledger behind a Blockfrost-compatible server; users sign as CIP-30 wallets do."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pycardano import PaymentSigningKey, Transaction, TransactionWitnessSet, VerificationKeyWitness
from pycardano.serialization import NonEmptyOrderedSet

from bridge.chains.port import UnsignedTx
from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, LockTerms, Preimage, Purpose
from relayers.cardano.adapter import CardanoPort, open_port
from relayers.cardano.devnet import CardanoDevnet
from relayers.cardano.settings import ADA, CardanoSettings
from relayers.cardano.wallet import CardanoWallet
from tests import instances
from tests.conformance.rig import Traits


def witness(unsigned: str, key: PaymentSigningKey) -> str:
    """What a wallet's signTx(cbor, true) answers."""
    body = Transaction.from_cbor(unsigned).transaction_body
    signature = VerificationKeyWitness(key.to_verification_key(), key.sign(body.hash()))
    return str(TransactionWitnessSet(vkey_witnesses=NonEmptyOrderedSet([signature])).to_cbor_hex())


class CardanoRig:
    name = "cardano"
    chain = instances.CARDANO
    native = ADA
    unit = 20_000_000
    exact_clock = True
    traits = Traits(has_sequences=False, approves_tokens=False, least_lock=2_000_000)

    def __init__(self, directory: Path) -> None:
        self.devnet = CardanoDevnet(directory)
        self.token = self.devnet.token
        self._ports: dict[str, CardanoPort] = {}

    async def start(self) -> CardanoRig:
        await self.devnet.start()
        return self

    @property
    def settings(self) -> CardanoSettings:
        return self.devnet.settings

    def port(self, label: str) -> CardanoPort:
        if label not in self._ports:
            self._ports[label] = open_port(self.settings, devnet_key(label))
        return self._ports[label]

    def other_address(self) -> str:
        return self.port("nobody").account

    async def ready_to_receive(self, label: str, asset: Asset) -> None:
        return None

    async def send_from_wallet(self, label: str, tx: UnsignedTx, terms: LockTerms) -> list[str]:
        key = PaymentSigningKey(devnet_key(label))
        preimage = Preimage(bytes.fromhex(tx.payload["preimage"])) if "preimage" in tx.payload else None
        async with CardanoWallet(self.settings) as wallet:
            made = await wallet.unsigned(Purpose(tx.payload["purpose"]), terms, preimage)
            unsigned = made.payload["cbor"]
            return [await wallet.submit(unsigned, witness(unsigned, key))]

    async def kill_node(self) -> None:
        await asyncio.to_thread(self.devnet.kill)

    async def start_node(self) -> None:
        await self.devnet.restart()

    async def stop(self) -> None:
        for port in self._ports.values():
            await port.close()
        await self.devnet.stop()


class OwnNodeRig(CardanoRig):
    """The same ledger seen through Ogmios and Kupo."""

    @property
    def settings(self) -> CardanoSettings:
        return self.devnet.own_node_settings
