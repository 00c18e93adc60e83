"""Mining for a node elsewhere: templates from its RPC, found blocks back to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import structlog

from chain.mining.miner import SoloMiner, Work
from chain.rules.block import Block
from chain.rules.errors import NodeUnreachableError, RpcError
from chain.service.client import ZionClient

log = structlog.get_logger("zion.solo")

REFRESH_SECONDS = 5.0
"""Work is renewed this often, to take up new transactions; a new head renews it at once."""


async def mine_main(
    url: str,
    address: str,
    backend: str,
    threads: int,
    blocks: int,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Mine until `blocks` were accepted (0: without end). `report` gets every block and the hash rate.

    Raises `RpcError` when the node cannot be reached at the start; later it is waited for.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Queue[Block] = asyncio.Queue()

    def on_found(work: Work, nonce: int) -> None:
        loop.call_soon_threadsafe(found.put_nowait, work.solved(nonce))

    async with ZionClient(url) as client:
        first = await client.get_block_template(address)
        miner = SoloMiner(backend, on_found, threads=threads)
        miner.offer(_work(first.block))
        miner.start()
        wake = asyncio.Event()
        watching = asyncio.create_task(_watch(client, wake))
        accepted = 0
        try:
            while not blocks or accepted < blocks:
                block = await _next(found, wake)
                if block is not None:
                    accepted += await _submit(client, block, report)
                report({"event": "hash_rate", "per_second": round(miner.hash_rate)})
                if miner.problem:
                    report({"event": "problem", "what": miner.problem})
                with contextlib.suppress(RpcError):
                    miner.offer(_work((await client.get_block_template(address)).block))
        finally:
            watching.cancel()
            await asyncio.to_thread(miner.stop)


def _work(block: str) -> Work:
    return Work.of(Block.decode(bytes.fromhex(block)))


async def _next(found: asyncio.Queue[Block], wake: asyncio.Event) -> Block | None:
    """Wait for a found block, a new head or the refresh time, whichever comes first."""
    waits = [asyncio.create_task(found.get()), asyncio.create_task(wake.wait())]
    done, pending = await asyncio.wait(waits, timeout=REFRESH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    wake.clear()
    results = [task.result() for task in done]
    return next((result for result in results if isinstance(result, Block)), None)


async def _submit(client: ZionClient, block: Block, report: Callable[[dict[str, Any]], None]) -> int:
    try:
        answer = await client.submit_block(block.encode())
    except RpcError as error:
        report({"event": "refused", "id": block.id.hex(), "reason": error.reason or error.with_hint})
        return 0
    report({"event": "block", "id": answer.id, "height": block.header.height, "best": answer.best})
    return 1


async def _watch(client: ZionClient, wake: asyncio.Event) -> None:
    while True:
        try:
            async for _ in client.subscribe("newBlock"):
                wake.set()
        except NodeUnreachableError:
            pass  # the refresh time renews the work meanwhile
        except Exception:  # a node that pushes nonsense must not end the watching
            log.exception("the pushes of new blocks failed")
        await asyncio.sleep(1)
