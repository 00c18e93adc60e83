"""Child processes of devnets that cannot outlive the process that started them.

A test run that is killed (even with SIGKILL) must leave no node behind. On Linux the kernel does this
for us: a child that asked for PR_SET_PDEATHSIG is killed when the thread that started it ends
(prctl(2)). The request is made by a tiny Python launcher that then becomes the program, not by a
`preexec_fn`, which CPython documents as unsafe beside threads. Elsewhere only `atexit` protects.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None, use_errno=True).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() != int(sys.argv[1]):  # the parent died before the request took effect
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


_running: set[subprocess.Popen[bytes]] = set()


@atexit.register
def _kill_all() -> None:
    for child in list(_running):
        kill(child)


def spawn(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, *, piped: bool = False
) -> subprocess.Popen[bytes]:
    """Start `command` (an absolute program path first) with its output appended to `log`.

    With `piped` its standard input and output are pipes to the caller; only its errors go to `log`.

    Call it from a thread that lives as long as the child should: on Linux the child ends with it. The
    child gets a session of its own, so that Ctrl-C reaches only us and the shutdown stays orderly.
    """
    if sys.platform == "linux":
        argv = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
    else:
        argv = list(command)
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    _running.add(child)
    return child


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a child at once, as `kill -9` does, and reap it. Safe to repeat."""
    _running.discard(child)
    if child.poll() is None:
        child.send_signal(signal.SIGKILL)
    child.wait()


def terminate(child: subprocess.Popen[bytes], patience: float = 5.0) -> None:
    """Ask a child to end, wait up to `patience` seconds for it to save its state, then kill it."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)
    kill(child)


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
