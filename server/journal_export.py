"""Gathering a part of the journal from the database (``server.journal_file``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select

from server.evidence import gather
from server.issuer import Issuer
from server.journal import sign_checkpoint, tail_of
from server.journal_file import FiledEntry, FiledPayment, JournalPart, Run
from server.schema.journal import journal
from server.schema.payments import statements
from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.journal import origin

AnyRow = Row[*tuple[Any, ...]]

#: Entries of one file: bounds its size and the memory of who verifies it.
MAX_ENTRIES: Final = 200_000

_ENTRIES = select(
    journal.c.seq, journal.c.at_ms, journal.c.link, statements.c.payment_id, statements.c.digest
).join_from(journal, statements, statements.c.seq == journal.c.statement_seq)
_OF_PERIOD = (
    _ENTRIES.where(journal.c.at_ms >= bindparam("from_ms"), journal.c.at_ms < bindparam("until_ms"))
    .order_by(journal.c.seq)
    .limit(MAX_ENTRIES + 1)
)
_OF_PAYMENT = _ENTRIES.where(statements.c.payment_id == bindparam("payment")).order_by(
    journal.c.seq
)
_LINK = select(journal.c.link).where(journal.c.seq == bindparam("seq"))


class JournalError(Exception):
    """There is no such part of the journal. The text says what to do next."""


def part_of_period(
    connection: Connection, issuer: Issuer, identity: str, period_ms: tuple[int, int], now_ms: int
) -> JournalPart:
    """All that was entered in ``period_ms``, from the first up to before the second.

    Raises JournalError.
    """
    period = {"from_ms": period_ms[0], "until_ms": period_ms[1]}
    rows = connection.execute(_OF_PERIOD, period).all()
    if not rows:
        raise JournalError("the journal has no entries in that period")
    if len(rows) > MAX_ENTRIES:
        raise JournalError(f"the period has over {MAX_ENTRIES} entries; export it in pieces")
    return _part(connection, issuer, identity, [rows], now_ms)


def part_of_payment(
    connection: Connection, issuer: Issuer, identity: str, payment_id: str, now_ms: int
) -> JournalPart:
    """The entries of one payment. Raises PaymentError (``payment_unknown``)."""
    rows = connection.execute(_OF_PAYMENT, {"payment": payment_id}).all()
    if not rows:
        raise PaymentError(ErrorCode.PAYMENT_UNKNOWN)
    return _part(connection, issuer, identity, _runs(rows), now_ms)


def checkpoint_now(connection: Connection, issuer: Issuer, now_ms: int) -> str:
    """The server's signature over the journal's present end. Raises JournalError."""
    tail = tail_of(connection, issuer.server_id)
    if not tail.seq:
        raise JournalError("the journal is empty: there are no payments yet")
    return sign_checkpoint(issuer, tail.seq, tail.link, now_ms)


def _runs(rows: Sequence[AnyRow]) -> list[list[AnyRow]]:
    """Rows that follow each other, together."""
    runs: list[list[AnyRow]] = []
    for row in rows:
        if not runs or runs[-1][-1].seq + 1 != row.seq:
            runs.append([])
        runs[-1].append(row)
    return runs


def _part(
    connection: Connection,
    issuer: Issuer,
    identity: str,
    runs: Sequence[Sequence[AnyRow]],
    now_ms: int,
) -> JournalPart:
    payments = dict.fromkeys(row.payment_id for rows in runs for row in rows)
    return JournalPart(
        server=identity,
        runs=[_run(connection, issuer, rows, now_ms) for rows in runs],
        payments=[_payment(connection, payment, identity) for payment in payments],
    )


def _run(connection: Connection, issuer: Issuer, rows: Sequence[AnyRow], now_ms: int) -> Run:
    first, last = rows[0], rows[-1]
    before = connection.scalar(_LINK, {"seq": first.seq - 1})
    return Run(
        first=first.seq,
        before=origin(issuer.server_id) if before is None else before,
        entries=[
            FiledEntry(payment=row.payment_id, statement=row.digest, at_ms=row.at_ms)
            for row in rows
        ],
        checkpoint=sign_checkpoint(issuer, last.seq, last.link, now_ms),
    )


def _payment(connection: Connection, payment_id: str, identity: str) -> FiledPayment:
    evidence = gather(connection, payment_id, identity)
    return FiledPayment(
        payment=payment_id,
        pairing=evidence.pairing,
        keys=evidence.keys,
        statements=evidence.statements,
    )
