"""No command changes a database under a server that runs on it, whatever folder it is told."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from server.config import ServerSettings
from server.database import REVISIONS, migrate
from server.occupancy import alone, shared
from server.state import StateFolder, initialise
from server.store import Store
from tests.postgresql import Postgresql
from tests.server.devices import new_id
from tests.server.process import DEADLINE_S, client, command, started

REFUSED = "a server runs on the database"


def make(path: Path, database: str = "") -> Path:
    settings = ServerSettings(port=0, database=database)
    initialise(StateFolder(path), settings, new_id, 2**70)
    return path


def check_refused(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert REFUSED in done.stderr
    assert "stop every server of that database" in done.stderr


def check_done(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


def test_a_database_is_not_copied_while_a_server_runs_on_it(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    state, other = make(tmp_path / "state", database), make(tmp_path / "other")
    others = f"sqlite:///{other / 'server.sqlite3'}"
    with started(state) as process:
        check_refused(command(other, "db", "copy", database, empty_database))
        check_refused(command(other, "db", "copy", others, database))
        assert process.end() == 0
    check_done(command(other, "db", "copy", database, empty_database))


def test_a_replica_does_not_change_the_database_of_another_that_runs(
    database: str, tmp_path: Path
) -> None:
    state = make(tmp_path / "state", database)
    replica = Path(shutil.copytree(state, tmp_path / "replica"))
    with started(state) as process:
        check_refused(command(replica, "db", "restored"))
        process.end(signal.SIGKILL)
    check_done(command(replica, "db", "restored"))


def test_a_database_is_not_brought_up_while_a_server_of_before_runs_on_it(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    state = make(tmp_path / "state", database)
    config = state / "config.toml"
    config.write_text(config.read_text().replace(database, empty_database))
    store = Store(empty_database)
    migrate(store, REVISIONS[-2])
    store.close_now()
    with shared(empty_database):
        check_refused(command(state, "migrate"))
    check_done(command(state, "migrate"))


def test_a_replica_that_finds_the_database_brought_up_goes_on_beside_another(
    database: str, tmp_path: Path
) -> None:
    """So each of several is upgraded by the same script: the first brings it up for all."""
    state = make(tmp_path / "state", database)
    replica = Path(shutil.copytree(state, tmp_path / "replica"))
    with started(state) as process:
        check_done(command(replica, "migrate"))
        assert process.end() == 0


def test_a_server_does_not_start_while_a_command_changes_its_database(
    database: str, tmp_path: Path
) -> None:
    state = make(tmp_path / "state", database)
    with alone(database):
        refused = command(state, "run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "start the server when it is done" in refused.stderr
    with started(state) as process:
        assert process.end() == 0


def test_a_backup_is_not_restored_over_the_database_of_a_server_that_runs(tmp_path: Path) -> None:
    """Its settings name a file outside the state folder: the one that is in use."""
    file = tmp_path / "data" / "server.sqlite3"
    file.parent.mkdir()
    state, new = make(tmp_path / "state", f"sqlite:///{file}"), tmp_path / "new"
    check_done(command(state, "backup", str(tmp_path / "backup")))
    with started(state) as process, client(StateFolder(state), process.ready["url"]) as http:
        before = file.stat().st_ino
        check_refused(command(new, "restore", str(tmp_path / "backup")))
        assert file.stat().st_ino == before
        assert http.get("/readyz").status_code == 200
        process.end()
    check_done(command(new, "restore", str(tmp_path / "backup")))


def test_one_database_is_not_copied_to_itself(tmp_path: Path) -> None:
    state = make(tmp_path / "state")
    url = f"sqlite:///{state / 'server.sqlite3'}"
    refused = command(state, "db", "copy", url, url, "--json")
    assert json.loads(refused.stderr)["error"]["code"] == "database_unknown"


@pytest.mark.postgresql
def test_a_server_whose_sessions_broke_is_at_its_database_again(
    postgresql: Postgresql, tmp_path: Path
) -> None:
    database = postgresql.new_database()
    name = database.rpartition("/")[2]
    state = make(tmp_path / "state", database)
    replica = Path(shutil.copytree(state, tmp_path / "replica"))
    with started(state) as process:
        postgresql.administer(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            f" WHERE datname = '{name}'"
        )
        deadline_s = time.monotonic() + DEADLINE_S
        while not postgresql.administer(
            "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE"
            f" d.datname = '{name}' AND locktype = 'advisory' AND mode = 'ShareLock' AND granted"
        ):
            assert time.monotonic() < deadline_s
        check_refused(command(replica, "db", "restored"))
        assert process.end() == 0
