"""Verifying the evidence of a payment offline, with public keys alone. Pure.

``verify_document`` walks through the statements in the order in which they were accepted, checks
every signature, every link and every amount, and follows the life cycle. It says what each step
shows in words for a person, and raises at the first that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from server.evidence_file import Evidence, EvidenceError, read
from server.evidence_parties import Parties, Step, demand, meet, short
from twochannel.protocol.chain import (
    check_auth_code,
    check_challenge,
    check_confirmation,
    presence_proven,
)
from twochannel.protocol.envelope import Statement, digest, read_header, verify
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.limits import MAX_CLOCK_SKEW_S
from twochannel.protocol.money import format_minor
from twochannel.protocol.payment import (
    INITIAL,
    TRANSITIONS,
    Event,
    Status,
    advance,
    check_capture,
    check_refund,
)
from twochannel.protocol.statements import (
    AuthCode,
    Cancel,
    Capture,
    Challenge,
    Confirmation,
    DecidedBy,
    Decision,
    PaymentRequest,
    Presence,
    Receipt,
    Refund,
    Role,
)

S = TypeVar("S", bound=Statement)

#: What may cause each state that a receipt tells of (docs/protocol.md, The chain of a payment).
CAUSES: Final[dict[Status, frozenset[type[Statement]]]] = {
    Status.DECLINED: frozenset({Confirmation}),
    Status.EXPIRED: frozenset({Challenge}),
    Status.CANCELED: frozenset({Cancel}),
    Status.AUTHORIZED: frozenset({Confirmation}),
    Status.CAPTURED: frozenset({Confirmation, Capture, Refund}),
    Status.REFUSED: frozenset({Confirmation}),
    Status.VOIDED: frozenset({Cancel, Receipt}),
}

_ORDERERS: Final = {
    Role.TERMINAL: "The terminal",
    Role.SERVER: "The server's operator",
}
_DECIDED: Final = {
    (Decision.APPROVE, DecidedBy.OWNER): "the owner approved it on the phone",
    (Decision.APPROVE, DecidedBy.POLICY): "the phone approved it within its owner's limit",
    (Decision.DECLINE, DecidedBy.OWNER): "the owner declined it on the phone",
    (Decision.DECLINE, DecidedBy.POLICY): "the phone declined it by its owner's rules",
    (Decision.DECLINE, DecidedBy.TIMEOUT): "nobody answered on the phone in time: declined",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence proves: the steps, and where they led.

    ``ended_by``: who canceled or voided, the server for its operator; None: nobody, or time.
    """

    payment: str
    status: Status
    currency: str
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    ended_by: Role | None
    steps: tuple[Step, ...]


def verify_document(document: bytes, trusted_server: str | None = None) -> Verdict:
    """Verify an evidence file. ``trusted_server``: thumbprint of the server's signing key, known
    from elsewhere; None takes the file's word for it, and a step says so. Raises EvidenceError."""
    return verify_evidence(read(document), trusted_server)


def verify_evidence(evidence: Evidence, trusted_server: str | None = None) -> Verdict:
    """``verify_document`` for what was read already. Raises EvidenceError."""
    parties, steps = meet(evidence, trusted_server)
    walk = _Walk(parties, evidence.payment, steps)
    for position, compact in enumerate(evidence.statements, start=1):
        try:
            walk.take(compact)
        except CodedError as error:
            place = f"statement {position} ({walk.subject or 'unreadable'})"
            raise EvidenceError(place, error.detail) from None
    return walk.verdict()


