"""What owners have signed about their payment methods and jacks: each once, and kept.

Every function is a part of a transaction (``server.store``); signatures were verified before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection, bindparam, insert, select

from server.registry import check_not_revoked
from server.schema.parties import instructions
from twochannel.protocol.envelope import check_time, digest
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.instructions import Instruction
from twochannel.protocol.statements import Role

S = TypeVar("S", bound=Instruction)

_KNOWN: Final = select(instructions.c.digest).where(instructions.c.id == bindparam("jti"))


@dataclass(frozen=True, slots=True)
class Signed(Generic[S]):
    """An instruction of a phone whose signature holds."""

    statement: S
    compact: str


def repeated(connection: Connection, signed: Signed[S]) -> bool:
    """Whether exactly this statement has taken effect before.

    Asked first: a revoked phone is not told either. Raises CodedError (``device_revoked``).
    """
    check_not_revoked(connection, Role.PHONE, signed.statement.iss)
    stored = connection.scalar(_KNOWN, {"jti": signed.statement.jti})
    return stored == digest(signed.compact)


def admit(
    connection: Connection, signed: Signed[S], check: Callable[[], None], now_ms: int
) -> None:
    """Keep one that is not ``repeated``, if nothing is against it: time, ``check``, its id.

    Raises CodedError.
    """
    statement = signed.statement
    check_time(statement, now_ms // 1000)
    check()
    if connection.scalar(_KNOWN, {"jti": statement.jti}) is not None:
        raise StatementError(ErrorCode.STATEMENT_REPLAYED)
    connection.execute(
        insert(instructions).values(
            id=statement.jti,
            typ=statement.TYP,
            phone_id=statement.iss,
            subject=statement.sub,
            digest=digest(signed.compact),
            compact=signed.compact,
            at_ms=now_ms,
        )
    )
