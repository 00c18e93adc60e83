"""Real node processes on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

SECONDS = 60


class Process:
    """`rainbow node --network dev`, asked by JSON-RPC."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.log = (directory / "log").open("ab")
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "chain.cli", "node", "--data-dir", str(directory), "--rpc-port", "0",
                "--block-interval", "3600", "--json", *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=self.log,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (directory / "log").read_text()
        self._url = json.loads(line)["rpc_url"]

    def call(self, method: str, **params: Any) -> Any:
        answer = httpx.post(
            self._url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, timeout=30
        ).json()
        assert "error" not in answer, answer
        return answer["result"]

    @property
    def address(self) -> str:
        """KEY@host:port."""
        return (self.directory / "p2p_address").read_text()

    @property
    def best(self) -> str:
        return str(self.call("getInfo")["best_id"])

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)
        self.log.close()


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < end, f"not seen within {SECONDS} s: {what}"
        time.sleep(0.1)
