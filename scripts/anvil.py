"""A raw anvil process, and a minimal way to send it transactions, for benches and deployment checks."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from relayers.evm.devnet.anvil import find_anvil


class RevertedError(Exception):
    """A transaction or call that the EVM reverted; `data` is the revert data."""

    def __init__(self, data: bytes) -> None:
        super().__init__("0x" + data.hex())
        self.data = data


class Anvil:
    """A local chain over JSON-RPC that mines on demand; accounts are impersonated, so no keys are needed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._id = 0

    def rpc(self, method: str, *params: Any) -> Any:
        self._id += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        request = urllib.request.Request(self.url, body.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        if "error" in answer:
            data = answer["error"].get("data")
            if isinstance(data, str):
                raise RevertedError(bytes.fromhex(data[2:]))
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def send(
        self,
        sender: str,
        to: str | None,
        data: bytes = b"",
        value: int = 0,
        access_list: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Send, mine, and return the receipt; raise Reverted. `access_list` is in JSON-RPC's form
        (EIP-2930)."""
        transaction: dict[str, Any] = {
            "from": sender,
            "data": "0x" + data.hex(),
            "value": hex(value),
            "gas": hex(5_000_000),
        }
        if to is not None:
            transaction["to"] = to
        if access_list:
            transaction["accessList"] = list(access_list)
        self.rpc("eth_call", transaction, "pending")  # raises with the reason
        tx_hash = self.rpc("eth_sendTransaction", transaction)
        for _ in range(1000):
            receipt: dict[str, Any] | None = self.rpc("eth_getTransactionReceipt", tx_hash)
            if receipt is None:  # mined on demand, but not at once
                time.sleep(0.002)
                continue
            if receipt["status"] != "0x1":
                raise RevertedError(b"")
            return receipt
        raise RuntimeError(f"transaction {tx_hash} was not mined")


@contextmanager
def anvil(*args: str) -> Iterator[Anvil]:
    """Start anvil on a free loopback port and stop it at the end."""
    command = [str(find_anvil()), "--port", "0", "--host", "127.0.0.1", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + 20
        for line in process.stdout:
            found = re.search(r"Listening on (127\.0\.0\.1:\d+)", line)
            if found:
                yield Anvil(f"http://{found[1]}")
                return
            if time.monotonic() > deadline:
                break
        raise RuntimeError("anvil did not start")
    finally:
        process.terminate()
        process.wait(timeout=10)
