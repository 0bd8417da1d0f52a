"""Accepting payment requests (statement 1) and answering them with a challenge (statement 2)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, literal_column, select
from sqlalchemy.exc import IntegrityError

from server.allowances import Allowances
from server.expiry import expire, expired
from server.issuer import Issuer
from server.kinds import FailureKind, PhoneEventKind
from server.members import members_of
from server.payments import (
    Change,
    PaymentRow,
    add_statement,
    asked_phones,
    find_payment,
    holds_statement,
    keep_challenge,
    tell_phone,
    view,
)
from server.prepared import AnyRow, Prepared
from server.schema.parties import jacks, merchants, phones, terminals
from server.schema.payments import payments
from twochannel.protocol.envelope import check_time, digest, sign
from twochannel.protocol.errors import ErrorCode, LimitError, PaymentError, StatementError
from twochannel.protocol.limits import CHALLENGE_LIFETIME_S
from twochannel.protocol.payment import INITIAL
from twochannel.protocol.statements import Challenge, Merchant, PaymentRequest, Presence
from twochannel.protocol.wire import base64url

_MERCHANT = Prepared(
    select(merchants, terminals.c.lane, terminals.c.revoked_ms)
    .join(terminals, terminals.c.merchant_id == merchants.c.id)
    .where(terminals.c.id == bindparam("terminal"))
)
_CHARGEABLE = Prepared(
    select(jacks)
    .join(phones, phones.c.id == jacks.c.phone_id)
    .where(
        jacks.c.id == bindparam("jack"),
        jacks.c.revoked_ms.is_(None),
        jacks.c.released_ms.is_(None),
        phones.c.revoked_ms.is_(None),
    )
)
_OPEN = Prepared(
    select(payments).where(
        (payments.c.terminal_id == bindparam("terminal"))
        | (payments.c.jack_id == bindparam("jack")),
        payments.c.status == literal_column(f"'{INITIAL}'"),
    )
)
_ADD = Prepared(insert(payments).returning(payments))


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request whose signature holds, and the jack that its code stands for, if any."""

    request: PaymentRequest
    compact: str
    kid: str
    jack_id: str | None


@dataclass(frozen=True, slots=True)
class Fresh:
    """What is new with each challenge: 16-byte nonce (base64url), two digits, the time."""

    nonce: str
    match_code: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Requested:
    """The payment as the API shows it, whether it is new, and what is to be announced."""

    payment: dict[str, object]
    created: bool
    changes: tuple[Change, ...]


def accept_request(
    connection: Connection,
    signed: SignedRequest,
    fresh: Fresh,
    issuer: Issuer,
    allowances: Allowances,
) -> Requested:
    """Create the payment and its challenge. Checks, in this order:

    1. the same statement again is answered with its payment, also to a revoked terminal; another
       one of a payment of this terminal is refused (``payment_conflict``);
    2. the terminal is revoked (``device_revoked``);
    3. the payment id is that of another terminal's payment (``payment_conflict``);
    4. time (``clock_skew``, ``statement_expired``);
    5. the terminal names another lane than the one that it is registered for (``claim_invalid``);
    6. the terminal sent too many unknown codes (``too_many_codes``), or most of what it asked for
       came to nothing (``terminal_throttled``);
    7. nobody can be charged under the code: unknown, shared, revoked, let go (``code_unknown``);
    8. an open payment of the terminal (``terminal_busy``), of the jack (``jack_busy``);
    9. the jack's owner was asked too often (``jack_prompted``);
    10. a lane nonce or statement id that was used before (``statement_replayed``).
    """
    request = signed.request
    known = find_payment(connection, request.jti)
    if known is not None and holds_statement(connection, known.id, signed.compact):
        return Requested(view(known), created=False, changes=())
    merchant = _MERCHANT.one(connection, {"terminal": request.iss})
    _check_new(known, request, merchant)
    now_s = fresh.now_ms // 1000
    check_time(request, now_s)
    _check_lane(request, merchant)
    allowances.check_failures(connection, FailureKind.CODE, request.iss, fresh.now_ms)
    allowances.check_denials(connection, request.iss, fresh.now_ms)
    jack = _chargeable(connection, signed.jack_id)
    changes = _check_free(connection, request.iss, jack.id, fresh, issuer)
    allowances.check_prompts(connection, jack.id, fresh.now_ms)
    expires_s = min(request.exp, now_s + CHALLENGE_LIFETIME_S)
    members = [member.phone_id for member in members_of(connection, jack.id)]
    row = _insert_payment(connection, request, jack, members, merchant, fresh, expires_s)
    add_statement(connection, request.jti, request, signed.kid, signed.compact)
    # Once: it may be another one a moment later.
    signer = issuer.signer
    for phone in (jack.phone_id, *members):
        challenge = _challenge(signed, jack, phone, merchant, fresh, issuer, expires_s)
        compact = sign(challenge, signer)
        if phone == jack.phone_id:
            add_statement(connection, request.jti, challenge, signer.key.kid, compact)
        if members:
            keep_challenge(connection, request.jti, phone, compact)
    for phone in asked_phones(row):
        tell_phone(connection, phone, request.jti, PhoneEventKind.CHALLENGE, fresh.now_ms)
    return Requested(view(row), True, (*changes, Change(row)))


