"""An EVM for contract tests: a local anvil, mining one block for each transaction, with the clock held still.

anvil has a binary for every platform that the project supports. A process keeps its anvils and hands them out
again: each starts from the state it had when it was fresh.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.chains.local import processes
from relayers.evm.devnet.anvil import find_anvil

GENESIS_TIME = 1_700_000_000
GAS_LIMIT = 100_000_000
_START_PATIENCE = 60.0


class EvmError(Exception):
    """The EVM refused a call or transaction; `data` is what a revert returned."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


@dataclass(frozen=True)
class Log:
    """A log of a transaction, as JSON-RPC has it (hex)."""

    address: str
    topics: list[str]
    data: str


class _Anvil:
    """The process and one connection to it."""

    def __init__(self) -> None:
        self.port = processes.free_port()
        command = [str(find_anvil()), "--silent", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--hardfork", "cancun", "--timestamp", str(GENESIS_TIME), "--auto-impersonate"]
        # Nobody pays for gas: balances move by what the contracts move.
        command += ["--gas-price", "0", "--block-base-fee-per-gas", "0", "--gas-limit", str(10 * GAS_LIMIT)]
        with tempfile.NamedTemporaryFile(prefix="rainbow-anvil-") as log:
            self.process = processes.spawn(command, Path(log.name))
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self._ids = itertools.count()
        self._wait_until_up()
        self.rpc("anvil_setBlockTimestampInterval", 0)
        self.snapshot = self.rpc("evm_snapshot")

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_PATIENCE
        while True:
            try:
                self.rpc("eth_chainId")
            except OSError:
                self._connection.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("anvil did not start") from None
                time.sleep(0.02)
            else:
                return

    def rpc(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        self._connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.load(self._connection.getresponse())
        if "error" in answer:
            data = answer["error"].get("data")
            revert = bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""
            raise EvmError(answer["error"]["message"], revert)
        return answer["result"]

    def reset(self) -> None:
        """Go back to the state of the beginning."""
        self.rpc("evm_revert", self.snapshot)
        self.snapshot = self.rpc("evm_snapshot")


_idle: dict[int, list[_Anvil]] = {}
"""By process id: a fork must not talk to its parent's anvils."""


def _give_back(owner: int, anvil: _Anvil) -> None:
    if owner == os.getpid() and anvil.process.poll() is None:
        _idle.setdefault(owner, []).append(anvil)


class AnvilEvm:
    """One chain of its own, until nobody refers to it any more."""

    def __init__(self, chain_id: int) -> None:
        idle = _idle.setdefault(os.getpid(), [])
        self._anvil = idle.pop() if idle else _Anvil()
        self._anvil.reset()
        self._anvil.rpc("anvil_setChainId", chain_id)
        weakref.finalize(self, _give_back, os.getpid(), self._anvil)

    def set_time(self, timestamp: int) -> None:
        """Mine a block at `timestamp` (seconds); all that follows happens at that time."""
        self._anvil.rpc("anvil_setTime", timestamp)  # it alone goes back as well
        self._anvil.rpc("evm_setNextBlockTimestamp", timestamp)
        self._anvil.rpc("evm_mine")

    def set_balance(self, address: str, amount: int) -> None:
        self._anvil.rpc("anvil_setBalance", address, hex(amount))

    def get_balance(self, address: str) -> int:
        return int(self._anvil.rpc("eth_getBalance", address, "latest"), 16)

    def set_code(self, address: str, runtime: bytes) -> None:
        self._anvil.rpc("anvil_setCode", address, "0x" + runtime.hex())

    def get_code(self, address: str) -> bytes:
        return bytes.fromhex(self._anvil.rpc("eth_getCode", address, "latest")[2:])

    def storage(self, address: str, slot: int) -> int:
        return int(self._anvil.rpc("eth_getStorageAt", address, hex(slot), "latest"), 16)

    def call(self, sender: str, to: str | None, data: bytes, value: int = 0, gas: int | None = None) -> bytes:
        """Return what a call returns, changing nothing. Raises EvmError."""
        transaction = _transaction(sender, to, data, value, gas)
        return bytes.fromhex(self._anvil.rpc("eth_call", transaction, "latest")[2:])

    def transact(
        self, sender: str, to: str | None, data: bytes, value: int = 0, gas: int | None = None
    ) -> tuple[str | None, list[Log]]:
        """Mine one transaction; return the address it created, if any, and its logs. Raises EvmError."""
        transaction = _transaction(sender, to, data, value, gas)
        receipt = self._anvil.rpc("eth_sendTransactionSync", transaction)
        if receipt["status"] != "0x1":
            raise EvmError("the transaction reverted", b"")
        logs = [Log(log["address"], log["topics"], log["data"]) for log in receipt["logs"]]
        return receipt["contractAddress"], logs


def _transaction(sender: str, to: str | None, data: bytes, value: int, gas: int | None) -> dict[str, str]:
    fields = {"from": sender, "data": "0x" + data.hex(), "value": hex(value), "gasPrice": "0x0"}
    fields["gas"] = hex(gas or GAS_LIMIT)
    return fields if to is None else {**fields, "to": to}
