"""Accepting confirmations (statement 4) with the auth code (statement 3) inside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, select, update

from server.allowances import Allowances
from server.couplings import check_coupled
from server.expiry import expired
from server.issuer import Issuer
from server.kinds import FailureKind, Operation
from server.members import check_member
from server.payments import (
    Change,
    PaymentRow,
    add_statement,
    challenge_of,
    find_payment,
    holds_statement,
    queue_operation,
    settle,
    view,
)
from server.prepared import AnyRow, Prepared
from server.schema.parties import jacks, payment_methods, phones, terminals
from server.withdrawals import others_may_decide
from twochannel.protocol.chain import check_auth_code, check_confirmation, presence_proven
from twochannel.protocol.envelope import check_time, read_header, unverified_claims
from twochannel.protocol.errors import ErrorCode, PaymentError, StatementError
from twochannel.protocol.payment import CaptureMode, Event, Status, advance
from twochannel.protocol.statements import (
    AuthCode,
    Challenge,
    Confirmation,
    DecidedBy,
    Decision,
    Presence,
)

_JACK = Prepared(
    select(
        jacks,
        phones.c.revoked_ms.label("phone_revoked_ms"),
        terminals.c.revoked_ms.label("terminal_revoked_ms"),
        terminals.c.merchant_id,
        terminals.c.lane,
    )
    .select_from(jacks)
    .join(phones, phones.c.id == bindparam("phone"))
    .join(terminals, terminals.c.id == bindparam("terminal"))
    .where(jacks.c.id == bindparam("jack"))
)
_COUNT = Prepared(update(jacks).where(jacks.c.id == bindparam("jack")))
_METHOD = Prepared(
    select(payment_methods.c.id).where(
        payment_methods.c.id == bindparam("method"),
        payment_methods.c.phone_id == bindparam("phone"),
        payment_methods.c.removed_ms.is_(None),
    )
)
#: Ends that no phone has brought about, or none yet.
_UNDECIDED = (Status.PENDING, Status.EXPIRED, Status.CANCELED)
_EVENTS = {Decision.APPROVE: Event.CONFIRM, Decision.DECLINE: Event.DECLINE}


@dataclass(frozen=True, slots=True)
class SignedConfirmation:
    """A confirmation whose signatures hold: the phone's, and the jack's on the auth code."""

    confirmation: Confirmation
    compact: str
    kid: str
    auth_code: AuthCode | None
    auth_code_kid: str | None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The payment as the API shows it, and what is to be announced (None: nothing is new)."""

    payment: dict[str, object]
    change: Change | None


