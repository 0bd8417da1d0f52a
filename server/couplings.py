"""Coupling a payment method to a jack, with a fresh word of that jack (the sibling method).

A jack without couplings is paid for with any method of its phone. Once one is coupled, only coupled
ones are taken for it. A coupling lasts as long as the pairing in which it was made.

Every function is a part of a transaction (``server.store``); signatures were verified before.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, exists, insert, select, update

from server.instructions import Signed, admit, repeated
from server.issuer import Issuer
from server.members import check_member
from server.prepared import Prepared
from server.schema.parties import couplings, jacks, payment_methods
from twochannel.protocol.envelope import sign
from twochannel.protocol.errors import CodedError, ErrorCode, PaymentError, StatementError
from twochannel.protocol.instructions import (
    Coupling,
    CouplingAnswer,
    CouplingChallenge,
    Uncoupling,
)
from twochannel.protocol.limits import CHALLENGE_LIFETIME_S

_METHOD: Final = select(payment_methods.c.id).where(
    payment_methods.c.id == bindparam("method"),
    payment_methods.c.phone_id == bindparam("phone"),
    payment_methods.c.removed_ms.is_(None),
)
_JACK: Final = select(jacks).where(jacks.c.id == bindparam("jack"))
#: In force: not ended, of a method that is there, made in the pairing that is.
_IN_FORCE: Final = (
    select(couplings.c.method_id, couplings.c.jack_id)
    .join(jacks, jacks.c.id == couplings.c.jack_id)
    .join(payment_methods, payment_methods.c.id == couplings.c.method_id)
    .where(
        couplings.c.ended_ms.is_(None),
        couplings.c.epoch == jacks.c.epoch,
        jacks.c.released_ms.is_(None),
        payment_methods.c.removed_ms.is_(None),
    )
)
_OF_PHONE: Final = _IN_FORCE.where(payment_methods.c.phone_id == bindparam("phone")).order_by(
    couplings.c.coupled_ms, couplings.c.id
)
_OF_JACK: Final = Prepared(
    _IN_FORCE.where(
        couplings.c.jack_id == bindparam("jack"),
        payment_methods.c.phone_id == bindparam("phone"),
    )
)
_USED: Final = select(exists().where(couplings.c.id == bindparam("challenge")))
_END: Final = (
    update(couplings)
    .where(
        couplings.c.method_id == bindparam("method"),
        couplings.c.jack_id == bindparam("jack"),
        couplings.c.ended_ms.is_(None),
    )
    .values(ended_ms=bindparam("now_ms"))
)


@dataclass(frozen=True, slots=True)
class SignedCoupling:
    """A coupling whose signatures hold: the phone's, the server's own, and the jack's."""

    signed: Signed[Coupling]
    challenge: CouplingChallenge
    answer: CouplingAnswer


def challenge_jack(
    connection: Connection,
    method: str,
    jack: str,
    phone: str,
    *,
    nonce: str,
    now_ms: int,
    issuer: Issuer,
) -> str:
    """What the jack is to answer. It is kept nowhere: it counts once, and for a minute.

    Raises CodedError: ``payment_method_unknown``, ``epoch_outdated``.
    """
    _check_method(connection, method, phone)
    row = connection.execute(_JACK, {"jack": jack}).one_or_none()
    if row is None or not _in_force(row):
        raise CodedError(ErrorCode.EPOCH_OUTDATED)
    if row.phone_id != phone:
        check_member(connection, jack, phone)
    challenge = CouplingChallenge(
        iss=issuer.server_id,
        aud=jack,
        jti=issuer.new_id(),
        iat=now_ms // 1000,
        exp=now_ms // 1000 + CHALLENGE_LIFETIME_S,
        sub=method,
        phone=phone,
        nonce=nonce,
    )
    return sign(challenge, issuer.signer)


