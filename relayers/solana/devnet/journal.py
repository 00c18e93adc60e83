"""The local chain on disk: all that ever happened to its ledger, one JSON line each, to be done again."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from solders.transaction import VersionedTransaction

from relayers.solana.devnet.ledger import DevBlock, DevLedger


class Journal:
    """Does things to a ledger and writes them down; without a `path` it only does them.

    A line is complete when the one who asked hears of it, so whatever a client was told survives a kill. The
    virtual machine is deterministic: the same lines make the same blocks with the same hashes.
    """

    def __init__(self, ledger: DevLedger, path: Path | None = None) -> None:
        self._ledger = ledger
        self._path = path
        self.transactions = 0
        """How many have been submitted."""

    @staticmethod
    def genesis_time(path: Path | None) -> int | None:
        """Return the genesis' Unix time in a journal; None where there is none yet."""
        steps = _steps(path)
        return int(steps[0]["time"]) if steps else None

    def restore(self) -> bool:
        """Do again all that is written; False for a new chain, whose genesis is then written down."""
        steps = _steps(self._path)
        if not steps:
            self._write({"op": "genesis", "time": self._ledger.head.time})
            return False
        for step in steps:
            match step["op"]:
                case "transaction":
                    raw = base64.b64decode(step["raw"])
                    self._ledger.submit(VersionedTransaction.from_bytes(raw), preflight=False)
                    self.transactions += 1
                case "block":
                    self._ledger.produce(step["time"])
                case "skip":
                    self._ledger.skip(step["slots"])
                case "congest":
                    self._ledger.congest(step["toll"], shown=step["shown"])
                case "forget":
                    self._ledger.forget(step["first"], step["last"])
                case "roll back":
                    self._ledger.roll_back(step["depth"], step["drop"])
        if self._path is not None:  # without a last line that was torn
            self._path.write_text("".join(json.dumps(step) + "\n" for step in steps))
        return True

    def submit(self, transaction: VersionedTransaction, *, preflight: bool = True) -> str:
        """See `DevLedger.submit`."""
        signature = self._ledger.submit(transaction, preflight=preflight)
        self.transactions += 1
        self._write({"op": "transaction", "raw": base64.b64encode(bytes(transaction)).decode()})
        return signature

    def produce(self, time: int) -> DevBlock:
        """See `DevLedger.produce`."""
        block = self._ledger.produce(time)
        self._write({"op": "block", "time": time})
        return block

    def skip(self, slots: int) -> None:
        """See `DevLedger.skip`."""
        self._ledger.skip(slots)
        self._write({"op": "skip", "slots": slots})

    def forget(self, first: int, last: int) -> None:
        """See `DevLedger.forget`."""
        self._ledger.forget(first, last)
        self._write({"op": "forget", "first": first, "last": last})

    def congest(self, toll: int, *, shown: bool) -> None:
        """See `DevLedger.congest`."""
        self._ledger.congest(toll, shown=shown)
        self._write({"op": "congest", "toll": toll, "shown": shown})

    def roll_back(self, depth: int, drop: Sequence[str]) -> None:
        """See `DevLedger.roll_back`."""
        self._ledger.roll_back(depth, drop)
        self._write({"op": "roll back", "depth": depth, "drop": list(drop)})

    def _write(self, step: dict[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(step) + "\n")


def _steps(path: Path | None) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if path is None or not path.exists():
        return steps
    for line in path.read_text().splitlines():
        try:
            steps.append(json.loads(line))
        except ValueError:
            break  # the last line of a killed node may be torn
    return steps
