"""A running devnet node: the network, a clock, and a journal that outlives it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stellar_sdk import Account as SourceAccount
from stellar_sdk import Asset, Keypair, TransactionBuilder, xdr

from relayers.stellar.devnet.entries import account
from relayers.stellar.devnet.fee_bump import Frame
from relayers.stellar.devnet.frames import SOROBAN_SETTINGS
from relayers.stellar.devnet.network import ClosedLedger, StandaloneNetwork
from relayers.stellar.devnet.queue import Submitted
from relayers.stellar.devnet.replay import close_step, tx_step
from relayers.stellar.devnet.soroban.settings import Settings

RPC_RETENTION = 120_960
"""Ledgers that a public RPC server keeps: seven days of five seconds."""


class StellarNode:
    """One emulated node.

    `journal` keeps every submission and close in the recording format (`replay.py`); a node started on an
    existing journal goes on where the last one ended, even if that was killed. A `ticking` clock is the real
    one plus what `advance` has added; one that is not stands still between ledgers. Each ledger closes
    later than the one before.
    """

    def __init__(
        self, journal: Path | None = None, ticking: bool = True, settings: Settings = SOROBAN_SETTINGS
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._ticking = ticking
        self.rpc_retention = RPC_RETENTION
        """How many ledgers the RPC server keeps."""
        self._offset = 0
        self.network = StandaloneNetwork(genesis_time=int(time.time()), settings=settings)
        if journal is not None and journal.exists():
            self._restore(journal)

    def _restore(self, journal: Path) -> None:
        for line in journal.read_text().splitlines():
            try:
                step = json.loads(line)
            except ValueError:
                break  # the last line of a killed node may be torn
            if step["op"] == "genesis":
                self.network = StandaloneNetwork(genesis_time=step["closeTime"], settings=self._settings)
            elif step["op"] == "tx":
                self.network.submit(xdr.TransactionEnvelope.from_xdr(step["envelope"]))
            elif step["op"] == "close":
                self.network.close(step["closeTime"])
            elif step["op"] == "rewind":
                self.network.rewind(step["depth"])
        self._offset = max(0, self.network.header.close_time - int(time.time()))

    def _record(self, step: dict[str, Any]) -> None:
        if self._journal is None:
            return
        fresh = not self._journal.exists()
        with self._journal.open("a") as file:
            if fresh:
                genesis = {"op": "genesis", "closeTime": self.network.ledgers[1].header.close_time}
                file.write(json.dumps(genesis) + "\n")
            file.write(json.dumps(step) + "\n")

    @property
    def now(self) -> int:
        """The node's clock, Unix seconds."""
        return int(time.time()) + self._offset if self._ticking else self.network.header.close_time

    def submit(self, envelope: xdr.TransactionEnvelope) -> tuple[Submitted, Frame]:
        """Submit a transaction."""
        status, frame = self.network.submit(envelope)
        self._record(tx_step(envelope, status, frame))
        return status, frame

    async def close(self, close_time: int | None = None) -> ClosedLedger:
        """Close a ledger now, or at a later time."""
        at = max(self.network.header.close_time + 1, close_time or self.now)
        closed = self.network.close(at)
        self._offset = max(self._offset, at - int(time.time()))
        self._record(close_step(closed))
        return closed

    async def advance(self, seconds: int) -> ClosedLedger:
        """Move the clock forward and close a ledger then."""
        return await self.close(max(self.now, self.network.header.close_time) + seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the newest ledgers by as many and one more, without the transactions `drop`.

        A closed Stellar ledger is final; this stands for an RPC that told of ledgers that never were.
        """
        waiting = self.network.queue.pending()
        undone = self.network.rewind(depth)
        self._record({"op": "rewind", "depth": depth})
        gone = {bytes.fromhex(each) for each in drop}

        def resubmit(frame: Frame) -> None:
            if gone.isdisjoint({frame.contents_hash, frame.inner.contents_hash}):
                self.submit(frame.envelope)

        last = undone[-1].header.close_time
        for ledger in undone:
            for applied in ledger.transactions:
                resubmit(applied.frame)
            await self.close(max(self.network.header.close_time + 1, ledger.header.close_time))
        for frame in waiting:
            resubmit(frame)
        await self.close(last + 1)

    def fund(self, destination: str, stroops: int) -> tuple[Submitted, Frame]:
        """Pay lumens from the root account, creating the destination if there is none."""
        root = self.network.root_key
        key = Keypair.from_public_key(destination).raw_public_key()
        source = self.network.state.peek(account(root.raw_public_key()))
        builder = TransactionBuilder(
            SourceAccount(root.public_key, source.sequence), self.network.passphrase, base_fee=1000
        )
        value = f"{stroops // 10**7}.{stroops % 10**7:07d}"
        if self.network.state.has_account(key):
            builder.append_payment_op(destination, Asset.native(), value)
        else:
            builder.append_create_account_op(destination, value)
        envelope = builder.add_time_bounds(0, 0).build()
        envelope.sign(root)
        return self.submit(envelope.to_xdr_object())
