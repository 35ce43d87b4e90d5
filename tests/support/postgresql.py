"""A real PostgreSQL in a folder of its own, on a port that the kernel chose."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

from gateway.config import schema
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

START_S = 30.0
STOP_S = 20.0
PASSWORD = "secret"  # noqa: S105  # of a server that only this test sees

CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
ssl = on
ssl_cert_file = '{folder}/server.pem'
ssl_key_file = '{folder}/server.key'
max_connections = 20
shared_buffers = 32MB
"""


class Postgresql:
    """One server; the port stays the same over `kill` and `start`. It refuses to run as root, so it runs as another."""

    def __init__(self, folder: Path, *, certificate: Path, key: Path, ca: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        assert found, "the tests need PostgreSQL: apt-get install postgresql"
        self._programs = found[-1].parent
        self._folder = folder
        self._files = {"server.pem": certificate, "server.key": key}
        self._ca = ca
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        data = self._folder / "data"
        data.mkdir(parents=True)
        for name, source in self._files.items():
            shutil.copy(source, self._folder / name)
            (self._folder / name).chmod(0o600)
        (self._folder / "password").write_text(PASSWORD, "utf-8")
        if os.geteuid() == 0:
            for path in (self._folder, data, *self._folder.iterdir()):
                os.chown(path, *self._user())
            for path in self._folder.parents:
                if not path.stat().st_mode & 0o001:
                    path.chmod(path.stat().st_mode | 0o011)
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.port = held.getsockname()[1]
        options = ("-U", "edge", "-A", "scram-sha-256", f"--pwfile={self._folder}/password", "--no-sync", "-E", "UTF8")
        done = subprocess.run(
            [self._programs / "initdb", "-D", data, *options],
            capture_output=True,
            text=True,
            check=False,
            **self._who(),
        )
        assert done.returncode == 0, done.stderr
        (data / "postgresql.conf").write_text(CONFIG.format(port=self.port, folder=self._folder), "utf-8")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def options(self) -> schema.Postgresql:
        """What a receiver is told of it."""
        connect = (
            f"host=localhost port={self.port} dbname=postgres user=edge sslmode=verify-full sslrootcert={self._ca}"
        )
        return schema.Postgresql(connect=connect, password_file=str(self._folder / "password"))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert self._process is None, "it runs already"
        with (self._folder / "server.log").open("ab") as log:
            command = [self._programs / "postgres", "-D", self._folder / "data"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._who())
        wait_for(self._answers, "PostgreSQL answers", START_S, 0.05)

    def kill(self) -> None:
        """End it and all its processes at once, as a power cut would; nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)  # immediate: no checkpoint, and no child is left behind
            process.wait(STOP_S)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return what a statement finds, in the receiver's schema."""
        with psycopg.connect(self.options.connect, password=PASSWORD) as connection:
            connection.execute("SET search_path TO edge")
            return connection.execute(statement.encode()).fetchall()

    def do(self, statement: str) -> None:
        """Run a statement that finds nothing, outside a transaction."""
        with psycopg.connect(self.options.connect, password=PASSWORD, autocommit=True) as connection:
            connection.execute(statement.encode())

    def cut_connections(self) -> None:
        """End all sessions but the one that says so."""
        self.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'edge-region'")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "server.log").read_text("utf-8", "replace")
        try:
            self.rows("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    @staticmethod
    def _user() -> Sequence[int]:
        user = pwd.getpwnam("postgres")
        return user.pw_uid, user.pw_gid

    def _who(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        uid, gid = self._user()
        return {"user": uid, "group": gid, "extra_groups": (), "cwd": "/"}
