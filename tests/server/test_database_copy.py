"""From SQLite to PostgreSQL without loss, and back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, select

from server.cli import main
from server.database import migrate
from server.database_copy import copy_database
from server.evidence import gather
from server.evidence_file import write
from server.schema.parties import merchants
from server.schema.tables import metadata
from server.state import StateFolder
from server.store import Store, database_url
from tests.postgresql import Postgresql
from tests.server.bench import copied, running
from tests.server.devices import Devices

pytestmark = pytest.mark.postgresql


@dataclass(frozen=True)
class Filled:
    """The folder of a server that has stopped, its devices, and its payments' evidence."""

    folder: StateFolder
    devices: Devices
    evidence: dict[str, bytes]

    def copy(self, source: str, target: str) -> Result:
        arguments = ["--state", str(self.folder.path), "db", "copy", source, target, "--json"]
        return CliRunner().invoke(main, arguments)


def evidence_of(store: Store, folder: StateFolder, payments: list[str]) -> dict[str, bytes]:
    def read(c: Connection) -> dict[str, bytes]:
        return {payment: write(gather(c, payment, folder.identity())) for payment in payments}

    return store.read_now(read)


def rows_of(url: str) -> dict[str, list[tuple[object, ...]]]:
    store = Store(url)
    found = store.read_now(
        lambda c: {
            table.name: sorted((tuple(row) for row in c.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }
    )
    store.close_now()
    return found


@pytest.fixture
async def filled(prepared: tuple[StateFolder, Devices], tmp_path: Path) -> Filled:
    folder, devices = copied(prepared, tmp_path / "server")
    async with running(folder, devices) as bench:
        held, _ = await bench.held()
        payment, _, challenge = await bench.pending()
        await bench.confirm(payment, devices.confirmation(payment, challenge))
        declined, _, challenge = await bench.pending()
        await bench.confirm(declined, devices.decline(declined, challenge))
        evidence = evidence_of(bench.store, folder, [held, payment, declined])
    return Filled(folder, devices, evidence)


async def test_a_server_goes_on_with_the_copy(filled: Filled, postgresql: Postgresql) -> None:
    source, target = database_url(filled.folder.path), postgresql.new_database()
    done = filled.copy(source, target)
    assert done.exit_code == 0, done.output
    before = rows_of(source)
    assert rows_of(target) == before
    assert json.loads(done.stdout)["rows"] == {name: len(rows) for name, rows in before.items()}

    async with running(filled.folder, filled.devices, database=target) as bench:
        evidence = evidence_of(bench.store, filled.folder, list(filled.evidence))
        assert evidence == filled.evidence
        payment, _, challenge = await bench.pending()
        answer = await bench.confirm(payment, filled.devices.confirmation(payment, challenge))
        assert answer.json()["status"] == "captured", answer.text
    audit = CliRunner().invoke(
        main,
        ["--state", str(filled.folder.path), "audit"],
        env={"CIGARJACK_SERVER_DATABASE": target},
    )
    assert audit.exit_code == 0, audit.output


def test_there_and_back_again_is_the_same(
    filled: Filled, postgresql: Postgresql, tmp_path: Path
) -> None:
    source, target = database_url(filled.folder.path), postgresql.new_database()
    back = f"sqlite:///{tmp_path / 'back.sqlite3'}"
    assert filled.copy(source, target).exit_code == 0
    assert filled.copy(target, back).exit_code == 0
    assert rows_of(back) == rows_of(source)


def test_a_target_that_is_not_empty_is_refused_and_left_as_it_is(
    filled: Filled, postgresql: Postgresql
) -> None:
    source, target = database_url(filled.folder.path), postgresql.new_database()
    store = Store(target)
    migrate(store)
    values = {"id": "m", "name": "M", "presence": "prefer", "created_ms": 1}
    store.write_now(lambda c: c.execute(merchants.insert().values(values)))
    store.close_now()
    before = rows_of(target)
    refused = filled.copy(source, target)
    assert refused.exit_code == 1
    assert "the target is not empty: there are rows in merchants" in refused.stderr
    assert rows_of(target) == before


def test_a_copy_that_is_cut_off_leaves_the_target_empty(
    filled: Filled, postgresql: Postgresql
) -> None:
    """The last table refuses a row that SQLite has taken."""
    broken = filled.folder.path / "broken.sqlite3"
    shutil.copy(filled.folder.path / "server.sqlite3", broken)
    store = Store(f"sqlite:///{broken}")
    store.write_now(lambda c: c.exec_driver_sql("UPDATE phone_events SET at_ms = 'soon'"))
    store.close_now()
    target = postgresql.new_database()
    refused = filled.copy(f"sqlite:///{broken}", target)
    assert refused.exit_code == 1
    assert "soon" in refused.stderr
    assert {name: rows for name, rows in rows_of(target).items() if rows} == {}


@pytest.mark.parametrize("url", ["mysql://localhost/x", "server.sqlite3"])
def test_other_databases_are_refused(filled: Filled, url: str) -> None:
    refused = filled.copy(database_url(filled.folder.path), url)
    assert refused.exit_code == 1
    assert '"code": "database_unknown"' in refused.stderr


def test_nobody_writes_to_the_source_meanwhile(filled: Filled, tmp_path: Path) -> None:
    """Not a command either, which needs no server."""
    source = Store(database_url(filled.folder.path))
    target = Store(f"sqlite:///{tmp_path / 'target.sqlite3'}")
    migrate(target)
    tried = []

    def try_to_write(_rows: int) -> None:
        with closing(sqlite3.connect(filled.folder.path / "server.sqlite3", timeout=0)) as other:
            with pytest.raises(sqlite3.OperationalError, match="locked") as refused:
                other.execute("BEGIN IMMEDIATE")
            tried.append(refused)

    copy_database(source, target, try_to_write)
    assert tried
    source.close_now()
    target.close_now()
