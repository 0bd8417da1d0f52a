"""The phone's file: private, versioned, and all or nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from phone_agent.database import SCHEMA_VERSION, Database, put_fact
from twochannel.database import DatabaseError


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    with Database.open(tmp_path / "w.sqlite3") as database:
        assert (tmp_path / "w.sqlite3").stat().st_mode & 0o777 == 0o600
        assert database.rows("PRAGMA journal_mode") == [("wal",)]
        assert database.rows("PRAGMA synchronous") == [(2,)]  # FULL


def test_what_is_committed_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "w.sqlite3"
    with Database.open(path) as database, database.transaction() as db:
        put_fact(db, "name", "value")
    with Database.open(path) as database:
        assert database.fact("name") == "value"
        assert database.fact("other") is None


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    with Database.open(tmp_path / "w.sqlite3") as database:
        with pytest.raises(sqlite3.IntegrityError):
            _change_twice(database)
        assert database.fact("name") is None


def _change_twice(database: Database) -> None:
    with database.transaction() as db:
        put_fact(db, "name", "value")
        db.execute("INSERT INTO facts VALUES ('name', 'twice')")


def test_a_change_is_seen_by_others_who_have_the_file_open(tmp_path: Path) -> None:
    path = tmp_path / "w.sqlite3"
    with Database.open(path) as agent, Database.open(path) as command:
        with command.transaction() as db:
            put_fact(db, "name", "value")
        assert agent.fact("name") == "value"


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.sqlite3"
    Database.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(DatabaseError, match="newer version"):
        Database.open(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.sqlite3"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(DatabaseError, match="cannot be used"):
        Database.open(path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="check the state folder"):
        Database.open(tmp_path / "none" / "w.sqlite3")
