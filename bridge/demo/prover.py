"""The proof of a swap's outcome, checked with the independent verifier against the user's own node."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import bridge
from bridge.client.client import BridgeClient
from bridge.demo.site import Site
from bridge.keys.keystore import SecretKey
from bridge.protocol.types import SwapId
from kernels.errors import RainbowError

VERIFIER = Path(bridge.__file__).parents[1] / "scripts" / "verify_bundle.py"
TRIES = 3


class ProofError(RainbowError):
    """The independent verifier found a flaw."""


async def prove(site: Site, client: BridgeClient, swap_id: SwapId, key: str) -> str:
    """Return what `prove_once` does; its node's head may leave the chain meanwhile, so it is tried again."""
    for _ in range(TRIES - 1):
        try:
            return await prove_once(site, client, swap_id, key)
        except ProofError:
            await asyncio.sleep(1)
    return await prove_once(site, client, swap_id, key)


async def prove_once(site: Site, client: BridgeClient, swap_id: SwapId, key: str) -> str:
    """Return what the independent verifier says: "proven by N blocks of work …".

    The block to trust is the head of the user's own node. `key`: the bridge's, as the user knows it. Raises
    `BridgeRefusedError` while the receipt is not anchored, `ProofError` for a flaw.
    """
    if not VERIFIER.exists():
        return "not verified: scripts/verify_bundle.py is not installed"
    port = site.anchor_port(SecretKey.generate())
    try:
        block = (await port.tip()).block
    finally:
        await port.close()
    bundle = site.directory / f"{swap_id}.bundle"
    bundle.write_text((await client.proof(swap_id, since=block.height)).bundle)
    command = [str(VERIFIER), str(bundle), "--network", "dev", "--checkpoint", f"{block.height}:{block.id}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", *command, *(["--key", key] if key else []), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    line = said.decode().partition("\n")[0]
    if process.returncode != 0:
        raise ProofError(f"swap {swap_id}: {line}", "the bundle is in the demonstration's directory")
    return line
