"""A local Solana in this process, and ports to it that are closed when a test ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec
import pytest

from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Address, Amount, Asset, LockTerms, UnixSeconds
from relayers.solana.adapter import SolanaPort, open_port
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.settings import SOL


class Opener(Protocol):
    """Opens the port of a named account of the devnet, with settings that differ in `changes`."""

    def __call__(self, name: str, **changes: Any) -> SolanaPort: ...


@pytest.fixture
async def started() -> AsyncIterator[SolanaNode]:
    made = await SolanaNode().start()
    yield made
    await made.stop()


@pytest.fixture
async def opened(started: SolanaNode) -> AsyncIterator[Opener]:
    ports: list[SolanaPort] = []

    def open_named(name: str, **changes: Any) -> SolanaPort:
        ports.append(open_port(msgspec.structs.replace(started.settings, **changes), devnet_key(name)))
        return ports[-1]

    yield open_named
    for port in ports:
        await port.close()


def lock_terms(
    node: SolanaNode,
    port: SolanaPort,
    hashlock: bytes,
    *,
    recipient: str = "",
    asset: Asset = SOL,
    amount: int = 10**8,
    lifetime: int = 10_000,
) -> LockTerms:
    """Terms of a lock of the port's account, for itself unless a recipient is named; `lifetime`: seconds."""
    return LockTerms(
        chain=port.chain,
        contract=port.contract,
        sender=port.account,
        recipient=Address(recipient or port.account),
        asset=asset,
        amount=Amount(amount),
        hashlock=hashlock,
        deadline=UnixSeconds(node.ledger.head.time + lifetime),
    )
