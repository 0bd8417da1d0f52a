"""Backup and restore: a whole server comes back, and charges nobody twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.backup import distrust_orders
from server.cli import main
from server.state import StateFolder
from server.store import Store
from tests.postgresql import INITDB, Postgresql
from tests.server.bench import JWT, copied
from tests.server.desk import Desk, open_desk
from tests.server.devices import Devices
from tests.server.process import (
    DEADLINE_S,
    challenge_of,
    client,
    command,
    started,
    wait_for_end,
)
from twochannel.trace import wall_ms


@pytest.fixture
def own(prepared: tuple[StateFolder, Devices], tmp_path: Path) -> tuple[StateFolder, Devices]:
    return copied(prepared, tmp_path / "server")


def run(state: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *(str(a) for a in arguments)])


def said(state: Path, *arguments: object) -> Any:
    result = run(state, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def confirm(folder: StateFolder, devices: Devices, url: str, request: str, **claims: Any) -> str:
    with client(folder, url) as http:
        payment = str(http.post("/v1/payments", content=request, headers=JWT).json()["id"])
        confirmation = devices.confirmation(payment, challenge_of(folder, payment), **claims)
        path = f"/v1/payments/{payment}/confirmation"
        assert http.post(path, content=confirmation, headers=JWT).status_code == 200
    return payment


def test_a_server_comes_back_and_charges_nobody_twice(
    own: tuple[StateFolder, Devices], tmp_path: Path
) -> None:
    """Backed up with a charge under way; then it is made; then the machine is lost."""
    folder, devices = own
    books, backup, new = folder.path / "processor.sqlite3", tmp_path / "backup", tmp_path / "new"
    with started(folder.path) as process:
        url = process.ready["url"]
        with client(folder, url) as http:
            hang = devices.method("tok_hang")
            method = http.post("/v1/payment-methods", content=hang, headers=JWT).json()["id"]
        payment = confirm(folder, devices, url, devices.request(), payment_method=method)
        assert said(folder.path, "payments", "show", payment)["payment"]["status"] == "confirmed"
        made = said(folder.path, "backup", backup)
        assert made["database"]
        process.end(signal.SIGKILL)
    with started(folder.path) as process, client(folder, process.ready["url"]) as http:
        assert wait_for_end(http, devices, payment)["status"] == "captured"
        process.end()
    restored = said(new, "restore", backup)
    assert (restored["server"], restored["orders"]) == (made["server"], 1)
    shutil.copy(books, new / books.name)
    assert said(new, "payments", "show", payment)["payment"]["status"] == "unknown"
    with started(new) as process, client(StateFolder(new), process.ready["url"]) as http:
        assert wait_for_end(http, devices, payment)["status"] == "captured"
        process.end()
    audit = command(new, "audit")
    assert audit.returncode == 0, audit.stdout


def test_the_backup_is_whole_private_and_checked(
    own: tuple[StateFolder, Devices], tmp_path: Path
) -> None:
    folder, _ = own
    backup = tmp_path / "backup"
    assert "Backed up" in run(folder.path, "backup", backup).stdout
    files = [path for path in backup.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {
        "manifest.json", "config.toml", "identity.jwt", "certificate.der", "server.sqlite3",
        "signing.pem", "beacon.pem", "tls.pem",
    }  # fmt: skip
    assert not [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    again = run(folder.path, "backup", backup)
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)
    occupied = run(folder.path, "restore", backup)
    assert (occupied.exit_code, "a server in" in occupied.stderr) == (1, True)
    shown = run(tmp_path / "new", "restore", backup)
    assert "is as it was on" in shown.stdout
    for path in files:
        damaged = Path(shutil.copytree(backup, tmp_path / f"damaged-{path.name}"))
        other = damaged / path.relative_to(backup)
        other.write_bytes(other.read_bytes()[:-1])
        refused = run(tmp_path / f"new-{path.name}", "restore", damaged)
        assert refused.exit_code == 1
        assert not (tmp_path / f"new-{path.name}").exists()


def test_what_is_no_backup_is_told(tmp_path: Path) -> None:
    refused = run(tmp_path / "new", "restore", tmp_path)
    assert (refused.exit_code, "no whole backup" in refused.stderr) == (1, True)


def _rewrite(backup: Path, **members: object) -> None:
    file = backup / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | members), encoding="ascii")


def _leave_out(backup: Path, name: str, **members: object) -> None:
    """As if it had never been backed up."""
    (backup / name).unlink()
    files = json.loads((backup / "manifest.json").read_text())["files"]
    del files[name]
    _rewrite(backup, files=files, **members)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda backup: _rewrite(backup, files=None), "files: "),
        (lambda backup: _rewrite(backup, files=["config.toml"]), "files: "),
        (lambda backup: _rewrite(backup, files={"config.toml": 5}), "files.config.toml: "),
        (lambda backup: _rewrite(backup, made_ms="x"), "made_ms: "),
        (lambda backup: _rewrite(backup, made_ms=2**60), "made_ms: "),
        (lambda backup: _rewrite(backup, made_ms=-1), "made_ms: "),
        (lambda backup: _rewrite(backup, server=5), "server: "),
        (lambda backup: _rewrite(backup, server="A" * 43), "names another server"),
        (lambda backup: _rewrite(backup, database="yes"), "database: "),
        (lambda backup: _rewrite(backup, database=False), "server.sqlite3 is not as"),
        (lambda backup: _rewrite(backup, more=1), "more: "),
        (lambda backup: (backup / "manifest.json").write_text("[]"), "a JSON object"),
        (lambda backup: (backup / "manifest.json").write_bytes(b"\xff"), "not UTF-8"),
        (lambda backup: _leave_out(backup, "server.sqlite3"), "server.sqlite3 is not as"),
        (lambda backup: _leave_out(backup, "identity.jwt"), "identity.jwt is missing"),
        (lambda backup: _leave_out(backup, "config.toml"), "config.toml is missing"),
    ],
)
def test_a_bad_manifest_is_refused_before_anything_is_written(
    own: tuple[StateFolder, Devices], tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    backup, new = tmp_path / "backup", tmp_path / "new"
    said(own[0].path, "backup", backup)
    damage(backup)
    refused = run(new, "restore", backup, "--json")
    assert refused.exit_code == 1
    assert told in json.loads(refused.stderr)["error"]["detail"]
    assert not new.exists()


async def test_a_restored_order_is_looked_up_before_it_is_called(tmp_path: Path) -> None:
    """Even where the processor promises nothing: found, so nothing is charged again."""
    async with open_desk(tmp_path) as desk:
        payment = desk.confirmed()
        url = str(desk.world.store.engine.url)
        copy = tmp_path / "older.sqlite3"
        desk.world.store.write_now(lambda c: c.exec_driver_sql("SELECT 1"))
        _copy_of(url, copy)
        async with desk.running():
            await desk.until(payment, status="captured")
        older = Store(f"sqlite:///{copy}")
        older.write_now(_note_revision)
        assert distrust_orders(older, desk.world.issuer, wall_ms()) == 1
        assert distrust_orders(older, desk.world.issuer, wall_ms()) == 1
        calls = list(desk.processor.calls)
        _work_on(desk, older)
        async with desk.running():
            await desk.until(payment, status="captured")
        assert desk.processor.calls == calls
        assert desk.history(payment) == ["confirmed", "unknown", "captured"]
        await older.close()


async def test_an_order_that_nobody_knows_is_made_after_the_look(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        payment = desk.confirmed()
        desk.world.store.write_now(_note_revision)
        assert distrust_orders(desk.world.store, desk.world.issuer, wall_ms()) == 1
        async with desk.running():
            await desk.until(payment, status="captured")
        assert len(desk.processor.lookups) == 1
        assert len(desk.processor.calls) == 1


def _copy_of(url: str, target: Path) -> None:
    from server.backup import _copy_database

    _copy_database(Path(url.removeprefix("sqlite:///")), target)


def _note_revision(connection: Any) -> None:
    """A test's tables come from the metadata; a server's say of which version they are."""
    from server.database import REVISIONS

    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{REVISIONS[-1]}')")


def _work_on(desk: Desk, store: Store) -> None:
    from dataclasses import replace

    desk.world.store = store
    desk.clearing = replace(desk.clearing, store=store)


@pytest.fixture
def on_postgresql(
    own: tuple[StateFolder, Devices], postgresql: Postgresql
) -> tuple[StateFolder, Devices, str]:
    """A server that has moved there, and the URL of its database."""
    folder, devices = own
    url = postgresql.new_database()
    source = f"sqlite:///{folder.path / 'server.sqlite3'}"
    assert run(folder.path, "db", "copy", source, url).exit_code == 0
    with (folder.path / "config.toml").open("a", encoding="utf-8") as file:
        file.write(f'database = "{url}"\nprocessor_hang_s = 5\nprocessor_timeout_s = 120\n')
    return folder, devices, url


def postgresql_tool(name: str, url: str, server: Postgresql, *arguments: object) -> None:
    """What an operator runs, for the database ``url``."""
    place = ("-h", "127.0.0.1", "-p", server.port, "-U", "cigarjack")
    subprocess.run(
        [str(word) for word in (INITDB.with_name(name), *place, "-d", url.rpartition("/")[2])]
        + [str(word) for word in arguments],
        env=os.environ | {"PGPASSWORD": server.password},
        timeout=DEADLINE_S,
        check=True,
    )


def charges(books: Path, payment: str) -> int:
    with closing(sqlite3.connect(books)) as db:
        query = "SELECT count(*) FROM charges WHERE payment = ?"
        (count,) = db.execute(query, (payment,)).fetchone()
    return int(count)


def asked_about(folder: Path, payment: str) -> list[tuple[str, str | None]]:
    """What its server had to do with the processor, by its trace."""
    events = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    kinds = {"processor_called", "reconciled"}
    ours = [e for e in events if e["event"] in kinds and e.get("payment") == payment]
    return [(event["event"], event.get("result")) for event in ours]


@pytest.mark.postgresql
def test_a_dump_of_postgresql_comes_back_and_charges_nobody_twice(
    on_postgresql: tuple[StateFolder, Devices, str], postgresql: Postgresql, tmp_path: Path
) -> None:
    """Dumped with a charge under way, which is then made; then machine and database are lost."""
    folder, devices, url = on_postgresql
    books, new, dump = folder.path / "processor.sqlite3", tmp_path / "new", tmp_path / "dump"
    with started(folder.path) as process, client(folder, process.ready["url"]) as http:
        hang = devices.method("tok_hang")
        method = http.post("/v1/payment-methods", content=hang, headers=JWT).json()["id"]
        request = devices.request()
        payment = confirm(folder, devices, process.ready["url"], request, payment_method=method)
        deadline_s = time.monotonic() + DEADLINE_S
        while not charges(books, payment):
            assert time.monotonic() < deadline_s
        # However long the dump takes, the processor's answer comes after it.
        process.popen.send_signal(signal.SIGSTOP)
        said(folder.path, "backup", tmp_path / "backup")
        postgresql_tool("pg_dump", url, postgresql, "--format=custom", "--file", dump)
        process.popen.send_signal(signal.SIGCONT)
        assert wait_for_end(http, devices, payment)["status"] == "captured"
        process.end()
    said(new, "restore", tmp_path / "backup")
    fresh = postgresql.new_database()
    postgresql_tool("pg_restore", fresh, postgresql, "--exit-on-error", dump)
    settings = new / "config.toml"
    settings.write_text(settings.read_text().replace(url, fresh))
    shutil.copy(books, new / books.name)

    assert said(new, "db", "restored") == {"orders": 1}
    assert said(new, "payments", "show", payment)["payment"]["status"] == "unknown"
    with started(new) as process, client(StateFolder(new), process.ready["url"]) as http:
        assert wait_for_end(http, devices, payment)["status"] == "captured"
        process.end()
    assert asked_about(new, payment) == [("reconciled", "found")]
    assert charges(new / books.name, payment) == 1
    audit = command(new, "audit")
    assert audit.returncode == 0, audit.stdout


@pytest.mark.postgresql
def test_a_database_on_postgresql_is_said_to_be_restored(
    on_postgresql: tuple[StateFolder, Devices, str], tmp_path: Path
) -> None:
    folder, _, _ = on_postgresql
    backup = tmp_path / "backup"
    shown = run(folder.path, "backup", backup)
    assert "pg_dump" in shown.stdout
    assert not (backup / "server.sqlite3").exists()
    assert "db restored" in run(tmp_path / "new", "restore", backup).stdout
    assert said(tmp_path / "new", "db", "restored") == {"orders": 0}
    assert "open orders" in run(tmp_path / "new", "db", "restored").stdout
