"""A local Solana in this process: the real virtual machine behind JSON-RPC, the HTLC and a demo token."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping, Sequence

from solders.account import Account
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

from bridge.protocol.types import Asset, Chain
from relayers.devkeys import devnet_key
from relayers.port import PortError
from relayers.solana import program
from relayers.solana.ledger import Ledger, Rejected
from relayers.solana.methods import Methods, RpcFailure
from relayers.solana.server import Server
from relayers.solana.settings import SOL, SolanaSettings

PROGRAM = Keypair.from_seed(devnet_key("solana/program")).pubkey()
TREASURY = Keypair.from_seed(devnet_key("solana/treasury"))
MINT = Keypair.from_seed(devnet_key("solana/demo token"))
DEMO_TOKEN = Asset(Chain.SOLANA, "DEMO", 6, str(MINT.pubkey()))

_TREASURY_LAMPORTS = 10**9 * 10**9
_MINT_BYTES = 82


class SolanaDevnet:
    """The local chain and its server; implements `relayers.port.Devnet`.

    With a `block_time` (seconds) it makes blocks by itself on the real clock; without it, only when told to,
    and its clock stands still in between. It lives in this process and event loop and forgets everything
    with it; `kill` and `restart` take only the server away. `confirmed_after` and `finalized_after` are in
    blocks.
    """

    def __init__(
        self,
        *,
        block_time: float | None = None,
        port: int = 0,
        confirmed_after: int = 0,
        finalized_after: int = 32,
        version: int = 0,
    ) -> None:
        self.block_time = block_time
        self.port = port or _free_ports()
        self.token = DEMO_TOKEN
        self.program = PROGRAM
        self._ahead = 0
        self._gifts = 0
        self.ledger = Ledger(
            int(time.time()), confirmed_after=confirmed_after, finalized_after=finalized_after
        )
        self.ledger.svm.add_program(PROGRAM, program.program_bytes(version))
        self.ledger.put(TREASURY.pubkey(), Account(_TREASURY_LAMPORTS, b"", SYSTEM_PROGRAM))
        self._make_token()
        self._server = Server(Methods(self.ledger, self._airdrop), self.port)
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
        """What `open_port` needs for this devnet."""
        return SolanaSettings(
            rpc_urls=(self.rpc_url,),
            ws_url=self.ws_url,
            program=str(self.program),
            genesis_hash=self.ledger.genesis,
            assets=(SOL, self.token),
            poll_interval=0.5,
            index_lag=0,
        )

    async def start(self) -> SolanaDevnet:
        """Serve, and make blocks if a block time is set. Returns itself."""
        await self._server.start()
        if self.block_time is not None:
            self._ticker = asyncio.create_task(self._tick(self.block_time))
        return self

    async def kill(self) -> None:
        """Take the server away at once; blocks stop too."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        await self._server.stop()

    async def restart(self) -> None:
        """Serve again at the same port."""
        await self.start()

    async def stop(self) -> None:
        """End everything."""
        await self.kill()

    # ------------------------------------------------------------------ under test control

    async def mine(self, blocks: int) -> None:
        """Make blocks now."""
        for _ in range(blocks):
            await self._block()

    async def skip(self, slots: int) -> None:
        """Let slots pass without a block, as when their leaders are down."""
        self.ledger.skip(slots)

    async def advance_time(self, seconds: int) -> None:
        """Make one block whose time is the head's plus `seconds`."""
        self._ahead += seconds
        await self._block(self.ledger.head.time + seconds)

    async def reorg(self, depth: int, drop: Sequence[str] = ()) -> None:
        """Replace the last `depth` blocks by one more on another fork, in later slots; see `Devnet`."""
        newest = self.ledger.head.time
        kept = self.ledger.roll_back(depth)
        waiting = list(self.ledger.pending.values())
        self.ledger.pending = {
            str(transaction.signatures[0]): transaction
            for transaction in [*kept, *waiting]
            if str(transaction.signatures[0]) not in drop
        }
        for _ in range(depth + 1):
            await self._block(newest)

    async def fund(self, address: str, asset: Asset, amount: int) -> None:
        """Give an address lamports of the treasury or new demo tokens, in a block of their own."""
        owner = Pubkey.from_string(address)
        is_token = bool(asset.contract)
        signature = self._submit(
            self._gift_of_tokens(owner, amount) if is_token else [self._gift(owner, amount)]
        )
        await self._block()
        entry = self.ledger.entries.get(signature)
        if entry is None or entry.error is not None:
            raise PortError(
                f"the devnet could not fund {address}", "an empty account needs at least its rent"
            )

    def describe(self) -> Mapping[str, str]:
        """Return URLs and addresses worth printing."""
        return {
            "solana rpc": self.rpc_url,
            "solana websocket": self.ws_url,
            "solana program": str(self.program),
            "solana token": self.token.contract,
        }

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
        await self._server.announce(self.ledger.produce(at))

    def _submit(self, instructions: Sequence[Instruction], *others: Keypair) -> str:
        blockhash = Hash.from_string(self.ledger.at("finalized").hash)
        self._gifts += 1  # in a transfer to itself it makes equal gifts different transactions
        note = transfer(
            TransferParams(from_pubkey=TREASURY.pubkey(), to_pubkey=TREASURY.pubkey(), lamports=self._gifts)
        )
        message = MessageV0.try_compile(TREASURY.pubkey(), [*instructions, note], [], blockhash)
        try:
            return self.ledger.submit(VersionedTransaction(message, [TREASURY, *others]))
        except Rejected as refusal:
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
            raise RpcFailure(-32603, str(error)) from error

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
        self.ledger.produce(self.ledger.head.time)
        if self.ledger.entries[signature].error is not None:
            raise PortError("the devnet's token could not be made", "this is a mistake in the devnet")


def _free_ports() -> int:
    """Return a port that is free together with the next one: clients look for the WebSocket there."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port >= 65_535:
                continue
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
