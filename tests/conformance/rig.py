"""What the conformance suite needs of each chain beside `ChainPort` and `Devnet`: a rig."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from bridge.chains.actions import Action
from bridge.chains.local.devnet import Devnet
from bridge.chains.port import BroadcastOutcome, ChainPort, FeeLevel, Scan, SignedTx, TxState, UnsignedTx
from bridge.protocol.types import Amount, Asset, BlockRef, ChainId, LockTerms, Preimage, Purpose, UnixSeconds


@dataclass(frozen=True)
class Traits:
    """Where a chain differs from the others by design (swap-protocol): whether strangers may submit claims
    and refunds, whether there is a cooperative refund, whether an account may have several transactions in
    one block, whether they are numbered and can so be replaced and cancelled (else they wait unseen and
    expire), the native units that a lock binds beside amount and fee and a refund frees again, whether a
    token must be approved before it is locked, the least amount of a lock, and the native units that an
    account must keep, which its balance does not count."""

    claims_by_anyone: bool = True
    refunds_by_anyone: bool = True
    gives_back_early: bool = True
    many_per_block: bool = True
    has_sequences: bool = True
    bound_by_lock: int = 0
    approves_tokens: bool = True
    least_lock: int = 1
    reserve: int = 0


class Rig(Protocol):
    """One local chain with everything a test may ask of it. `unit` is an amount that is small but not dust,
    `exact_clock` whether `advance_time` can hit any second."""

    name: str
    chain: ChainId
    native: Asset
    unit: int
    exact_clock: bool
    traits: Traits

    @property
    def token(self) -> Asset | None:
        """A token of the chain's, None where there is none."""
        ...

    @property
    def devnet(self) -> Devnet:
        """The chain under test control."""
        ...

    def port(self, label: str) -> ChainPort:
        """Return the port of the account called `label`, always the same one."""
        ...

    def other_address(self) -> str:
        """Return a valid address that nobody uses."""
        ...

    async def ready_to_receive(self, label: str, asset: Asset) -> None:
        """Make the account able to receive the asset, where accounts must agree to that (a trustline)."""
        ...

    async def send_from_wallet(self, label: str, tx: UnsignedTx, terms: LockTerms) -> list[str]:
        """Sign a wallet-ready transaction with an ordinary wallet of account `label` and send it."""
        ...

    async def kill_node(self) -> None:
        """End the node as `kill -9` does (what is on disk by then stays)."""
        ...

    async def start_node(self) -> None:
        """Start the killed node again."""
        ...


class Watcher:
    """Follows a chain by `scan` alone, as the relayer does, and checks each answer's own logic."""

    def __init__(self, port: ChainPort) -> None:
        self.port = port
        self.ring: list[BlockRef] = []

    async def look(self, max_blocks: int = 100) -> Scan:
        """Scan once, check that the answer fits the ring, and take it over."""
        scan = await self.port.scan(tuple(self.ring), max_blocks)
        assert len(scan.blocks) <= max_blocks
        assert list(scan.orphaned) == self.ring[len(self.ring) - len(scan.orphaned) :][::-1]
        del self.ring[len(self.ring) - len(scan.orphaned) :]
        for block in scan.blocks:
            if self.ring:
                assert block.parent == self.ring[-1].id
                assert block.height == self.ring[-1].height + 1
            self.ring.append(block)
        assert [event.block for event in scan.events] == sorted(
            (event.block for event in scan.events), key=lambda block: block.height
        )
        assert all(event.block in scan.blocks for event in scan.events)
        assert scan.tip.block.height >= self.ring[-1].height
        return scan


@dataclass
class Scene:
    """One test's own accounts on a rig's chain: nobody else's transactions disturb it."""

    rig: Rig
    name: str
    funded: set[str] = field(default_factory=set)

    async def port(self, role: str, *assets: Asset) -> ChainPort:
        """Return the funded port of this test's `role`; with tokens it has made its approvals too."""
        port = self.rig.port(f"{self.name}/{role}")
        if role not in self.funded:
            self.funded.add(role)
            await self.rig.devnet.fund(port.account, self.rig.native, Amount(1_000 * self.rig.unit))
        for asset in assets:
            if asset != self.rig.native and f"{role}/{asset.key}" not in self.funded:
                self.funded.add(f"{role}/{asset.key}")
                await self.rig.devnet.fund(port.account, asset, Amount(1_000 * self.rig.unit))
                for action in await port.setup_actions([asset]):
                    await self.done(port, action)
        return port

    async def terms(
        self,
        sender: ChainPort,
        recipient: ChainPort,
        preimage: Preimage,
        *,
        asset: Asset | None = None,
        lifetime: int = 10_000,
    ) -> LockTerms:
        """Return lock terms of one unit, or of the given asset, that end `lifetime` seconds from now."""
        return LockTerms(
            chain=self.rig.chain,
            contract=sender.contract,
            sender=sender.account,
            recipient=recipient.account,
            asset=asset or self.rig.native,
            amount=Amount(self.rig.unit),
            hashlock=preimage.hashlock(),
            deadline=UnixSeconds((await sender.tip()).time + lifetime),
        )

    async def sent(self, port: ChainPort, action: Action, level: FeeLevel = FeeLevel()) -> SignedTx:
        """Prepare with the next confirmed sequence and broadcast; do not mine."""
        tx = await port.prepare(action, await port.next_sequence(), level)
        outcome = (await port.broadcast(tx)).outcome
        assert outcome is BroadcastOutcome.ACCEPTED, outcome
        return tx

    async def done(self, port: ChainPort, action: Action) -> SignedTx:
        """Send, mine, and see it included."""
        tx = await self.sent(port, action)
        await self.rig.devnet.mine(1)
        status = await port.tx_status(tx)
        assert status.state is TxState.INCLUDED, status
        return tx

    async def from_wallet(
        self, role: str, purpose: Purpose, terms: LockTerms, preimage: Preimage | None = None
    ) -> list[str]:
        """Let an ordinary wallet of `role` send what the port gives out for `purpose`, and mine it."""
        port = await self.port(role)
        unsigned = port.unsigned(purpose, terms, preimage)
        tx_ids = await self.rig.send_from_wallet(f"{self.name}/{role}", unsigned, terms)
        await self.rig.devnet.mine(1)
        return tx_ids