def accept_confirmation(
    connection: Connection,
    payment_id: str,
    signed: SignedConfirmation,
    now_ms: int,
    issuer: Issuer,
    allowances: Allowances,
) -> Confirmed:
    """Let the owner's decision take effect. Checks, in this order:

    1. the phone was asked about the payment (``payment_unknown``);
    2. the same statement again is answered with the payment as it is now, also to a revoked
       phone;
    3. the phone is revoked (``device_revoked``);
    4. time (``clock_skew``, ``statement_expired``);
    5. an approval: the phone has not sent too many wrong ones (``too_many_confirmations``);
    6. the payment is pending (``payment_state``; ``settled_by_other_phone`` if another one of the
       jack's phones has decided) and not past its time (``statement_expired``);
    7. jack or terminal revoked, or the terminal moved to another merchant or lane
       (``device_revoked``); pairing replaced or ended, or the phone no member any more
       (``epoch_outdated``);
    8. the links of the chain (``chain_broken``), the auth code's epoch (``epoch_outdated``);
    9. the counter is above the jack's last one (``counter_reused``);
    10. for an approval: presence where the merchant requires it or nobody was asked
        (``presence_missing``), and a payment method of this phone that was not removed
        (``payment_method_unknown``), coupled to the jack if any is
        (``payment_method_not_coupled``);
    11. statement ids that were used before (``statement_replayed``).

    Of several phones one that declines unasked, or away from the jack, leaves the payment to the
    others (``server.withdrawals``). An approval and the outbox row of its charge are one
    transaction. What is refused changes nothing.
    """
    confirmation = signed.confirmation
    row = find_payment(connection, payment_id)
    if row is None:
        raise PaymentError(ErrorCode.PAYMENT_UNKNOWN)
    asked = challenge_of(connection, row, confirmation.iss)
    if holds_statement(connection, payment_id, signed.compact):
        return Confirmed(view(row), None)
    jack = _jack_of(connection, row, confirmation.iss)
    check_time(confirmation, now_ms // 1000)
    if confirmation.decision is Decision.APPROVE:
        failed = FailureKind.CONFIRMATION
        allowances.check_failures(connection, failed, confirmation.iss, now_ms)
    _check_open(row, confirmation, now_ms)
    _check_pairing(connection, row, jack, confirmation.iss)
    challenge = _check_chain(row, asked, signed)
    _check_counter(signed.auth_code, jack)
    if confirmation.decision is Decision.APPROVE:
        _check_approval(connection, challenge, signed)
        method = str(confirmation.payment_method)
        check_coupled(connection, method, row.jack_id, confirmation.iss)
    elif others_may_decide(connection, row, confirmation, now_ms):
        return Confirmed(view(row), None)
    _store(connection, row, asked, signed)
    return _take_effect(connection, row, confirmation, now_ms, issuer)


def _jack_of(connection: Connection, row: PaymentRow, phone: str) -> AnyRow:
    """The jack, for a phone that is in force. Raises PaymentError (``device_revoked``).

    Asked before the payment's state, which a revoked phone is not told.
    """
    devices = {"jack": row.jack_id, "phone": phone, "terminal": row.terminal_id}
    jack = _JACK.one(connection, devices)
    if jack.phone_revoked_ms is not None:
        raise PaymentError(ErrorCode.DEVICE_REVOKED)
    return jack


def _check_open(row: PaymentRow, confirmation: Confirmation, now_ms: int) -> None:
    event = _EVENTS[confirmation.decision]
    status = Status(row.status)
    if confirmation.iss != row.phone_id and status not in _UNDECIDED:
        raise PaymentError(ErrorCode.SETTLED_BY_OTHER_PHONE)
    advance(status, event, CaptureMode(row.capture))
    if expired(row, now_ms):
        raise StatementError(ErrorCode.STATEMENT_EXPIRED, "the payment's time is over")


def _check_pairing(connection: Connection, row: PaymentRow, jack: AnyRow, phone: str) -> None:
    """Jack and terminal are in force, and the jack is still paired with the phone that decides."""
    if {jack.revoked_ms, jack.terminal_revoked_ms} != {None}:
        raise PaymentError(ErrorCode.DEVICE_REVOKED)
    if (jack.merchant_id, jack.lane) != (row.merchant_id, row.lane):
        raise PaymentError(ErrorCode.DEVICE_REVOKED, "the terminal serves another lane now")
    if jack.epoch != row.epoch or jack.released_ms is not None:
        raise PaymentError(ErrorCode.EPOCH_OUTDATED)
    if jack.phone_id != phone:
        check_member(connection, row.jack_id, phone)


def _check_chain(row: PaymentRow, compact: str, signed: SignedConfirmation) -> Challenge:
    # Its signature is this server's own; that these bytes are what phone and jack were shown, both
    # have signed: each link is the hash of them.
    challenge = Challenge.from_claims(unverified_claims(compact))
    check_confirmation(challenge, compact, signed.confirmation)
    if signed.auth_code is not None:
        check_auth_code(challenge, compact, signed.auth_code)
        if signed.auth_code.epoch != row.epoch:
            raise StatementError(ErrorCode.EPOCH_OUTDATED)
    return challenge


def _check_counter(auth_code: AuthCode | None, jack: AnyRow) -> None:
    if auth_code is not None and auth_code.counter <= jack.last_counter:
        raise StatementError(ErrorCode.COUNTER_REUSED)


def _check_approval(
    connection: Connection, challenge: Challenge, signed: SignedConfirmation
) -> None:
    if signed.auth_code is None:
        raise StatementError(ErrorCode.CLAIM_INVALID, "an approval needs an auth code")
    confirmation = signed.confirmation
    required = challenge.presence is Presence.REQUIRE
    unasked = confirmation.decided_by is DecidedBy.POLICY
    if (required or unasked) and not presence_proven(challenge, signed.auth_code):
        raise PaymentError(ErrorCode.PRESENCE_MISSING)
    method = {"method": confirmation.payment_method, "phone": confirmation.iss}
    if _METHOD.scalar(connection, method) is None:
        raise PaymentError(ErrorCode.PAYMENT_METHOD_UNKNOWN)


def _store(connection: Connection, row: PaymentRow, asked: str, signed: SignedConfirmation) -> None:
    confirmation, auth_code = signed.confirmation, signed.auth_code
    if confirmation.iss != row.phone_id:
        # The owner's is there from the beginning; that of another phone once it has decided.
        challenge = Challenge.from_claims(unverified_claims(asked))
        add_statement(connection, row.id, challenge, read_header(asked).kid, asked)
    if auth_code is not None:
        add_statement(
            connection,
            row.id,
            auth_code,
            str(signed.auth_code_kid),
            str(confirmation.auth_code),
        )
        counter = {"jack": row.jack_id, "last_counter": auth_code.counter}
        _COUNT.count(connection, counter)
    add_statement(connection, row.id, confirmation, signed.kid, signed.compact)


def _take_effect(
    connection: Connection, row: PaymentRow, confirmation: Confirmation, now_ms: int, issuer: Issuer
) -> Confirmed:
    approves = confirmation.decision is Decision.APPROVE
    change = settle(
        connection,
        row,
        _EVENTS[confirmation.decision],
        now_ms,
        issuer,
        reason=None if approves else confirmation.decided_by.value,
        payment_method_id=confirmation.payment_method if approves else None,
        phone_id=confirmation.iss if row.asked else None,
    )
    if approves:
        queue_operation(connection, row, Operation.CHARGE, row.amount_minor, now_ms)
        change = replace(change, queued=True)
    return Confirmed(view(change.row), change)
