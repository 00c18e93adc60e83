"""What every local Solana begins with: its program, treasury and token, and how clients reach it."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import msgspec
from solders.keypair import Keypair

from bridge.keys.devkeys import devnet_key
from bridge.protocol.types import Asset, ChainId
from relayers.solana.devnet.ledger import DevLedger
from relayers.solana.settings import SOL, SolanaSettings

PROGRAM = Keypair.from_seed(devnet_key("solana/program")).pubkey()
TREASURY = Keypair.from_seed(devnet_key("solana/treasury"))
MINT = Keypair.from_seed(devnet_key("solana/demo token"))
DEMO_TOKEN = Asset(SOL.chain, "SUSD", 6, str(MINT.pubkey()))
"""The devnet's token, of the instance named after the family; `fund` makes new ones for anybody."""


def demo_token(chain: ChainId) -> Asset:
    """Return the devnet's token as the instance of that name has it."""
    return msgspec.structs.replace(DEMO_TOKEN, chain=chain)


def settings_at(port: int, chain: ChainId = SOL.chain) -> SolanaSettings:
    """Return what `open_port` needs for a node at this port."""
    settings = SolanaSettings(
        rpc_urls=(f"http://127.0.0.1:{port}",),
        ws_url=f"ws://127.0.0.1:{port + 1}",
        program=str(PROGRAM),
        genesis_hash=DevLedger.genesis,
        poll_interval=0.5,
        index_lag=0,
        chain=chain,
    )
    return msgspec.structs.replace(settings, assets=(settings.native, demo_token(chain)))


def describe(port: int, chain: ChainId = SOL.chain) -> Mapping[str, str]:
    """Return URLs and addresses worth printing of a node at this port."""
    return {
        f"{chain} rpc": f"http://127.0.0.1:{port}",
        f"{chain} websocket": f"ws://127.0.0.1:{port + 1}",
        f"{chain} program": str(PROGRAM),
        f"{chain} token": DEMO_TOKEN.contract,
    }


def free_ports() -> int:
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
