"""The file of an agent: private, durable, all or nothing, for any thread."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from twochannel.database import Database, DatabaseError

SCHEMA = "CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT"
VERSION = 3


def opened(folder: Path) -> Database:
    return Database(folder / "counts.sqlite3", SCHEMA, VERSION)


def count(database: Database, name: str) -> None:
    with database.transaction() as db:
        db.execute(
            "INSERT INTO counts VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1", (name,)
        )


def test_it_is_private_and_durable(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        assert (tmp_path / "counts.sqlite3").stat().st_mode & 0o777 == 0o600
        assert database.rows("PRAGMA journal_mode") == [("wal",)]
        assert database.rows("PRAGMA synchronous") == [(2,)]  # FULL
        assert database.rows("PRAGMA user_version") == [(VERSION,)]


def test_what_is_there_stays_when_it_is_opened_again(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        count(database, "a")
    with opened(tmp_path) as database:
        assert database.rows("SELECT * FROM counts") == [("a", 1)]


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    def half(database: Database) -> None:
        with database.transaction() as db:
            db.execute("INSERT INTO counts VALUES ('a', 1)")
            raise RuntimeError

    with opened(tmp_path) as database:
        with pytest.raises(RuntimeError):
            half(database)
        assert database.rows("SELECT * FROM counts") == []


def test_threads_take_turns(tmp_path: Path) -> None:
    with opened(tmp_path) as database:

        def twenty_times() -> None:
            for _ in range(20):
                count(database, "a")

        threads = [threading.Thread(target=twenty_times) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert database.rows("SELECT value FROM counts") == [(80,)]


def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(DatabaseError, match="a newer version wrote it"):
        Database(tmp_path / "counts.sqlite3", SCHEMA, VERSION - 1)
    opened(tmp_path).close()


def test_a_lay_out_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be used"):
        Database(tmp_path / "counts.sqlite3", f"{SCHEMA}; CREATE TABLE", VERSION)
    with opened(tmp_path) as database:
        assert database.rows("SELECT * FROM counts") == []


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "counts.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(DatabaseError, match="cannot be used"):
        opened(tmp_path)
    with pytest.raises(DatabaseError, match="check the state folder"):
        opened(tmp_path / "none")


def test_a_full_disk_rolls_back_by_itself_and_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        (pages,) = database.rows("PRAGMA page_count")[0]
        database.rows(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            count(database, "x" * 100_000)
        assert database.rows("PRAGMA integrity_check") == [("ok",)]
        database.rows("PRAGMA max_page_count = 1000")
        count(database, "after")