def _check_new(known: PaymentRow | None, request: PaymentRequest, merchant: AnyRow) -> None:
    """No payment has this id. Of another terminal's a revoked one does not learn that it is there.

    Of its own it does: else it would take for refused what it has asked for with other bytes.
    """
    own = known is not None and known.terminal_id == request.iss
    if merchant.revoked_ms is not None and not own:
        raise PaymentError(ErrorCode.DEVICE_REVOKED)
    if known is not None:
        raise PaymentError(ErrorCode.PAYMENT_CONFLICT)


def _chargeable(connection: Connection, jack_id: str | None) -> AnyRow:
    """The jack with its phone, both in force. Whatever is missing, the answer is the same."""
    row = _CHARGEABLE.one_or_none(connection, {"jack": jack_id or ""})
    if row is None:
        raise PaymentError(ErrorCode.CODE_UNKNOWN)
    return row


def _check_free(
    connection: Connection, terminal_id: str, jack_id: str, fresh: Fresh, issuer: Issuer
) -> list[Change]:
    """One open payment per terminal and jack. One that is past its time is ended here.

    Raises LimitError with the time at which the others have ended, if not before.
    """
    parties = {"terminal": terminal_id, "jack": jack_id}
    open_rows = _OPEN.all(connection, parties)
    busy = [row for row in open_rows if not expired(row, fresh.now_ms)]
    if busy:
        own = any(row.terminal_id == terminal_id for row in busy)
        ends_ms = 1000 * max(int(row.expires_s) for row in busy)
        code = ErrorCode.TERMINAL_BUSY if own else ErrorCode.JACK_BUSY
        raise LimitError(code, math.ceil((ends_ms - fresh.now_ms) / 1000))
    return [expire(connection, row, fresh.now_ms, issuer) for row in open_rows]


def _check_lane(request: PaymentRequest, merchant: AnyRow) -> None:
    """Whom the owner will be told to pay, and where: neither is for the terminal to say.

    Raises StatementError (``claim_invalid``).
    """
    if request.lane != merchant.lane:
        raise StatementError(ErrorCode.CLAIM_INVALID, "claim lane: not the lane of this terminal")


def _insert_payment(
    connection: Connection,
    request: PaymentRequest,
    jack: AnyRow,
    members: list[str],
    merchant: AnyRow,
    fresh: Fresh,
    expires_s: int,
) -> PaymentRow:
    values = {
        "id": request.jti,
        "status": INITIAL.value,
        "capture": request.capture.value,
        "currency": request.amount.currency,
        "amount_minor": request.amount.value,
        "merchant_id": merchant.id,
        "merchant_name": merchant.name,
        "presence": merchant.presence,
        "terminal_id": request.iss,
        "jack_id": jack.id,
        "epoch": jack.epoch,
        "phone_id": jack.phone_id,
        "asked": ",".join(sorted([jack.phone_id, *members])) if members else None,
        "lane": request.lane,
        "lane_digest": request.lane_digest,
        "reference": request.reference,
        "description": request.description,
        "match_code": fresh.match_code,
        "created_ms": fresh.now_ms,
        "expires_s": expires_s,
    }
    try:
        return _ADD.one(connection, values)
    except IntegrityError:
        detail = "the lane nonce was used before"
        raise StatementError(ErrorCode.STATEMENT_REPLAYED, detail) from None


def _challenge(
    signed: SignedRequest,
    jack: AnyRow,
    phone: str,
    merchant: AnyRow,
    fresh: Fresh,
    issuer: Issuer,
    expires_s: int,
) -> Challenge:
    """What one phone is asked. Each has a nonce of its own, made of the payment's."""
    own = phone == jack.phone_id
    request = signed.request
    return Challenge(
        iss=issuer.server_id,
        aud=jack.id,
        jti=issuer.new_id(),
        iat=fresh.now_ms // 1000,
        exp=expires_s,
        sub=request.jti,
        prev=digest(signed.compact),
        amount=request.amount,
        capture=request.capture,
        merchant=Merchant(id=merchant.id, name=merchant.name),
        lane=request.lane,
        lane_digest=request.lane_digest,
        presence=Presence(merchant.presence),
        phone=phone,
        nonce=fresh.nonce if own else _nonce_for(phone, fresh.nonce),
        match_code=fresh.match_code,
    )


def _nonce_for(phone: str, nonce: str) -> str:
    hashed = hashlib.sha256(f"{nonce}.{phone}".encode()).digest()
    return base64url(hashed[:16])
