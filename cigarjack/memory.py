"""What the jack must not forget: one SQLite file, every commit durable before it is acted upon.

WAL with synchronous=FULL, for the power of a car is cut without warning. ``transaction`` is the
one place that begins and commits; the methods below it are plain reads and writes inside it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from cigarjack.chip_rules import Answered
from cigarjack.clock_rules import ClockState
from cigarjack.pairing_rules import Member, Owner, PairingState

SCHEMA_VERSION: Final = 2
#: A command line may write for a moment while the agent runs.
_BUSY_TIMEOUT_S: Final = 5.0

_SCHEMA: Final = """
CREATE TABLE chip (
  one INTEGER PRIMARY KEY CHECK (one = 1), counter INTEGER NOT NULL CHECK (counter >= 0)) STRICT;
CREATE TABLE claim (
  one INTEGER PRIMARY KEY CHECK (one = 1), secret TEXT, wrong_tries INTEGER NOT NULL) STRICT;
CREATE TABLE owner (
  one INTEGER PRIMARY KEY CHECK (one = 1), phone TEXT NOT NULL, phone_certificate BLOB NOT NULL,
  server_identity TEXT NOT NULL, link_key BLOB NOT NULL, epoch INTEGER NOT NULL) STRICT;
CREATE TABLE clock (
  one INTEGER PRIMARY KEY CHECK (one = 1), boot_id TEXT NOT NULL, floor_ms INTEGER NOT NULL,
  offset_ms INTEGER) STRICT;
"""
#: Of version 2, in which a jack has several phones.
_AUTH_CODES: Final = """
CREATE TABLE auth_codes (
  payment TEXT NOT NULL, phone TEXT NOT NULL, challenge_digest TEXT NOT NULL,
  auth_code TEXT NOT NULL, epoch INTEGER NOT NULL, counter INTEGER NOT NULL UNIQUE,
  iat INTEGER NOT NULL, exp INTEGER NOT NULL, PRIMARY KEY (payment, phone)) STRICT;
"""
_FAMILY: Final = """
CREATE TABLE members (
  place INTEGER PRIMARY KEY, phone TEXT NOT NULL UNIQUE, phone_certificate BLOB NOT NULL,
  link_key BLOB NOT NULL) STRICT;
CREATE TABLE invitations (secret_sha256 TEXT PRIMARY KEY) STRICT;
"""
#: What was answered for a pairing that has ended is answered for nobody any more.
_MOVED_TO_2: Final = """
INSERT INTO auth_codes SELECT payment, coalesce((SELECT phone FROM owner), ''), challenge_digest,
  auth_code, epoch, counter, iat, exp FROM auth_codes_1;
