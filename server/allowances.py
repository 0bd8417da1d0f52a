"""How often things may be done: limits over a moving window, counted from the database's rows.

Every function is a part of a transaction. Each check raises LimitError with the time at which it
will let one through again. What is counted, and why it is so:
docs/decisions/0014-limits-from-the-database.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, Connection, bindparam, case, delete, func, insert, select

from server.kinds import FailureKind
from server.prepared import Prepared
from server.schema.notices import failures
from server.schema.payments import UNAPPROVED, payments
from twochannel.protocol.errors import ErrorCode, LimitError
from twochannel.protocol.limits import (
    DENIAL_WINDOW_S,
    FAILURE_WINDOW_S,
    MAX_DENIALS,
    MAX_FAILED_CONFIRMATIONS,
    MAX_FAILED_ENROLMENTS,
    MAX_FAILED_LOGINS,
    MAX_PROMPTS,
    MAX_UNKNOWN_CODES,
    PROMPT_WINDOW_S,
)


def _unapproved(subject: Column[Any]) -> Prepared:
    """Newest first: the last of ``count`` rows is the one whose end makes room for another."""
    return Prepared(
        select(payments.c.created_ms)
        .where(
            UNAPPROVED,
            subject == bindparam("subject"),
            payments.c.created_ms > bindparam("since_ms"),
        )
        .order_by(payments.c.created_ms.desc(), payments.c.id.desc())
        .limit(bindparam("count"))
    )


_PROMPTS: Final = _unapproved(payments.c.jack_id)
_DENIALS: Final = _unapproved(payments.c.terminal_id)
_OF_TERMINAL: Final = Prepared(
    select(func.count(), func.coalesce(func.sum(case((UNAPPROVED, 1), else_=0)), 0)).where(
        payments.c.terminal_id == bindparam("subject"),
        payments.c.created_ms > bindparam("since_ms"),
    )
)
_FAILURES: Final = Prepared(
    select(failures.c.at_ms)
    .where(
        failures.c.kind == bindparam("kind"),
        failures.c.subject == bindparam("subject"),
        failures.c.at_ms > bindparam("since_ms"),
    )
    .order_by(failures.c.at_ms.desc())
    .limit(bindparam("count"))
)
_ADD: Final = Prepared(insert(failures).inline())
_COUNTED: Final = (
    select(
        failures.c.kind,
        failures.c.subject,
        func.count().label("count"),
        func.max(failures.c.at_ms).label("last_ms"),
    )
    .where(failures.c.at_ms > bindparam("since_ms"))
    .group_by(failures.c.kind, failures.c.subject)
    .order_by(failures.c.kind, failures.c.subject)
)
_OLD: Final = Prepared(
    select(failures.c.seq).where(failures.c.at_ms <= bindparam("before_ms")).limit(1)
)
_PURGE: Final = delete(failures).where(failures.c.at_ms <= bindparam("before_ms"))
_REFUSED_WITH: Final = {
    FailureKind.CODE: ErrorCode.TOO_MANY_CODES,
    FailureKind.CONFIRMATION: ErrorCode.TOO_MANY_CONFIRMATIONS,
    FailureKind.ENROLMENT: ErrorCode.TOO_MANY_ENROLMENTS,
}


@dataclass(frozen=True, slots=True)
class Allowances:
    """How many are let through in their window; the windows are the protocol's.

    ``prompts`` of a jack and ``denials`` of a terminal: payments that nobody approved.
    ``failures``: refusals of each kind.
    """

    prompts: int = MAX_PROMPTS
    denials: int = MAX_DENIALS
    failures: dict[FailureKind, int] = field(
        default_factory=lambda: {
            FailureKind.CODE: MAX_UNKNOWN_CODES,
            FailureKind.CONFIRMATION: MAX_FAILED_CONFIRMATIONS,
            FailureKind.ENROLMENT: MAX_FAILED_ENROLMENTS,
            FailureKind.LOGIN: MAX_FAILED_LOGINS,
        }
    )

    def check_prompts(self, connection: Connection, jack_id: str, now_ms: int) -> None:
        """The owner may be asked once more. Raises LimitError (``jack_prompted``)."""
        full_ms = _full_until_ms(
            connection, _PROMPTS, self.prompts, PROMPT_WINDOW_S, now_ms, subject=jack_id
        )
        if full_ms is not None:
            raise LimitError(ErrorCode.JACK_PROMPTED, _seconds(full_ms - now_ms))

    def check_denials(self, connection: Connection, terminal_id: str, now_ms: int) -> None:
        """Not most of what the terminal asked for came to nothing. Raises LimitError."""
        full_ms = _full_until_ms(
            connection, _DENIALS, self.denials, DENIAL_WINDOW_S, now_ms, subject=terminal_id
        )
        if full_ms is None:
            return
        since = {"subject": terminal_id, "since_ms": now_ms - DENIAL_WINDOW_S * 1000}
        asked, denied = _OF_TERMINAL.one(connection, since)
        if 2 * denied > asked:
            raise LimitError(ErrorCode.TERMINAL_THROTTLED, _seconds(full_ms - now_ms))

    def check_failures(
        self, connection: Connection, kind: FailureKind, subject: str, now_ms: int
    ) -> None:
        """The subject has not failed too often. Raises LimitError."""
        full_ms = self.failed_until_ms(connection, kind, subject, now_ms)
        if full_ms is not None:
            raise LimitError(_REFUSED_WITH[kind], _seconds(full_ms - now_ms))

    def note_failure(
        self, connection: Connection, kind: FailureKind, subject: str, now_ms: int
    ) -> bool:
        """Count a refusal, unless the window is full; whether it is now."""
        if self.failed_until_ms(connection, kind, subject, now_ms) is None:
            values = {"kind": kind.value, "subject": subject, "at_ms": now_ms}
            _ADD.count(connection, values)
        return self.failed_until_ms(connection, kind, subject, now_ms) is not None

    def failed_until_ms(
        self, connection: Connection, kind: FailureKind, subject: str, now_ms: int
    ) -> int | None:
        """When a subject that has failed too often may try again; None: now."""
        return _full_until_ms(
            connection,
            _FAILURES,
            self.failures[kind],
            FAILURE_WINDOW_S,
            now_ms,
            subject=subject,
            kind=kind.value,
        )


def list_failures(connection: Connection, now_ms: int) -> list[dict[str, object]]:
    """Whose failures count at present, how many, and when the last was."""
    rows = connection.execute(_COUNTED, {"since_ms": now_ms - FAILURE_WINDOW_S * 1000})
    return [dict(row._mapping) for row in rows]


def outdated(connection: Connection, now_ms: int) -> bool:
    """Whether there are failures that no limit looks at any more."""
    return _OLD.first(connection, _before(now_ms)) is not None


def purge(connection: Connection, now_ms: int) -> None:
    """Forget what no limit looks at any more."""
    connection.execute(_PURGE, _before(now_ms))


def lift(connection: Connection, subject: str) -> int:
    """Forget the failures of a terminal, phone or address; how many there were."""
    return connection.execute(delete(failures).where(failures.c.subject == subject)).rowcount


def _before(now_ms: int) -> dict[str, int]:
    return {"before_ms": now_ms - FAILURE_WINDOW_S * 1000}


def _full_until_ms(
    connection: Connection,
    query: Prepared,
    count: int,
    window_s: int,
    now_ms: int,
    **named: str,
) -> int | None:
    """When a full window has room again; None if it has now."""
    asked = {"since_ms": now_ms - window_s * 1000, "count": count, **named}
    times_ms: list[int] = query.scalars(connection, asked)
    return times_ms[-1] + window_s * 1000 if len(times_ms) >= count else None


def _seconds(ms: int) -> int:
    """Rounded up: who comes back then is let through."""
    return -(-ms // 1000)
