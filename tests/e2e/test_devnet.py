"""`rainbow devnet` as its users run it: five chains at the configured ports, accounts funded, all well."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.chains.local import processes
from relayers.solana.devnet.genesis import free_ports
from tests import instances

PATIENCE_SECONDS = 120


def rainbow(*arguments: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "bridge.cli", *arguments, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.timeout(PATIENCE_SECONDS + 60)
@pytest.mark.long
def test_a_devnet_of_all_chains_has_money_for_the_bridge_and_a_user(tmp_path: Path) -> None:
    zion, ethereum, stellar, cardano = (f"http://127.0.0.1:{processes.free_port()}" for _ in range(4))
    solana = free_ports()
    told = rainbow(
        *("init", "--dir", str(tmp_path), "--zion-rpc", zion, "--ethereum-rpc", ethereum),
        *("--solana-rpc", f"http://127.0.0.1:{solana}", "--solana-ws", f"ws://127.0.0.1:{solana + 1}"),
        *("--stellar-rpc", f"{stellar}/rpc", "--cardano-blockfrost", f"{cardano}/api/v0"),
    )
    config = ("--config", str(tmp_path / "rainbow.toml"))
    log = tmp_path / "devnet.log"
    argv = [
        sys.executable,
        "-m",
        "bridge.cli",
        "devnet",
        "--dir",
        str(tmp_path / "chains"),
        "--json",
        *config,
    ]
    child = processes.spawn(argv, log)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not log.read_text().endswith("}\n"):
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        running = json.loads(log.read_text())
        for chain in instances.ALL:
            assert running[f"{chain}_bridge"] == told[f"{chain}_account"]
            assert running[f"{chain}_user"]
        assert running["cardano"] == f"{cardano}/api/v0"
        report = rainbow("check", *config)
        assert report["ok"] is True, report
        balances = {line["what"]: line["level"] for line in report["findings"] if "balance" in line["what"]}
        assert balances == {f"{chain} balance": "ok" for chain in instances.ALL}
    finally:
        child.send_signal(signal.SIGTERM)
        processes.terminate(child)
    assert child.returncode == 0, log.read_text()
