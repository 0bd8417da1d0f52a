"""Intents on a real disk, with the process killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from payment_device.intents import (
    AT_THE_LANE,
    SCHEMA_VERSION,
    Intents,
    Kind,
    Operation,
    OperationPhase,
    Phase,
)
from twochannel.database import DatabaseError

NONCE = b"twelve bytes"
#: Stores payment after payment and says of each when it is on disk.
WRITER = """
import sys
from pathlib import Path
from payment_device.intents import Intents
intents = Intents(Path(sys.argv[1]))
for number in range(100_000):
    intents.store(f"{number:06}", "r", "x.y.z", b"twelve bytes")
    print(f"{number:06}", flush=True)
"""


@pytest.fixture
def intents(tmp_path: Path) -> Iterator[Intents]:
    with closing(Intents(tmp_path / "intents.sqlite3")) as opened:
        yield opened


def cancel_of(payment: str, statement: str) -> Operation:
    return Operation(statement, payment, Kind.CANCEL, "x.y.z", OperationPhase.STORED, None)


def test_what_was_said_to_be_stored_survives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "intents.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().strip() for _ in range(30)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read().split()
    assert writer.returncode == -signal.SIGKILL
    with closing(Intents(file)) as opened:
        stored = [intent.payment for intent in opened.in_phases(AT_THE_LANE)]
    assert stored[: len(said)] == said
    # What was stored but not said is at most the one between the two.
    assert len(stored) - len(said) in (0, 1)


def test_the_file_is_private_and_durable(tmp_path: Path, intents: Intents) -> None:
    assert (tmp_path / "intents.sqlite3").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "intents.sqlite3")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.sqlite3")) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(DatabaseError, match="a newer version wrote it"):
        Intents(tmp_path / "new.sqlite3")


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, for it has more than a hundred bytes" * 9)
    with pytest.raises(DatabaseError, match="cannot be used"):
        Intents(tmp_path / "text")
    with pytest.raises(DatabaseError, match="check the state folder"):
        Intents(tmp_path / "nowhere" / "file")


def test_a_change_that_fails_leaves_nothing(intents: Intents) -> None:
    intents.store("1", "r", "x.y.z", NONCE)
    with pytest.raises(sqlite3.IntegrityError):
        intents.store("1", "again", "x.y.z", NONCE)
    intents.store("2", "r", "x.y.z", NONCE)
    assert [intent.payment for intent in intents.newest(9)] == ["2", "1"]


def test_a_payment_goes_through_its_phases(intents: Intents) -> None:
    intents.store("1", "r", "x.y.z", NONCE)
    intents.sign_again("1", "a.b.c")
    intents.learn("1", Phase.PENDING, {"status": "pending"}, {})
    pending = intents.get("1")
    assert (pending.request, pending.phase, pending.lane_nonce) == ("a.b.c", Phase.PENDING, NONCE)
    intents.learn("1", Phase.SETTLED, {"status": "captured"}, {"total": 1.5})
    assert intents.in_phases(AT_THE_LANE) == []
    settled = intents.get("1")
    assert (settled.answer, settled.legs) == ({"status": "captured"}, {"total": 1.5})


def test_a_payment_that_came_to_nothing_keeps_its_code(intents: Intents) -> None:
    intents.store("1", "r", "x.y.z", NONCE)
    intents.close_without("1", Phase.REFUSED, "code_unknown")
    refused = intents.find_reference("r")
    assert refused is not None
    assert (refused.phase, refused.code, refused.answer) == (Phase.REFUSED, "code_unknown", None)
    assert intents.find_reference("another") is None


def test_operations_are_open_until_they_are_closed(intents: Intents) -> None:
    for payment in ("1", "2"):
        intents.store(payment, payment, "x.y.z", NONCE)
        intents.store_operation(cancel_of(payment, f"s{payment}"))
    assert [o.statement for o in intents.open_operations()] == ["s1", "s2"]
    assert [o.statement for o in intents.open_operations("2")] == ["s2"]
    intents.sign_operation_again("s1", "a.b.c")
    intents.close_operation("s1", OperationPhase.REFUSED, "payment_state")
    assert intents.get_operation("s1") == Operation(
        "s1", "1", Kind.CANCEL, "a.b.c", OperationPhase.REFUSED, "payment_state"
    )
    assert [o.statement for o in intents.open_operations()] == ["s2"]


def test_what_is_not_there_is_a_mistake_to_get(intents: Intents) -> None:
    assert intents.find("none") is None
    with pytest.raises(KeyError):
        intents.get("none")
    with pytest.raises(KeyError):
        intents.get_operation("none")


def test_a_full_disk_is_an_error_and_not_a_payment(intents: Intents) -> None:
    intents.store("1", "r", "x.y.z", NONCE)
    intents._database.rows("PRAGMA max_page_count = 1")  # as large as it is already
    with pytest.raises(sqlite3.OperationalError, match="full"):
        intents.store("2", "r" * 100_000, "x.y.z", NONCE)
    assert intents.find("2") is None
    intents.store("3", "r", "x.y.z", NONCE)


def test_a_file_of_the_version_before_is_taken_on(tmp_path: Path) -> None:
    file = tmp_path / "intents.sqlite3"
    with closing(Intents(file)) as opened:
        opened.store("p-1", "r-1", "request", b"nonce")
    with closing(sqlite3.connect(file)) as old:
        old.execute("DROP TABLE changes")
        old.execute("PRAGMA user_version = 1")
    changes: list[str] = []
    with closing(Intents(file, lambda: changes.append("changed"))) as opened:
        assert opened.revision == 0
        ((number, kept),) = opened.changed_since(None)
        assert (number, kept.payment) == (0, "p-1")
        opened.close_without("p-1", Phase.LAPSED, "statement_expired")
        ((number, ended),) = opened.changed_since(0)
        assert (number, ended.phase, changes) == (opened.revision, Phase.LAPSED, ["changed"])
        assert opened.changed_since(None) == []
