"""A local Solana: the real virtual machine behind JSON-RPC, with the HTLC program and a demo token.

`python -m relayers.solana.devnet.node` serves one until it is told to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from solders.account import Account
from solders.compute_budget import set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.system_program import CreateAccountParams, TransferParams, create_account, transfer
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import initialize_mint2, mint_to
from spl.token.models import InitializeMint2Params, MintToParams

from bridge.chains.errors import PortError
from bridge.protocol.types import Asset, ChainId
from relayers.solana import program
from relayers.solana.devnet.encodings import RpcFailureError
from relayers.solana.devnet.genesis import (
    DEMO_TOKEN,
    MINT,
    PROGRAM,
    TREASURY,
    demo_token,
    describe,
    free_ports,
    settings_at,
)
from relayers.solana.devnet.journal import Journal
from relayers.solana.devnet.ledger import DevLedger, TxRejectedError
from relayers.solana.devnet.rpc_methods import RpcMethods
from relayers.solana.devnet.server import Command, RpcServer
from relayers.solana.settings import SOL, SolanaSettings

_TREASURY_LAMPORTS = 10**9 * 10**9
_MINT_BYTES = 82


class SolanaNode:
    """The local chain and its server in this process and event loop; a `bridge.chains.local.devnet.Devnet`.

    With a `block_time` (seconds) it makes blocks by itself on the real clock; without it, only when told to,
    and its clock stands still in between. With a `journal` a later node goes on where this one ended.
    `confirmed_after` and `finalized_after` are in blocks, `version` is that of the program's bytecode.
    """

    def __init__(
        self,
        *,
        block_time: float | None = None,
        port: int = 0,
        confirmed_after: int = 0,
        finalized_after: int = 32,
        version: int = 0,
        journal: Path | None = None,
        chain: ChainId = SOL.chain,
    ) -> None:
        self.block_time = block_time
        self.port = port or free_ports()
        self.name = chain
        self.token = demo_token(chain)
        self.program = PROGRAM
        self.ledger = DevLedger(
            Journal.genesis_time(journal) or int(time.time()),
            confirmed_after=confirmed_after,
            finalized_after=finalized_after,
        )
        self.ledger.svm.add_program(PROGRAM, program.program_bytes(version))
        self.ledger.put(TREASURY.pubkey(), Account(_TREASURY_LAMPORTS, b"", SYSTEM_PROGRAM))
        self.chain = Journal(self.ledger, journal)
        if not self.chain.restore():
            self._make_token()
        self._ahead = 0 if block_time is None else max(0, self.ledger.head.time - int(time.time()))
        commands: dict[str, Command] = {
            "mine": self.mine,
            "skip": self.skip,
            "forget": self.forget,
            "congest": self.congest,
            "advance_time": self.advance_time,
            "reorg": self.reorg,
            "give": self.give,
        }
        self._server = RpcServer(
            RpcMethods(self.ledger, self.chain.submit, self._airdrop), self.port, commands
        )
        self._ticker: asyncio.Task[None] | None = None

    @property
    def rpc_url(self) -> str:
        """Where JSON-RPC is served."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where subscriptions are served."""
        return f"ws://127.0.0.1:{self.port + 1}"

    @property
    def settings(self) -> SolanaSettings:
        """What `open_port` needs for this node."""
        return settings_at(self.port, self.name)

    async def start(self) -> SolanaNode:
        """Serve, and make blocks if a block time is set. Returns itself."""
        await self._server.start()
        if self.block_time is not None:
            self._ticker = asyncio.create_task(self._tick(self.block_time))
        return self

    async def stop(self) -> None:
        """End everything."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        await self._server.stop()

    # ------------------------------------------------------------------ under test control

    async def mine(self, blocks: int) -> None:
        """Make blocks now."""
        for _ in range(blocks):
            await self._block()

    async def skip(self, slots: int) -> None:
        """Let slots pass without a block, as when their leaders are down."""
        self.chain.skip(slots)

    async def forget(self, first: int, last: int) -> None:
        """Lose the history of these slots, as when it is pruned or the node starts from a snapshot."""
        self.chain.forget(first, last)

    async def congest(self, toll: int, *, shown: bool = True) -> None:
        """Let nothing in that bids less than `toll` micro-lamports per unit, until it is 0 again; what got in
        tells of it only if that is `shown`."""
        self.chain.congest(toll, shown=shown)

    async def advance_time(self, seconds: int) -> None:
        """Make one block whose time is the head's plus `seconds`."""
        self._ahead += seconds
        await self._block(self.ledger.head.time + seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` blocks by one more on another fork, in later slots; see `Devnet`."""
        newest = self.ledger.head.time
        self.chain.roll_back(depth, drop)
        for _ in range(depth + 1):
            await self._block(newest)

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address lamports of the treasury or new demo tokens, in a block of their own."""
        await self.give(address, asset.contract, amount)

    async def give(self, address: str, mint: str, amount: int) -> None:
        """Do what `fund` does; `mint` is "" for SOL."""
        if mint not in ("", DEMO_TOKEN.contract):
            raise PortError("the devnet makes no tokens of this mint", f"it has {DEMO_TOKEN.contract}")
        owner = Pubkey.from_string(address)
        signature = self._submit(self._gift_of_tokens(owner, amount) if mint else [self._gift(owner, amount)])
        await self._block()
        entry = self.ledger.entries.get(signature)
        if entry is None or entry.error is not None:
            raise PortError(
                f"the devnet could not fund {address}", "an empty account needs at least its rent"
            )

    def describe(self) -> Mapping[str, str]:
        """Return URLs and addresses worth printing."""
        return describe(self.port, self.name)

    # ------------------------------------------------------------------ inside

    async def _tick(self, block_time: float) -> None:
        while True:
            await asyncio.sleep(block_time)
            await self._block()

    async def _block(self, at: int | None = None) -> None:
        newest = self.ledger.head.time
        if at is None:
            real = int(time.time()) + self._ahead
            at = newest if self.block_time is None else max(newest, real)
        await self._server.announce(self.chain.produce(at))

    def _submit(self, instructions: Sequence[Instruction], *others: Keypair) -> str:
        blockhash = Hash.from_string(self.ledger.at("finalized").hash)
        # A transfer to itself, of an amount that never comes twice, makes equal gifts different transactions.
        treasury, number = TREASURY.pubkey(), self.chain.transactions
        note = transfer(TransferParams(from_pubkey=treasury, to_pubkey=treasury, lamports=number))
        bid = [set_compute_unit_price(self.ledger.toll)] if self.ledger.toll else []
        message = MessageV0.try_compile(treasury, [*bid, *instructions, note], [], blockhash)
        try:
            return self.chain.submit(VersionedTransaction(message, [TREASURY, *others]))
        except TxRejectedError as refusal:
            raise PortError(
                f"the devnet's treasury cannot do that: {refusal.error}", "ask for less"
            ) from None

    def _gift(self, to: Pubkey, lamports: int) -> Instruction:
        return transfer(TransferParams(from_pubkey=TREASURY.pubkey(), to_pubkey=to, lamports=lamports))

    def _gift_of_tokens(self, owner: Pubkey, amount: int) -> list[Instruction]:
        mint, treasury = MINT.pubkey(), TREASURY.pubkey()
        asked = MintToParams(
            program_id=TOKEN_PROGRAM_ID,
            mint=mint,
            dest=program.token_account(owner, mint),
            mint_authority=treasury,
            amount=amount,
            signers=[],
        )
        return [program.make_token_account(treasury, owner, mint), mint_to(asked)]

    def _airdrop(self, address: str, lamports: int) -> str:
        try:
            return self._submit([self._gift(Pubkey.from_string(address), lamports)])
        except PortError as error:
            raise RpcFailureError(-32603, str(error)) from error

    def _make_token(self) -> None:
        treasury = TREASURY.pubkey()
        made = CreateAccountParams(
            from_pubkey=treasury,
            to_pubkey=MINT.pubkey(),
            lamports=self.ledger.svm.minimum_balance_for_rent_exemption(_MINT_BYTES),
            space=_MINT_BYTES,
            owner=TOKEN_PROGRAM_ID,
        )
        asked = InitializeMint2Params(
            decimals=DEMO_TOKEN.decimals,
            program_id=TOKEN_PROGRAM_ID,
            mint=MINT.pubkey(),
            mint_authority=treasury,
            freeze_authority=None,
        )
        signature = self._submit([create_account(made), initialize_mint2(asked)], MINT)
        self.chain.produce(self.ledger.head.time)
        if self.ledger.entries[signature].error is not None:
            raise PortError("the devnet's token could not be made", "this is a mistake in the devnet")


def main() -> None:
    """Serve a local chain until SIGTERM or Ctrl-C."""
    reader = argparse.ArgumentParser(prog="python -m relayers.solana.devnet.node", description=__doc__)
    reader.add_argument("--port", type=int, default=8899, help="of JSON-RPC; WebSocket is at the next one")
    reader.add_argument("--interval", type=float, default=0.4, help="seconds between blocks; 0: on command")
    reader.add_argument("--journal", type=Path, help="keep the chain in this file")
    reader.add_argument("--confirmed-after", type=int, default=0, help="blocks")
    reader.add_argument("--finalized-after", type=int, default=32, help="blocks")
    wish = reader.parse_args()

    async def serve() -> None:
        node = SolanaNode(
            block_time=wish.interval or None,
            port=wish.port,
            journal=wish.journal,
            confirmed_after=wish.confirmed_after,
            finalized_after=wish.finalized_after,
        )
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await node.start()
        print("\n".join(f"{name}: {value}" for name, value in node.describe().items()), flush=True)
        await stop.wait()
        await node.stop()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