DROP TABLE auth_codes_1;
"""


class StorageError(Exception):
    """The state cannot be read or written. The text says what to do next."""


class Memory:
    """The jack's state. Raises StorageError from every method. Close it."""

    def __init__(self, path: Path) -> None:
        """Open the state that ``create`` made."""
        if not path.exists():
            raise StorageError("this jack is not initialised; run: cigarjack init")
        self._path = path
        with _storage_errors(path):
            self._db = _connect(path)
            _upgrade(self._db)
            self._check_version()

    @classmethod
    def create(cls, path: Path, claim_secret: str) -> Self:
        """Make the state of a new jack, all or nothing; what is there already is kept."""
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        with _storage_errors(path), closing(_connect(path)) as db:
            _lay_out(db, claim_secret)
        return cls(path)

    @classmethod
    def initialised(cls, path: Path) -> bool:
        """Whether ``create`` has finished there, in whatever version."""
        if not path.exists():
            return False
        with _storage_errors(path), closing(_connect(path)) as db:
            return bool(_version(db))

    def _check_version(self) -> None:
        version = _version(self._db)
        if version == SCHEMA_VERSION:
            return
        self._db.close()
        if version == 0:
            raise StorageError("this jack is not initialised; run: cigarjack init")
        raise StorageError(
            f"{self._path} was written by a newer version (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); install that version again"
        )

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that the block writes is on disk when it ends, or nothing if it raises."""
        with _storage_errors(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # After a failed commit SQLite may have rolled back by itself.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _row(self, query: str, *values: object) -> tuple[object, ...] | None:
        with _storage_errors(self._path):
            row: tuple[object, ...] | None = self._db.execute(query, values).fetchone()
            return row

    # --- the chip

    def counter(self) -> int:
        """The counter of the last auth code; 0 before the first."""
        row = self._row("SELECT counter FROM chip")
        return _integer(row[0]) if row else 0

    def answered(self, payment: str, phone: str) -> Answered | None:
        row = self._row(
            "SELECT payment, phone, challenge_digest, auth_code, epoch, counter, iat, exp "
            "FROM auth_codes WHERE payment = ? AND phone = ?",
            payment,
            phone,
        )
        return Answered(*row) if row else None  # type: ignore[arg-type]  # columns are STRICT

    def store_answer(self, answer: Answered, keep: int) -> None:
        """Raise the counter and keep the auth code.

        Beyond the ``keep`` latest, those go whose challenge had expired when a later one was
        issued. That needs no clock: both times are the server's. Forgetting them is safe, for the
        server never confirms an expired payment, so nothing new can come of answering it again.
        """
        self._db.execute("UPDATE chip SET counter = ? WHERE counter < ?", (answer.counter,) * 2)
        self._db.execute(
            "INSERT INTO auth_codes (payment, phone, challenge_digest, auth_code, epoch, counter, "
            "iat, exp) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                answer.payment,
                answer.phone,
                answer.challenge_digest,
                answer.auth_code,
                answer.epoch,
                answer.counter,
                answer.iat,
                answer.exp,
            ),
        )
        self._db.execute(
            "DELETE FROM auth_codes WHERE exp < (SELECT max(iat) FROM auth_codes) AND counter <= ?",
            (answer.counter - keep,),
        )

    # --- pairing

    def pairing_state(self) -> PairingState:
        claim = self._row("SELECT secret, wrong_tries FROM claim")
        owner = self._row(
            "SELECT phone, phone_certificate, server_identity, link_key, epoch FROM owner"
        )
        secret, wrong_tries = claim or (None, 0)
        return PairingState(
            owner=replace(Owner(*owner), members=self._members()) if owner else None,  # type: ignore[arg-type]  # STRICT
            claim_secret=str(secret) if secret is not None else None,
            wrong_tries=_integer(wrong_tries),
        )

    def _members(self) -> tuple[Member, ...]:
        query = "SELECT phone, phone_certificate, link_key FROM members ORDER BY place"
        with _storage_errors(self._path):
            return tuple(Member(*row) for row in self._db.execute(query))

    def invited_before(self, secret_sha256: str) -> bool:
        """Whether there was an invitation with this secret in the pairing in force."""
        query = "SELECT 1 FROM invitations WHERE secret_sha256 = ?"
        return self._row(query, secret_sha256) is not None

    def keep_invitation(self, secret_sha256: str) -> None:
        self._db.execute("INSERT INTO invitations VALUES (?)", (secret_sha256,))

    def store_pairing_state(self, state: PairingState) -> None:
        self._db.execute(
            "UPDATE claim SET secret = ?, wrong_tries = ?", (state.claim_secret, state.wrong_tries)
        )
        if owner := state.owner:
            self._db.execute("DELETE FROM members")
            self._db.executemany(
                "INSERT INTO members (phone, phone_certificate, link_key) VALUES (?, ?, ?)",
                [(m.phone, m.phone_certificate, m.link_key) for m in owner.members],
            )
            self._db.execute(
                "INSERT OR REPLACE INTO owner VALUES (1, ?, ?, ?, ?, ?)",
                (
                    owner.phone,
                    owner.phone_certificate,
                    owner.server_identity,
                    owner.link_key,
                    owner.epoch,
                ),
            )

    # --- the clock

    def clock(self) -> ClockState | None:
        row = self._row("SELECT boot_id, floor_ms, offset_ms FROM clock")
        return ClockState(*row) if row else None  # type: ignore[arg-type]  # columns are STRICT

    def store_clock(self, state: ClockState) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?)",
            (state.boot_id, state.floor_ms, state.offset_ms),
        )

    def forget_clock(self) -> None:
        self._db.execute("DELETE FROM clock")


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"cannot use {path}: {error}; check the disk's space and health") from (
            error
        )


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _lay_out(db: sqlite3.Connection, claim_secret: str) -> None:
    db.execute("BEGIN IMMEDIATE")
    if _version(db) == 0:
        _run(db, _SCHEMA + _AUTH_CODES + _FAMILY)
        db.execute("INSERT INTO chip VALUES (1, 0)")
        db.execute("INSERT INTO claim VALUES (1, ?, 0)", (claim_secret,))
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def _upgrade(db: sqlite3.Connection) -> None:
    """Bring a state of version 1 to this one, whole or not at all."""
    if _version(db) != 1:
        return
    db.execute("BEGIN IMMEDIATE")
    if _version(db) == 1:  # nobody else was faster
        db.execute("ALTER TABLE auth_codes RENAME TO auth_codes_1")
        for script in (_AUTH_CODES, _MOVED_TO_2, _FAMILY):
            _run(db, script)
        db.execute("PRAGMA user_version = 2")
    db.execute("COMMIT")


def _run(db: sqlite3.Connection, script: str) -> None:
    """Each statement of ``script``, in the open transaction."""
    for statement in filter(str.strip, script.split(";")):
        db.execute(statement)


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise StorageError("the state is damaged; restore it or initialise the jack again")
    return value