def couple(connection: Connection, coupling: SignedCoupling, now_ms: int) -> None:
    """Let a coupling take effect. Checks, in this order:

    1. the phone is revoked (``device_revoked``);
    2. the same statement again changes nothing;
    3. time (``clock_skew``, ``statement_expired``);
    4. the challenge was for this phone and method (``chain_broken``), and is not past its time
       (``statement_expired``);
    5. the method is this phone's and was not removed (``payment_method_unknown``);
    6. the jack is this phone's in the epoch of its answer (``epoch_outdated``), and, if the phone
       is a member, its owner's is not revoked (``device_revoked``);
    7. a challenge or a statement id that was used before (``statement_replayed``).
    """
    signed, challenge = coupling.signed, coupling.challenge
    if repeated(connection, signed):
        return
    admit(connection, signed, lambda: _check(connection, coupling, now_ms), now_ms)
    pair = {"method": challenge.sub, "jack": challenge.aud}
    connection.execute(_END, pair | {"now_ms": now_ms})
    connection.execute(
        insert(couplings).values(
            id=challenge.jti,
            instruction_id=signed.statement.jti,
            method_id=challenge.sub,
            jack_id=challenge.aud,
            epoch=coupling.answer.epoch,
            coupled_ms=now_ms,
        )
    )


def uncouple(connection: Connection, signed: Signed[Uncoupling], now_ms: int) -> None:
    """End a coupling. Checks, in this order:

    1. the phone is revoked (``device_revoked``);
    2. the same statement again changes nothing;
    3. time (``clock_skew``, ``statement_expired``);
    4. the method is this phone's and was not removed (``payment_method_unknown``);
    5. it is coupled to the jack (``payment_method_not_coupled``);
    6. a statement id that was used before (``statement_replayed``).
    """
    if repeated(connection, signed):
        return
    statement = signed.statement
    pair = {"method": statement.sub, "jack": statement.jack}

    def check() -> None:
        _check_method(connection, statement.sub, statement.iss)
        if connection.execute(_END, pair | {"now_ms": now_ms}).rowcount == 0:
            raise PaymentError(ErrorCode.PAYMENT_METHOD_NOT_COUPLED)

    admit(connection, signed, check, now_ms)


def coupled_jacks(connection: Connection, phone: str) -> dict[str, list[str]]:
    """The jacks to which each method of a phone is coupled."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(_OF_PHONE, {"phone": phone}):
        found[row.method_id].append(row.jack_id)
    return found


def check_coupled(connection: Connection, method: str, jack: str, phone: str) -> None:
    """The jack may be paid for with this method. Raises PaymentError."""
    coupled = _OF_JACK.all(connection, {"jack": jack, "phone": phone})
    if coupled and method not in {row.method_id for row in coupled}:
        raise PaymentError(ErrorCode.PAYMENT_METHOD_NOT_COUPLED)


def _check(connection: Connection, coupling: SignedCoupling, now_ms: int) -> None:
    statement, challenge = coupling.signed.statement, coupling.challenge
    if (challenge.phone, challenge.sub) != (statement.iss, statement.sub):
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the jack was asked about another coupling")
    if now_ms // 1000 >= challenge.exp:
        raise StatementError(ErrorCode.STATEMENT_EXPIRED, "the challenge's time is over")
    _check_method(connection, statement.sub, statement.iss)
    row = connection.execute(_JACK, {"jack": challenge.aud}).one()
    if row.epoch != coupling.answer.epoch or not _in_force(row):
        raise CodedError(ErrorCode.EPOCH_OUTDATED)
    if row.phone_id != statement.iss:
        check_member(connection, challenge.aud, statement.iss)
    if connection.scalar(_USED, {"challenge": challenge.jti}):
        raise StatementError(ErrorCode.STATEMENT_REPLAYED, "the challenge was used before")


def _check_method(connection: Connection, method: str, phone: str) -> None:
    if connection.execute(_METHOD, {"method": method, "phone": phone}).first() is None:
        raise PaymentError(ErrorCode.PAYMENT_METHOD_UNKNOWN)


def _in_force(jack: Row[Any]) -> bool:
    return jack.revoked_ms is None and jack.released_ms is None
