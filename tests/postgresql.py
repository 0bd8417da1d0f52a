"""PostgreSQL for tests: a server of the session's own, on loopback, and databases in it.

``fsync`` is off here and here alone: what a power cut does to PostgreSQL is not tested.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.ports import free_port

DEADLINE_S: Final = 60
#: PostgreSQL refuses to run as root; Debian's package brings a user for it.
_USER: Final = "postgres"


def _programs() -> Path:
    """Where Debian puts what is not for everybody; the newest version."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    versions = sorted(found, key=lambda path: int(path.parent.name))
    default = versions[-1] if versions else Path("/usr/lib/postgresql/bin")
    return Path(os.environ.get("POSTGRESQL_BIN", default))


#: Without it there is no PostgreSQL on this machine.
INITDB: Final = _programs() / "initdb"


@dataclass
class Postgresql:
    """A server, and how to make databases in it."""

    folder: Path
    port: int
    password: str
    databases: int = 0

    def url(self, database: str) -> str:
        """As the settings have it."""
        return f"postgresql+psycopg://cigarjack:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """The URL of a fresh one."""
        self.databases += 1
        name = f"test_{self.databases}"
        self.administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def administer(self, sql: str) -> list[Any]:
        address = self.url("postgres").replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
            " -c fsync=off -c max_connections=200"
        )
        self._control("start", "-l", str(self.folder / "log"), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        self._control("stop", "-m", mode)

    def _control(self, *arguments: str) -> None:
        _run(INITDB.with_name("pg_ctl"), "-D", self.folder / "data", "-w", *arguments)


def _run(*command: str | Path) -> None:
    user = {"user": _USER, "group": _USER, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=DEADLINE_S,
        check=False,
        cwd="/",
        **user,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, command


@contextmanager
def postgresql_server() -> Iterator[Postgresql]:
    """A server while the block runs. Its folder is where its own user may go."""
    folder = Path(tempfile.mkdtemp(prefix="cigarjack-postgresql-"))
    server = Postgresql(folder, free_port(), secrets.token_hex(16))
    try:
        secret = folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(server.password, encoding="ascii")
        if os.geteuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, _USER, _USER)
        _run(
            INITDB, "-D", folder / "data", "-U", "cigarjack", "--pwfile", secret,
            "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
