"""The jack's memory: private, whole or not at all, and never of a version that it does not know."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from cigarjack.clock_rules import ClockState
from cigarjack.memory import SCHEMA_VERSION, Memory, StorageError
from tests.cigarjack.parties import Phone, Server, owner_of

SECRET = "s" * 22


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.sqlite3"


def test_a_new_memory_knows_its_claim_secret_and_nothing_else(path: Path) -> None:
    assert not Memory.initialised(path)
    with Memory.create(path, SECRET) as memory:
        state = memory.pairing_state()
        assert (state.owner, state.claim_secret, state.wrong_tries) == (None, SECRET, 0)
        assert memory.clock() is None
        assert memory.counter() == 0
        assert memory.answered("none", "nobody") is None
    assert Memory.initialised(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_making_it_again_keeps_what_is_there(path: Path) -> None:
    Memory.create(path, SECRET).close()
    with Memory.create(path, "another secret") as memory:
        assert memory.pairing_state().claim_secret == SECRET


def test_everything_reads_back(path: Path, phone: Phone, server: Server) -> None:
    owner = owner_of(phone, server, epoch=3)
    clock = ClockState("boot", 5, -7)
    with Memory.create(path, SECRET) as memory, memory.transaction():
        memory.store_pairing_state(replace(memory.pairing_state(), owner=owner, wrong_tries=2))
        memory.store_clock(clock)
    with Memory(path) as memory:
        state = memory.pairing_state()
        assert (state.owner, state.wrong_tries) == (owner, 2)
        assert memory.clock() == clock


def _fail_after_a_write(memory: Memory) -> None:
    with memory.transaction():
        memory.store_clock(ClockState("boot", 5))
        raise ZeroDivisionError


def test_what_fails_half_way_leaves_nothing(path: Path) -> None:
    with Memory.create(path, SECRET) as memory:
        with pytest.raises(ZeroDivisionError):
            _fail_after_a_write(memory)
        assert memory.clock() is None
        with memory.transaction():
            memory.store_clock(ClockState("boot", 6))
        assert memory.clock() == ClockState("boot", 6)


def test_a_full_disk_is_an_error_and_afterwards_all_is_as_before(path: Path) -> None:
    with Memory.create(path, SECRET) as memory:
        db = memory._db
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
        state = memory.pairing_state()
        with pytest.raises(StorageError, match="full"), memory.transaction():
            memory.store_pairing_state(replace(state, claim_secret="s" * 100_000))
        assert memory.pairing_state() == state
        db.execute("PRAGMA max_page_count = 100000")
        with memory.transaction():
            memory.store_clock(ClockState("boot", 6))


def test_a_locked_memory_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cigarjack.memory._BUSY_TIMEOUT_S", 0.01)
    with Memory.create(path, SECRET) as first, Memory(path) as second:
        with first.transaction():
            with pytest.raises(StorageError, match="locked"), second.transaction():
                pass
            first.store_clock(ClockState("boot", 6))
        assert second.clock() == ClockState("boot", 6)


def test_durability_is_asked_for(path: Path) -> None:
    with Memory.create(path, SECRET) as memory:
        full, wal = (
            memory._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "journal_mode")
        )
    assert (full, wal) == (2, "wal")


def test_a_memory_of_a_newer_version_is_refused(path: Path) -> None:
    Memory.create(path, SECRET).close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    with pytest.raises(StorageError, match="newer version"):
        Memory(path)


def test_no_memory_says_what_to_do(path: Path) -> None:
    with pytest.raises(StorageError, match="cigarjack init"):
        Memory(path)
    path.touch()
    with pytest.raises(StorageError, match="cigarjack init"):
        Memory(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StorageError, match="not a database"):
        Memory(path)