class _Walk:
    """The life of one payment, as far as the statements taken so far prove it."""

    def __init__(self, parties: Parties, payment: str, steps: list[Step]) -> None:
        self._parties = parties
        self._payment = payment
        self._steps = steps
        self._status = INITIAL
        self._authorized_minor = 0
        self._captured_minor = 0
        self._refunded_minor = 0
        self._refunds_minor: dict[str, int] = {}
        self._cancels: dict[str, Role] = {}
        self._ended_by: Role | None = None
        self._request: tuple[PaymentRequest, str] | None = None
        self._challenge: tuple[Challenge, str] | None = None
        self._asked_minor: dict[str, int] = {}
        self._causes: dict[str, type[Statement]] = {}
        self._ids: set[str] = set()
        self.subject = "unreadable"
        self._takers: dict[str, Callable[[str], Statement]] = {
            PaymentRequest.TYP: self._take_request,
            Challenge.TYP: self._take_challenge,
            Confirmation.TYP: self._take_confirmation,
            Capture.TYP: self._take_capture,
            Cancel.TYP: self._take_cancel,
            Refund.TYP: self._take_refund,
            Receipt.TYP: self._take_receipt,
        }

    def take(self, compact: str) -> None:
        """The next statement. Raises CodedError."""
        self.subject = "unreadable"
        typ = read_header(compact).typ
        if typ not in self._takers:
            raise StatementError(ErrorCode.STATEMENT_TYPE_WRONG, "it has no place in a payment")
        self.subject = typ.removesuffix("+jwt").replace("-", " ")
        statement = self._takers[typ](compact)
        self._causes[digest(compact)] = type(statement)

    def verdict(self) -> Verdict:
        request, _ = self._opened()
        return Verdict(
            payment=self._payment,
            status=self._status,
            currency=request.amount.currency,
            authorized_minor=self._authorized_minor,
            captured_minor=self._captured_minor,
            refunded_minor=self._refunded_minor,
            ended_by=self._ended_by,
            steps=tuple(self._steps),
        )

    def _take_request(self, compact: str) -> PaymentRequest:
        demand(self._request is None, "a payment has one request")
        request = self._signed_by(Role.TERMINAL, compact, PaymentRequest)
        self._request = (request, compact)
        self._say(
            Role.TERMINAL,
            f"Terminal {short(self._parties.terminal.kid)} asked for {request.amount} at lane"
            f" “{request.lane}”, reference {request.reference}.",
        )
        return request

    def _take_challenge(self, compact: str) -> Challenge:
        request, request_compact = self._opened()
        demand(self._challenge is None, "a payment has one challenge")
        challenge = self._signed_by(
            Role.SERVER, compact, Challenge, audience=self._parties.jack.kid
        )
        check_challenge(request, request_compact, challenge)
        demand(challenge.phone == self._parties.phone.kid, "it is for a phone that is not paired")
        self._challenge = (challenge, compact)
        self._say(
            Role.SERVER,
            f"The server challenged that jack and phone for the same amount, payable to"
            f" “{challenge.merchant.name}”; the merchant {challenge.presence}s presence.",
        )
        return challenge

    def _take_confirmation(self, compact: str) -> Confirmation:
        challenge, challenge_compact = self._challenged()
        confirmation = self._signed_by(Role.PHONE, compact, Confirmation)
        check_confirmation(challenge, challenge_compact, confirmation)
        skew_s = MAX_CLOCK_SKEW_S
        in_time = challenge.iat - skew_s <= confirmation.iat < challenge.exp + skew_s
        demand(in_time, "it was not signed within the lifetime of the challenge")
        approved = confirmation.decision is Decision.APPROVE
        event = Event.CONFIRM if approved else Event.DECLINE
        self._status = advance(self._status, event, challenge.capture)
        present = self._take_auth_code(confirmation)
        missing = approved and not present
        required = challenge.presence is Presence.REQUIRE
        unasked = confirmation.decided_by is DecidedBy.POLICY
        demand(not (missing and required), "approved without the presence that is required")
        demand(not (missing and unasked), "approved by policy without proof of presence")
        decided = _DECIDED[confirmation.decision, confirmation.decided_by]
        self._say(Role.PHONE, f"Phone {short(self._parties.phone.kid)}: {decided}.")
        return confirmation

    def _take_auth_code(self, confirmation: Confirmation) -> bool:
        """The auth code inside the confirmation; whether it proves presence."""
        challenge, challenge_compact = self._challenged()
        compact = confirmation.auth_code
        if compact is None:
            return False
        auth_code = self._signed_by(Role.JACK, compact, AuthCode)
        check_auth_code(challenge, challenge_compact, auth_code)
        demand(auth_code.epoch == self._parties.epoch, "the auth code is of another pairing")
        self._say(
            Role.JACK,
            f"Jack {short(self._parties.jack.kid)} gave its auth code number {auth_code.counter}"
            " for this challenge and this phone.",
        )
        present = presence_proven(challenge, auth_code)
        if present:
            self._say(Role.JACK, f"The jack heard the nonce of lane “{challenge.lane}”.")
        else:
            text = f"The jack did NOT hear lane “{challenge.lane}”: nothing shows it was there."
            self._say(Role.JACK, text, warning=True)
        return present

    def _take_capture(self, compact: str) -> Capture:
        capture = self._signed_by(Role.TERMINAL, compact, Capture)
        request = self._continue_request(capture.prev)
        demand(self._status is Status.AUTHORIZED, "there is no hold to capture")
        demand(capture.amount.currency == request.amount.currency, "it has another currency")
        check_capture(self._authorized_minor, capture.amount.value)
        self._asked_minor[digest(compact)] = capture.amount.value
        held = format_minor(self._authorized_minor, request.amount.currency)
        self._say(
            Role.TERMINAL,
            f"The terminal asked to capture {capture.amount} of the {held} that are held.",
        )
        return capture

    def _take_cancel(self, compact: str) -> Cancel:
        role = self._orderer(compact)
        cancel = self._signed_by(role, compact, Cancel)
        self._continue_request(cancel.prev)
        open_states = (Status.PENDING, Status.AUTHORIZED)
        demand(self._status in open_states, f"a payment that is {self._status} has no cancel")
        self._cancels[digest(compact)] = role
        self._say(role, f"{_ORDERERS[role]} cancelled.")
        return cancel

    def _take_refund(self, compact: str) -> Refund:
        role = self._orderer(compact)
        refund = self._signed_by(role, compact, Refund)
        request = self._continue_request(refund.prev)
        demand(self._status is Status.CAPTURED, "nothing was captured that could be given back")
        demand(refund.amount.currency == request.amount.currency, "it has another currency")
        check_refund(self._captured_minor, self._refunded_minor, refund.amount.value)
        self._refunds_minor[digest(compact)] = refund.amount.value
        taken = format_minor(self._captured_minor, request.amount.currency)
        text = f"asked to give {refund.amount} of the {taken} back, reference {refund.reference}."
        self._say(role, f"{_ORDERERS[role]} {text}")
        return refund

    def _orderer(self, compact: str) -> Role:
        """Who signs an order: the terminal, or the server for its operator."""
        by_server = self._parties.server.holds(read_header(compact).kid)
        return Role.SERVER if by_server else Role.TERMINAL

    def _take_receipt(self, compact: str) -> Receipt:
        receipt = self._signed_by(
            Role.SERVER, compact, Receipt, audience=self._parties.terminal.kid
        )
        cause = self._causes.get(receipt.prev)
        demand(cause is not None, "it answers a statement that is not here")
        demand(cause in CAUSES.get(receipt.status, ()), "it answers the wrong kind of statement")
        if cause is Refund:
            self._check_given_back(receipt)
        else:
            self._follow(receipt.status)
            self._check_figures(receipt)
        self._authorized_minor = receipt.authorized_minor
        self._captured_minor = receipt.captured_minor
        self._refunded_minor = receipt.refunded_minor
        self._ended_by = self._cancels.get(receipt.prev)
        self._say(Role.SERVER, f"The server's receipt: {_told(receipt)}.")
        return receipt

    def _follow(self, status: Status) -> None:
        """Step to ``status`` as the life cycle allows. A decline is known before its receipt."""
        if self._status is status is Status.DECLINED:
            return
        request, _ = self._opened()
        events = [
            e for (state, e), to in TRANSITIONS.items() if (state, to) == (self._status, status)
        ]
        demand(bool(events), f"a payment that is {self._status} does not become {status}")
        self._status = advance(self._status, events[0], request.capture)

    def _check_figures(self, receipt: Receipt) -> None:
        request, _ = self._opened()
        demand(receipt.currency == request.amount.currency, "it has another currency")
        agreed_minor = self._authorized_minor or request.amount.value
        demand(receipt.authorized_minor <= agreed_minor, "more is authorised than was agreed")
        demand(receipt.captured_minor <= receipt.authorized_minor, "more is taken than authorised")
        demand(receipt.refunded_minor == 0, "something is given back that nobody asked for")
        taken = receipt.status is Status.CAPTURED
        demand(taken == (receipt.captured_minor > 0), "what is taken does not fit the status")
        held = receipt.status in (Status.AUTHORIZED, Status.CAPTURED, Status.VOIDED)
        demand(held == (receipt.authorized_minor > 0), "what is held does not fit the status")
        asked_minor = self._asked_minor.get(receipt.prev, receipt.captured_minor)
        demand(receipt.captured_minor == asked_minor, "another amount was asked for")

    def _check_given_back(self, receipt: Receipt) -> None:
        """The receipt of a refund: once for each, all else as before, and no more than taken."""
        request, _ = self._opened()
        demand(self._status is receipt.status, "a refund does not change the status")
        amount_minor = self._refunds_minor.pop(receipt.prev, None)
        demand(amount_minor is not None, "the refund was answered before")
        told = (receipt.currency, receipt.authorized_minor, receipt.captured_minor)
        before = (request.amount.currency, self._authorized_minor, self._captured_minor)
        demand(told == before, "a refund changes nothing but what is given back")
        given_back_minor = self._refunded_minor + (amount_minor or 0)
        demand(receipt.refunded_minor == given_back_minor, "another amount was to be given back")
        check_refund(self._captured_minor, self._refunded_minor, amount_minor or 0)

    def _signed_by(
        self, role: Role, compact: str, model: type[S], *, audience: str | None = None
    ) -> S:
        """Verify: by this party, for ``audience`` (the server), about this payment, not used."""
        server_id = self._parties.server_id
        audience = audience or server_id
        if role is Role.SERVER:
            signer, statement = (
                server_id,
                self._parties.server.verify(compact, model, audience=audience),
            )
        else:
            key: VerifyingKey = getattr(self._parties, role.value)
            signer, statement = key.kid, verify(compact, model, key, audience=audience)
        claims = statement.claims()
        demand(claims["iss"] == signer, f"it does not come from the {role}")
        demand(claims["sub"] == self._payment, "it is about another payment")
        demand(claims["jti"] not in self._ids, "its id was used before")
        self._ids.add(str(claims["jti"]))
        return statement

    def _opened(self) -> tuple[PaymentRequest, str]:
        if self._request is None:
            raise StatementError(ErrorCode.CHAIN_BROKEN, "there is no payment request before it")
        return self._request

    def _challenged(self) -> tuple[Challenge, str]:
        if self._challenge is None:
            raise StatementError(ErrorCode.CHAIN_BROKEN, "there is no challenge before it")
        return self._challenge

    def _continue_request(self, prev: str) -> PaymentRequest:
        request, compact = self._opened()
        demand(prev == digest(compact), "it names another payment request")
        return request

    def _say(self, role: Role, text: str, *, warning: bool = False) -> None:
        kid = self._parties.kid_of(role)
        self._steps.append(Step(self.subject, role, kid, text, warning))


def _told(receipt: Receipt) -> str:
    """The outcome in words."""
    match receipt.status:
        case Status.CAPTURED:
            taken = format_minor(receipt.captured_minor, receipt.currency)
            held = format_minor(receipt.authorized_minor, receipt.currency)
            back = format_minor(receipt.refunded_minor, receipt.currency)
            given_back = f", {back} given back" if receipt.refunded_minor else ""
            return f"{taken} {receipt.currency} captured of {held} authorised{given_back}"
        case Status.AUTHORIZED:
            held = format_minor(receipt.authorized_minor, receipt.currency)
            return f"{held} {receipt.currency} held"
        case status:
            return f"{status}, nothing taken"
