"""What the auditor reads: the server's database and the processor's books, as plain rows.

Read-only connections and SQL of its own: nothing here is shared with the code that writes. The
database is read before the books, so whatever it calls done must stand in them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

Row = dict[str, Any]
Rows = dict[str, list[Row]]
Groups = dict[Any, list[Row]]


class AuditError(Exception):
    """Database or books cannot be read. The text says what to do next."""


@dataclass(frozen=True, slots=True)
class Records:
    """One snapshot of the database, then one of the books.

    ``history``, ``outbox``, ``statements`` (in the order of the chain) and ``charges`` are grouped
    by payment, ``refunds`` and the processor's ``booked_refunds`` too, ``pairings``,
    ``memberships`` and ``couplings`` by jack, ``reviews`` by order. ``auth_codes`` are those of all
    payments in the order in which they were accepted, ``instructions`` what owners have signed
    about methods and jacks; ``journal`` and its ``checkpoints`` are in their order. ``devices`` are
    terminals, phones and jacks by id. ``identity``: the server's identity statement.
    """

    payments: list[Row]
    history: Groups
    outbox: Groups
    reviews: Groups
    statements: Groups
    auth_codes: list[Row]
    devices: dict[str, Row]
    pairings: Groups
    memberships: Groups
    methods: dict[str, Row]
    instructions: list[Row]
    couplings: Groups
    charges: Groups
    refunds: Groups
    booked_refunds: Groups
    journal: list[Row]
    checkpoints: list[Row]
    identity: str
    now_ms: int


@dataclass(slots=True)
class Check:
    """One invariant: on how many ``objects`` it was checked, what breaks it, what to know."""

    number: int
    title: str
    objects: int = 0
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def demand(self, holds: bool, finding: str) -> None:
        """Note ``finding`` unless ``holds``."""
        if not holds:
            self.findings.append(finding)


_DATABASE: Final = {
    "payments": "SELECT * FROM payments ORDER BY rowid",
    "history": "SELECT * FROM payment_events ORDER BY payment_id, seq",
    "outbox": "SELECT * FROM outbox ORDER BY id",
    "refunds": "SELECT * FROM refunds ORDER BY rowid",
    "reviews": "SELECT * FROM reviews ORDER BY id",
    "statements": "SELECT * FROM statements ORDER BY payment_id, position",
    "auth_codes": "SELECT * FROM statements WHERE typ = 'auth-code+jwt' ORDER BY seq",
    "terminals": "SELECT id, key, merchant_id, revoked_ms, NULL AS last_counter FROM terminals",
    "phones": "SELECT id, key, NULL AS merchant_id, revoked_ms, NULL AS last_counter FROM phones",
    "jacks": "SELECT id, key, NULL AS merchant_id, revoked_ms, last_counter FROM jacks",
    "pairings": "SELECT * FROM pairings ORDER BY seq",
    "memberships": "SELECT * FROM memberships ORDER BY joined_ms, id",
    "methods": "SELECT * FROM payment_methods",
    "couplings": "SELECT * FROM couplings ORDER BY coupled_ms, id",
    "instructions": "SELECT * FROM instructions ORDER BY at_ms, id",
    "journal": "SELECT * FROM journal ORDER BY seq",
    "checkpoints": "SELECT * FROM journal_checkpoints ORDER BY seq",
}
#: PostgreSQL numbers no rows by itself.
_POSTGRESQL: Final = _DATABASE | {
    "payments": "SELECT * FROM payments ORDER BY created_ms, id",
    "refunds": "SELECT * FROM refunds ORDER BY created_ms, id",
}
_BOOKS: Final = {
    "charges": "SELECT * FROM charges ORDER BY rowid",
    "booked_refunds": "SELECT *, payment AS payment_id FROM refunds ORDER BY rowid",
}


def read_records(
    url: str,
    books: Path,
    identity: str,
    now_ms: int,
    elsewhere: Callable[[], Rows] | None = None,
) -> Records:
    """Read both. ``url``: of the database. Books that are not there yet are empty.

    ``elsewhere``: reads what another processor than the simulated one has booked, ``charges`` and
    ``booked_refunds``.

    Raises AuditError.
    """
    kind, _, path = url.partition(":///")
    rows = _read(Path(path), _DATABASE) if kind == "sqlite" else _read_postgresql(url)
    booked = _read(books, _BOOKS) if books.exists() else {name: [] for name in _BOOKS}
    for name, more in (elsewhere() if elsewhere else {}).items():
        booked[name] += more
    devices = (*rows["terminals"], *rows["phones"], *rows["jacks"])
    return Records(
        payments=rows["payments"],
        history=_grouped(rows["history"], "payment_id"),
        outbox=_grouped(rows["outbox"], "payment_id"),
        reviews=_grouped(rows["reviews"], "outbox_id"),
        statements=_grouped(rows["statements"], "payment_id"),
        auth_codes=rows["auth_codes"],
        devices={row["id"]: row for row in devices},
        pairings=_grouped(rows["pairings"], "jack_id"),
        memberships=_grouped(rows["memberships"], "jack_id"),
        methods={row["id"]: row for row in rows["methods"]},
        instructions=rows["instructions"],
        couplings=_grouped(rows["couplings"], "jack_id"),
        charges=_grouped(booked["charges"], "payment"),
        refunds=_grouped(rows["refunds"], "payment_id"),
        booked_refunds=_grouped(booked["booked_refunds"], "payment_id"),
        journal=rows["journal"],
        checkpoints=rows["checkpoints"],
        identity=identity,
        now_ms=now_ms,
    )


def membership_of(records: Records, payment: Row) -> Row | None:
    """That of the payment's phone when it was asked; None if it is the owner's."""
    rows = [
        row
        for row in records.memberships.get(payment["jack_id"], [])
        if (row["epoch"], row["phone_id"]) == (payment["epoch"], payment["phone_id"])
        and row["joined_ms"] <= payment["created_ms"]
    ]
    return rows[-1] if rows else None


def _read(path: Path, queries: dict[str, str]) -> dict[str, list[Row]]:
    """The answers to all ``queries`` on one snapshot of the file."""
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            return {
                name: [dict(row) for row in connection.execute(sql)]
                for name, sql in queries.items()
            }
    except sqlite3.Error as error:
        raise AuditError(f"cannot read {path}: {error}") from None


def _read_postgresql(url: str) -> dict[str, list[Row]]:
    """The same of a database on PostgreSQL, on one snapshot."""
    import psycopg
    from psycopg.rows import dict_row

    from server.postgresql_database import conninfo

    try:
        with psycopg.connect(conninfo(url), row_factory=dict_row) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            return {name: connection.execute(sql).fetchall() for name, sql in _POSTGRESQL.items()}
    except psycopg.Error as error:
        raise AuditError(f"cannot read the database on PostgreSQL: {error}") from None


def _grouped(rows: Iterable[Row], column: str) -> Groups:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return dict(groups)
