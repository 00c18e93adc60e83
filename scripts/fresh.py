"""Try the README on bare machines: `make fresh`.

Builds a minimal Debian system with Python, venv, make and git and nothing else, clones this repository's
last commit into it, and runs, as an ordinary user with an empty home and no LANG: `make demo`, then
`make demo` and `make test` without any network. Needs root, mmdebstrap and util-linux.

Package clients find their index there as they do here: their settings (environment, pip, npm and uv
configuration, certificates, name servers) are copied in at run time. The repository keeps nothing of them.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "fresh"
SUITES = ("bookworm", "trixie")
PACKAGES = "python3,python3-venv,make,git,ca-certificates"
USER = "newcomer"
HOME = f"home/{USER}"
NEEDED = ("mmdebstrap", "unshare", "mount", "chroot", "tar")

SETTINGS = ("PIP_", "UV_", "NPM_CONFIG_", "NODE_EXTRA_", "SSL_CERT_", "REQUESTS_CA_", "CURL_CA_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/uv/uv.toml")
HOME_FILES = (".npmrc", ".pip/pip.conf", ".config/pip/pip.conf", ".config/uv/uv.toml")

# Brings up the loopback interface of a new network namespace: SIOCSIFFLAGS with IFF_UP (netdevice(7)).
_LOOPBACK_UP = (
    "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1))"
)


@dataclass(frozen=True)
class Step:
    """A command that the newcomer types, with or without a network."""

    command: str
    online: bool

    def __str__(self) -> str:
        return self.command if self.online else f"{self.command} (no network)"


@dataclass(frozen=True)
class Outcome:
    """How a step ended on a suite."""

    suite: str
    step: str
    code: int
    seconds: float
    disk: int
    """Bytes of the clone and the newcomer's home afterwards."""


class FreshError(Exception):
    """The bare system cannot be built here."""


def settings() -> dict[str, str]:
    """What tells package clients here where their index is, and whom to trust; directories are left out."""
    found = {}
    for name, value in os.environ.items():
        upper = name.upper()
        usable = not value.startswith("/") or Path(value).is_file()
        if usable and (upper in PROXIES or upper.startswith(SETTINGS)):
            found[name] = value
    return found


def build(suite: str) -> Path:
    """Unpack the bare system of a suite, made once by mmdebstrap, with our settings in it."""
    archive, root = WORK / f"{suite}.tar", WORK / suite
    WORK.mkdir(parents=True, exist_ok=True)
    if not archive.exists():
        part = archive.with_suffix(".part.tar")
        _run(["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(part)])
        part.replace(archive)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    _run(["tar", "-xf", str(archive), "-C", str(root), "--exclude=./dev/*"])
    _run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", USER])
    for source in (*FILES, *(value for value in settings().values() if value.startswith("/"))):
        _copy(Path(source), root / source.lstrip("/"))
    for name in HOME_FILES:
        _copy(Path.home() / name, root / HOME / name)
    _run(["git", "-C", str(ROOT), "bundle", "create", "--quiet", str(root / "tmp/rainbow.bundle"), "HEAD"])
    _run(["chroot", str(root), "chown", "-R", f"{USER}:{USER}", f"/{HOME}"])
    return root


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise FreshError(f"{shlex.join(command)} ended with {done.returncode}")


def inside(root: Path, command: str, *, online: bool) -> list[str]:
    """The command line that runs `command` in the bare system, in process and mount namespaces of its own.

    What it starts ends with it, and its mounts go with it.
    """
    place = shlex.quote(str(root))
    environment = {
        "HOME": f"/{HOME}",
        "USER": USER,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TERM": "dumb",
        **settings(),
    }
    variables = " ".join(shlex.quote(f"{name}={value}") for name, value in environment.items())
    script = [
        "set -e",
        f"mount -t proc proc {place}/proc",
        f"mount --rbind /sys {place}/sys",
        f"mount --rbind /dev {place}/dev",
        *([] if online else [f"{shlex.quote(sys.executable)} -c {shlex.quote(_LOOPBACK_UP)}"]),
        f"exec chroot --userspec={USER}:{USER} {place} /usr/bin/env -i {variables} "
        f"/bin/sh -c {shlex.quote(f'cd && {command}')}",
    ]
    network = [] if online else ["--net"]
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", *network, "sh", "-c", "\n".join(script)]


def play(suite: str, steps: Sequence[Step]) -> Iterator[Outcome]:
    """Build a suite's system and run the steps in it, until one fails."""
    root = build(suite)
    clone = Step("git clone --quiet /tmp/rainbow.bundle rainbow && cd rainbow && python3 --version", True)
    with (WORK / f"{suite}.log").open("w") as log:
        for step in (clone, *steps):
            command = step.command if step is clone else f"cd rainbow && {step.command}"
            print(f"\n== {suite}: {step}", flush=True)
            began = time.monotonic()
            code = _tee(inside(root, command, online=step.online), log)
            seconds = time.monotonic() - began
            name = "git clone" if step is clone else str(step)
            yield Outcome(suite, name, code, seconds, _disk(root / HOME))
            if code:
                return


def _tee(command: Sequence[str], log: TextIO) -> int:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        log.write(line)
    return process.wait()


def _disk(folder: Path) -> int:
    """Bytes on disk; files that uv links into several environments count once."""
    command = ["du", "-s", "-B1", str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return int(output.split()[0]) if output else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Try the README on bare Debian systems.")
    parser.add_argument("suites", nargs="*", default=SUITES, help="Debian releases; if none is named, all")
    parser.add_argument("--first", default="make demo", metavar="COMMAND", help="what runs with a network")
    parser.add_argument(
        "--then",
        action="append",
        metavar="COMMAND",
        help="what runs without; if none, make demo and make test",
    )
    chosen = parser.parse_args(arguments)
    if sys.platform != "linux" or os.geteuid() != 0:
        raise FreshError("`make fresh` runs on Linux, as root: it makes Debian systems and enters them")
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        raise FreshError(f"{', '.join(lacking)} not found; on Debian: apt-get install mmdebstrap util-linux")
    steps = [Step(chosen.first, online=True)]
    steps += [Step(command, online=False) for command in chosen.then or ["make demo", "make test"]]
    outcomes = [outcome for suite in chosen.suites for outcome in play(suite, steps)]
    print()
    for one in outcomes:
        verdict = "passed" if one.code == 0 else f"FAILED ({one.code})"
        figures = f"{one.seconds:6.0f} s  {one.disk / 1e9:5.2f} GB"
        print(f"{one.suite:<9} {one.step:<24} {verdict:<11} {figures}")
    wanted = len(chosen.suites) * (1 + len(steps))
    return 0 if len(outcomes) == wanted and all(one.code == 0 for one in outcomes) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FreshError as error:
        sys.exit(f"error: {error}")
