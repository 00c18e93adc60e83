"""One relayer in a process of its own, over fake chains that live in the test's process.

`python -m tests.scenario.machine ADDRESS CHAIN DATABASE-URL OWNER` runs until it is killed. The chain is
asked through a socket, one call after the other.
"""

from __future__ import annotations

import asyncio
import copyreg
import logging
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from bridge.engine.metrics import Metrics
from bridge.engine.outbox import OutboxSettings
from bridge.protocol.types import ChainId, LockId, LockTerms, Preimage
from bridge.store import Store
from relayers.daemon.loop import Worker, WorkerSettings
from relayers.fake import FakeChain, FakePort
from relayers.fake.ledger import lock_id_of
from tests.scenario.world import KEY

LEASE_MS = 2_000

# A preimage refuses to be pickled, so that none leaves the process by mistake. Here all are made up.
copyreg.pickle(Preimage, lambda secret: (Preimage, (secret.reveal(),)))

CALLS = (
    "tip",
    "scan",
    "read_lock",
    "balance",
    "fees",
    "next_sequence",
    "prepare",
    "broadcast",
    "tx_status",
    "setup_actions",
)


class ChainServer:
    """Answers the relayers' calls on the fake chains. `lock` keeps the chains still while it does."""

    def __init__(self, address: str, chains: Mapping[ChainId, FakeChain]) -> None:
        self._chains = chains
        self.lock = threading.Lock()
        self._listener = Listener(address, backlog=16)
        self._serving = threading.Thread(target=self._accept, daemon=True)
        self._serving.start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        try:
            port = FakePort(self._chains[connection.recv()], "bridge")
            while True:
                method, arguments, options = connection.recv()
                try:
                    with self.lock:
                        answer = asyncio.run(getattr(port, method)(*arguments, **options))
                except Exception as error:
                    answer = error
                connection.send(answer)
        except (EOFError, OSError):
            return

    def close(self) -> None:
        self._listener.close()


class RemotePort(FakePort):
    """A `FakePort` whose calls are answered in the test's process."""

    def __init__(self, address: str, chain: FakeChain) -> None:
        super().__init__(chain, "bridge")
        self._connection = Client(address)
        self._connection.send(chain.chain)
        self._one_at_a_time = threading.Lock()
        for name in CALLS:
            setattr(self, name, self._remote(name))

    def _remote(self, name: str) -> Any:
        def ask(arguments: Any, options: Any) -> Any:
            with self._one_at_a_time:
                self._connection.send((name, arguments, options))
                return self._connection.recv()

        async def call(*arguments: Any, **options: Any) -> Any:
            answer = await asyncio.to_thread(ask, arguments, options)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def lock_id(self, terms: LockTerms) -> LockId:
        return LockId(lock_id_of(terms))

    async def hints(self) -> AsyncIterator[None]:
        while True:
            await asyncio.sleep(0.1)
            yield


def main(address: str, name: str, url: str, owner: str) -> None:
    from tests.scenario.world import INTERVAL, NATIVE

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    chain = ChainId(name)
    port = RemotePort(address, FakeChain(chain, NATIVE[chain], seed=0, block_interval=INTERVAL))
    store = Store.open(url, secrets_key=KEY)
    settings = WorkerSettings(
        poll_seconds=0.1,
        first_backoff=0.1,
        max_backoff=1.0,
        outbox=OutboxSettings(lease_ms=LEASE_MS, retry_ms=100, max_retry_ms=1_000),
    )
    worker = Worker(port, store, settings, metrics=Metrics(CollectorRegistry()), owner=owner)
    asyncio.run(worker.run())


if __name__ == "__main__":
    main(*sys.argv[1:])
