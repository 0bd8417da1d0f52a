"""Keeping the journal: entering every statement once, in the order of their numbers.

Payments do not do it, so that they hold the database's writer no longer than they must. Statements
carry a number, which is given while nobody else writes: who has seen one has seen all before it.
Whoever enters them (a server's worker, or a command that needs the journal to be complete) reads on
from the last one entered, chains the links, and appends if nobody was faster. So nothing is left
out or entered twice, whoever dies when, and any number of servers may try.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select

from server.issuer import Issuer
from server.schema.journal import journal, journal_checkpoints
from server.schema.payments import statements
from server.store import Store, StoreError
from twochannel.protocol.envelope import sign
from twochannel.protocol.journal import Checkpoint, Entry, link, origin

AnyRow = Row[*tuple[Any, ...]]

_log = logging.getLogger(__name__)

#: Statements of one transaction: bounds how long the one writer is held.
BATCH: Final = 500
#: How long a statement may wait for its entry where little happens.
INTERVAL_S: Final = 1.0
#: What the server has not signed for can be cut off unseen, so not for longer than this.
CHECKPOINT_INTERVAL_MS: Final = 60_000

_LAST = select(journal).order_by(journal.c.seq.desc()).limit(1)
_LAST_CHECKPOINT = select(journal_checkpoints).order_by(journal_checkpoints.c.seq.desc()).limit(1)
_NEW = (
    select(statements.c.seq, statements.c.payment_id, statements.c.digest)
    .where(statements.c.seq > bindparam("after"))
    .order_by(statements.c.seq)
    .limit(BATCH)
)
_APPEND = insert(journal)
_SIGNED = insert(journal_checkpoints)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the journal: all zero, and the origin, before the first entry."""

    seq: int
    statement_seq: int
    at_ms: int
    link: str


@dataclass(frozen=True, slots=True)
class _Round:
    """What one look has found: where the journal ends, and the rows to add."""

    tail: Tail
    rows: list[dict[str, object]]
    signs: bool


def tail_of(connection: Connection, server_id: str) -> Tail:
    row = connection.execute(_LAST).one_or_none()
    if row is None:
        return Tail(0, 0, 0, origin(server_id))
    return Tail(row.seq, row.statement_seq, row.at_ms, row.link)


def sign_checkpoint(issuer: Issuer, seq: int, last_link: str, now_ms: int) -> str:
    """The server's word that its journal has this link at ``seq``."""
    checkpoint = Checkpoint(
        iss=issuer.server_id,
        jti=issuer.new_id(),
        iat=now_ms // 1000,
        entries=seq,
        link=last_link,
    )
    return sign(checkpoint, issuer.signer)


class Journal:
    """The journal of one server's database."""

    def __init__(self, store: Store, issuer: Issuer, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._issuer = issuer
        self._now_ms = now_ms

    async def run(self) -> None:
        """Enter what is new until cancelled. A database that refuses is tried again."""
        while True:
            try:
                more = await self._step()
            except StoreError as error:
                _log.error("journal_blocked", extra={"error": str(error)})
                more = False
            if not more:
                await asyncio.sleep(INTERVAL_S)

    def catch_up(self) -> None:
        """For the command line: enter all that is there. Raises StoreError."""
        while self._step_now():
            pass

    def _step_now(self) -> bool:
        """``_step``, without an event loop; whether something was there to be entered."""
        found = self._store.read_now(self._look)
        if found.rows:
            self._store.write_now(lambda c: self._append(c, found))
        return bool(found.rows)

    async def _step(self) -> bool:
        """One look, and one transaction if there is something to do; whether there may be more."""
        found = await self._store.read(self._look)
        if found.rows or found.signs:
            await self._store.write(lambda c: self._append(c, found))
        return len(found.rows) == BATCH

    def _look(self, connection: Connection) -> _Round:
        tail = tail_of(connection, self._issuer.server_id)
        now_ms = self._now_ms()
        rows = _chained(tail, connection.execute(_NEW, {"after": tail.statement_seq}).all(), now_ms)
        signed_seq, signed_ms = _signed_up_to(connection)
        unsigned = bool(rows) or tail.seq > signed_seq
        return _Round(tail, rows, unsigned and now_ms - signed_ms >= CHECKPOINT_INTERVAL_MS)

    def _append(self, connection: Connection, found: _Round) -> None:
        """Add the rows if the journal still ends where they were made for."""
        tail = tail_of(connection, self._issuer.server_id)
        if tail != found.tail:
            return
        if found.rows:
            connection.execute(_APPEND, found.rows)
            tail = tail_of(connection, self._issuer.server_id)
        if found.signs and _signed_up_to(connection)[0] < tail.seq:
            now_ms = self._now_ms()
            compact = sign_checkpoint(self._issuer, tail.seq, tail.link, now_ms)
            connection.execute(_SIGNED, {"seq": tail.seq, "compact": compact, "at_ms": now_ms})


def _signed_up_to(connection: Connection) -> tuple[int, int]:
    """Number of the last entry that is signed for, and when that was."""
    last = connection.execute(_LAST_CHECKPOINT).one_or_none()
    return (last.seq, last.at_ms) if last is not None else (0, 0)


def _chained(tail: Tail, found: Sequence[AnyRow], now_ms: int) -> list[dict[str, object]]:
    """Rows of the journal for what was ``found``. Its times never go back."""
    at_ms, last_link = max(now_ms, tail.at_ms), tail.link
    rows: list[dict[str, object]] = []
    for seq, row in enumerate(found, start=tail.seq + 1):
        last_link = link(last_link, Entry(seq, row.payment_id, row.digest, at_ms))
        rows.append({"seq": seq, "statement_seq": row.seq, "at_ms": at_ms, "link": last_link})
    return rows
