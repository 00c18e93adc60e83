"""The local chains themselves: they keep clock and state, and end with the process that started them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.chains.errors import PortUnavailableError
from bridge.keys.devkeys import devnet_key
from relayers.evm import adapter as ethereum
from relayers.evm.devnet.anvil import AnvilDevnet, AnvilMissingError, find_anvil
from relayers.zion import adapter as zion
from relayers.zion.devnet.local import ZionDevnet

ORPHAN = """
import asyncio, pathlib, sys, time
from {module} import {name}
async def main():
    devnet = await {name}(pathlib.Path(sys.argv[1])).start()
    print(devnet._child.pid, flush=True)
    time.sleep(60)
asyncio.run(main())
"""


def opened(devnet: AnvilDevnet | ZionDevnet) -> Any:
    module: Any = ethereum if isinstance(devnet, AnvilDevnet) else zion
    return module.open_port(devnet.settings, devnet_key("devnet tests"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere children die with an orderly end alone")
@pytest.mark.parametrize("name", ["AnvilDevnet", "ZionDevnet"])
def test_a_node_dies_with_a_killed_parent(name: str, tmp_path: Path) -> None:
    module = "relayers.evm.devnet.anvil" if name == "AnvilDevnet" else "relayers.zion.devnet.local"
    script = ORPHAN.format(module=module, name=name)
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 5
    while time.monotonic() < end and is_alive(child):
        time.sleep(0.02)
    survived = is_alive(child)
    if survived:
        os.kill(child, signal.SIGKILL)
    assert not survived


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("name", ["anvil", "zion"])
async def test_blocks_come_by_themselves_and_the_clock_survives_reorg_and_restart(
    name: str, tmp_path: Path
) -> None:
    devnet: Any
    if name == "anvil":
        devnet = await AnvilDevnet(tmp_path, block_time=1, persist=True).start()
    else:
        devnet = await ZionDevnet(tmp_path, block_time=0.5).start()
    port = opened(devnet)
    before = await port.tip()
    await devnet.advance_time(5_000)
    later = await port.tip()
    assert later.time >= before.time + 5_000
    await devnet.reorg(2)
    assert (await port.tip()).time >= later.time
    height = (await port.tip()).block.height
    await asyncio.sleep(2.2)
    assert (await port.tip()).block.height > height
    devnet.kill()
    with pytest.raises(PortUnavailableError):
        await port.tip()
    await devnet.restart()
    again = await port.tip()
    assert again.block.height >= height
    await asyncio.sleep(2.2)
    last = await port.tip()
    assert last.time >= later.time
    assert last.block.height > again.block.height
    await port.close()
    await devnet.stop()


async def test_anvil_starts_again_from_the_last_complete_state_when_killed_while_saving(
    tmp_path: Path,
) -> None:
    devnet = await AnvilDevnet(tmp_path, persist=True).start()
    port = opened(devnet)
    await devnet.mine(20)
    await asyncio.sleep(2.2)
    devnet.kill()
    state = tmp_path / "anvil-state.json"
    state.write_bytes(state.read_bytes()[:-1000])
    await devnet.restart()
    assert (await port.tip()).block.height >= 20
    await port.close()
    await devnet.stop()


def test_a_missing_anvil_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINBOW_ANVIL", "/nonexistent/anvil")
    with pytest.raises(AnvilMissingError) as failure:
        find_anvil()
    assert "RAINBOW_ANVIL" in failure.value.hint
