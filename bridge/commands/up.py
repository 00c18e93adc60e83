"""`rainbow up`: the API and all relayers as child processes, started again when they die."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import structlog

from bridge.chains.local import processes
from bridge.commands.output import ConfigFile, Json, speaking
from bridge.commands.runtime import KeyRing, load_settings, open_store
from bridge.config import Settings

STOP_SECONDS = 5
FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A process that lived this long starts again at once when it dies."""

log = structlog.get_logger("rainbow")


def up(config: ConfigFile = None, as_json: Json = False) -> None:
    """Run the API and all enabled relayers as child processes; what dies is started again."""
    with speaking(as_json) as output:
        settings = load_settings(config)
        _refuse_conflicts(settings)
        logs = settings.data_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        base = [sys.executable, "-m", "bridge.cli"]
        tail = ["--config", str(config)] if config else []
        commands = {"api": [*base, "api", *tail]}
        for chain in settings.enabled_chains():
            commands[f"relayer-{chain}"] = [*base, "relayer", chain, *tail]
        url = f"http://{settings.api.host}:{settings.api.port}"
        output.result({"url": url, "logs": str(logs)}, f"Rainbow Bridge API: {url}", f"logs: {logs}")
        _supervise(commands, logs)


def _refuse_conflicts(settings: Settings) -> None:
    """Raise `ConfigError` where the configuration does not fit the open swaps: a relayer that is not even
    started could not say so. Raises `KeystoreError` without a password: it is told once, here. The keys are
    forgotten afterwards."""
    from bridge.wiring.continuity import keyed_identities, refuse_conflicts

    ring = KeyRing(settings)
    store = open_store(settings, ring)
    try:
        refuse_conflicts(store, settings, keyed_identities(settings, ring.chain))
    finally:
        store.close()


def _supervise(commands: dict[str, list[str]], logs: Path) -> None:
    """Keep the commands running until SIGTERM or Ctrl-C; all end when this process ends."""
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    running = {name: processes.spawn(command, logs / f"{name}.log") for name, command in commands.items()}
    born = dict.fromkeys(commands, time.monotonic())
    delay = dict.fromkeys(commands, FIRST_RESTART_SECONDS)
    due: dict[str, float] = {}
    try:
        while not stopping:
            time.sleep(0.2)
            now = time.monotonic()
            for name, child in list(running.items()):
                code = child.poll()
                if code is None:
                    continue
                processes.kill(child)
                del running[name]
                if now - born[name] > STEADY_SECONDS:
                    delay[name] = FIRST_RESTART_SECONDS
                log.error("process ended", process=name, code=code, again_in=delay[name])
                due[name] = now + delay[name]
                delay[name] = min(delay[name] * 2, LONGEST_RESTART_SECONDS)
            for name in [name for name, at in due.items() if at <= now]:
                del due[name]
                running[name] = processes.spawn(commands[name], logs / f"{name}.log")
                born[name] = now
    finally:
        for child in running.values():
            processes.terminate(child, STOP_SECONDS)
