"""What can go wrong, by what the caller does about it.

::

    ProtocolError
    +-- FrameError        an advert is not one of ours: drop it and count it
    +-- SessionError      what came over GATT is not of this session: end the connection
    +-- StatementError    a statement or message is refused: answer its ``code``
    +-- PaymentError      the payment cannot do that now: answer its ``code``
    +-- LimitError        not now: answer its ``code``, and when to come back

The value of an ``ErrorCode`` is the stable ``code`` of an RFC 9457 problem document. Codes are
never renamed; ``docs/protocol.md`` lists them from ``PROBLEMS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ErrorCode(StrEnum):
    """Wire codes, in groups: message, signature, time, trust, payment, jack, limits, service."""

    MESSAGE_MALFORMED = "message_malformed"
    MESSAGE_TOO_LARGE = "message_too_large"
    MEDIA_TYPE_UNSUPPORTED = "media_type_unsupported"
    STATEMENT_TYPE_WRONG = "statement_type_wrong"
    CLAIM_INVALID = "claim_invalid"
    CURRENCY_UNKNOWN = "currency_unknown"

    KEY_INVALID = "key_invalid"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    AUDIENCE_WRONG = "audience_wrong"
    ISSUER_WRONG = "issuer_wrong"
    CHAIN_BROKEN = "chain_broken"

    CLOCK_SKEW = "clock_skew"
    STATEMENT_EXPIRED = "statement_expired"
    STATEMENT_REPLAYED = "statement_replayed"

    PROOF_REQUIRED = "proof_required"
    TOKEN_REQUIRED = "token_required"  # noqa: S105  # a code, no secret
    ENROLMENT_CODE_REFUSED = "enrolment_code_refused"
    PAIRING_CLOSED = "pairing_closed"
    CLAIM_REFUSED = "claim_refused"
    EPOCH_OUTDATED = "epoch_outdated"
    DEVICE_REVOKED = "device_revoked"

    CODE_UNKNOWN = "code_unknown"
    PAYMENT_UNKNOWN = "payment_unknown"
    REFUND_UNKNOWN = "refund_unknown"
    PAYMENT_CONFLICT = "payment_conflict"
    PAYMENT_STATE = "payment_state"
    SETTLED_BY_OTHER_PHONE = "settled_by_other_phone"
    JACK_BUSY = "jack_busy"
    TERMINAL_BUSY = "terminal_busy"
    AMOUNT_EXCEEDED = "amount_exceeded"
    PRESENCE_MISSING = "presence_missing"
    COUNTER_REUSED = "counter_reused"
    PAYMENT_METHOD_UNKNOWN = "payment_method_unknown"
    PAYMENT_METHOD_NOT_COUPLED = "payment_method_not_coupled"
    PAYMENT_METHOD_REFUSED = "payment_method_refused"
    PROCESSOR_UNREACHABLE = "processor_unreachable"

    CHALLENGE_REFUSED = "challenge_refused"
    NONCE_UNKNOWN = "nonce_unknown"
    TIME_REFUSED = "time_refused"

    JACK_PROMPTED = "jack_prompted"
    TERMINAL_THROTTLED = "terminal_throttled"
    TOO_MANY_CODES = "too_many_codes"
    TOO_MANY_CONFIRMATIONS = "too_many_confirmations"
    TOO_MANY_ENROLMENTS = "too_many_enrolments"
    TOO_MANY_REQUESTS = "too_many_requests"

    NO_JACK_HEARD = "no_jack_heard"
    JACK_AMBIGUOUS = "jack_ambiguous"
    JACK_UNREACHABLE = "jack_unreachable"
    SERVER_UNREACHABLE = "server_unreachable"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_READY = "not_ready"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Problem:
    """HTTP status of a code, its title, and what the caller should do next."""

    status: int
    title: str
    next_step: str


PROBLEMS: Final[dict[ErrorCode, Problem]] = {
    ErrorCode.MESSAGE_MALFORMED: Problem(
        400, "The message cannot be read", "Correct the message; do not send it again as it is."
    ),
    ErrorCode.MESSAGE_TOO_LARGE: Problem(
        413, "The message is too large", "Keep statements under 8 KiB and bodies under 64 KiB."
    ),
    ErrorCode.MEDIA_TYPE_UNSUPPORTED: Problem(
        415, "The body has the wrong media type", "Send statements as application/jwt."
    ),
    ErrorCode.STATEMENT_TYPE_WRONG: Problem(
        400, "The statement is of another type", "Send the statement that this address expects."
    ),
    ErrorCode.CLAIM_INVALID: Problem(
        400, "A claim is missing or invalid", "Correct what is named, and send it anew."
    ),
    ErrorCode.CURRENCY_UNKNOWN: Problem(
        400, "The currency is not an active ISO 4217 code", "Use a currency code such as EUR."
    ),
    ErrorCode.KEY_INVALID: Problem(
        400, "The key is not a valid P-256 public key", "Send an EC JWK with a point on P-256."
    ),
    ErrorCode.KEY_UNKNOWN: Problem(
        401, "The key is not known here", "Enrol or pair the device again."
    ),
    ErrorCode.SIGNATURE_INVALID: Problem(
        401, "The signature does not verify", "Sign the exact bytes that you send."
    ),
    ErrorCode.AUDIENCE_WRONG: Problem(
        403, "The statement is addressed to someone else", "Send it to the party in aud."
    ),
    ErrorCode.ISSUER_WRONG: Problem(
        403, "The statement comes from the wrong party", "Let the party concerned sign it."
    ),
    ErrorCode.CHAIN_BROKEN: Problem(
        409, "The statement does not continue this payment", "Answer the statement you were given."
    ),
    ErrorCode.CLOCK_SKEW: Problem(
        401,
        "The issue time is too far from the server's",
        "Correct your offset from server_time_ms and sign again under the same payment id.",
    ),
    ErrorCode.STATEMENT_EXPIRED: Problem(
        410, "The statement has expired", "Start again with a fresh statement."
    ),
    ErrorCode.STATEMENT_REPLAYED: Problem(
        409, "The statement id was used before", "Use a fresh id for a new statement."
    ),
    ErrorCode.PROOF_REQUIRED: Problem(
        401,
        "The request needs a proof of the device's key",
        "Send Authorization: Bearer with a proof+jwt for this method and path.",
    ),
    ErrorCode.TOKEN_REQUIRED: Problem(
        401,
        "The request needs the till's token",
        "Send Authorization: Bearer with the token in the terminal's till.json.",
    ),
    ErrorCode.ENROLMENT_CODE_REFUSED: Problem(
        403, "The enrolment code is not valid", "Ask the operator for a new code."
    ),
    ErrorCode.PAIRING_CLOSED: Problem(
        403, "The pairing window is closed", "Run `cigarjack pair open` or press the button."
    ),
    ErrorCode.CLAIM_REFUSED: Problem(
        403,
        "The claim secret is not accepted",
        "Scan the label again; a locked label needs `cigarjack pair reset` at the jack.",
    ),
    ErrorCode.EPOCH_OUTDATED: Problem(
        409, "The pairing is no longer current", "Pair the phone with the jack again."
    ),
    ErrorCode.DEVICE_REVOKED: Problem(403, "The device has been revoked", "Ask the operator."),
    ErrorCode.CODE_UNKNOWN: Problem(
        404, "No jack can be charged under this code", "Listen again and use the newest code."
    ),
    ErrorCode.PAYMENT_UNKNOWN: Problem(404, "No such payment", "Check the payment id."),
    ErrorCode.REFUND_UNKNOWN: Problem(
        404, "No such refund", "Check the ids of payment and refund."
    ),
    ErrorCode.PAYMENT_CONFLICT: Problem(
        409,
        "The payment id was used for another request",
        "Use a fresh payment id; at a till, a fresh reference.",
    ),
    ErrorCode.PAYMENT_STATE: Problem(
        409, "The payment is in another state", "Read the payment and act on its status."
    ),
    ErrorCode.SETTLED_BY_OTHER_PHONE: Problem(
        409,
        "Another phone of this jack has decided on the payment",
        "Nothing is left to do; ask whoever has the other phone.",
    ),
    ErrorCode.JACK_BUSY: Problem(
        409, "The jack has an open payment", "Wait for that payment or cancel it."
    ),
    ErrorCode.TERMINAL_BUSY: Problem(
        409, "The terminal has an open payment", "Wait for that payment or cancel it."
    ),
    ErrorCode.AMOUNT_EXCEEDED: Problem(
        422,
        "The amount is above what was agreed",
        "Capture at most what is held; refund at most what was captured.",
    ),
    ErrorCode.PRESENCE_MISSING: Problem(
        422, "The jack did not hear this lane", "Let the car stand at the lane and try again."
    ),
    ErrorCode.COUNTER_REUSED: Problem(
        409, "The auth code's counter was used before", "Get a fresh auth code from the jack."
    ),
    ErrorCode.PAYMENT_METHOD_UNKNOWN: Problem(
        422, "The payment method is not known", "Add a payment method or choose another."
    ),
    ErrorCode.PAYMENT_METHOD_NOT_COUPLED: Problem(
        422,
        "The payment method is not coupled to this jack",
        "Choose one that is, or couple it with the jack at hand.",
    ),
    ErrorCode.PAYMENT_METHOD_REFUSED: Problem(
        422, "The processor does not take the payment method", "Add another card."
    ),
    ErrorCode.PROCESSOR_UNREACHABLE: Problem(
        503, "The card processor does not answer", "Send the same statement again in a moment."
    ),
    ErrorCode.CHALLENGE_REFUSED: Problem(
        409, "The jack has answered another challenge of this payment", "Start a new payment."
    ),
    ErrorCode.NONCE_UNKNOWN: Problem(
        409, "The time nonce is not the jack's last one", "Ask the jack for a nonce again."
    ),
    ErrorCode.TIME_REFUSED: Problem(
        409, "The time statement is not acceptable", "Fetch a fresh time statement and retry."
    ),
    ErrorCode.JACK_PROMPTED: Problem(
        429,
        "The owner of this jack was asked too often",
        "Wait as long as the answer says; let the owner come to the till.",
    ),
    ErrorCode.TERMINAL_THROTTLED: Problem(
        429,
        "Most of what this terminal asked for came to nothing",
        "Wait as long as the answer says; find out why owners decline.",
    ),
    ErrorCode.TOO_MANY_CODES: Problem(
        429,
        "The terminal has sent too many codes that nobody uses",
        "Wait as long as the answer says; send only codes that were heard.",
    ),
    ErrorCode.TOO_MANY_CONFIRMATIONS: Problem(
        429,
        "Too many confirmations of this phone were wrong",
        "Wait ten minutes; pair phone and jack again, or ask the operator.",
    ),
    ErrorCode.TOO_MANY_ENROLMENTS: Problem(
        429,
        "Too many wrong enrolment codes came from this address",
        "Wait as long as the answer says, then copy the code whole.",
    ),
    ErrorCode.TOO_MANY_REQUESTS: Problem(
        429, "The device asks too often", "Wait as long as the answer says."
    ),
    ErrorCode.NO_JACK_HEARD: Problem(
        404, "No jack is heard at this lane", "Check that the jack's light is on; move closer."
    ),
    ErrorCode.JACK_AMBIGUOUS: Problem(
        409, "Several jacks are equally near", "Let the attendant pick with --jack."
    ),
    ErrorCode.JACK_UNREACHABLE: Problem(
        504, "The jack cannot be reached", "Check Wi-Fi between phone and jack."
    ),
    ErrorCode.SERVER_UNREACHABLE: Problem(
        502, "The server cannot be reached", "Check the network; the payment is kept and resumed."
    ),
    ErrorCode.NOT_FOUND: Problem(404, "Nothing is at this address", "See the API's OpenAPI."),
    ErrorCode.METHOD_NOT_ALLOWED: Problem(
        405, "The address does not take this method", "See the API's OpenAPI."
    ),
    ErrorCode.NOT_READY: Problem(503, "The service is not ready", "Try again in a moment."),
    ErrorCode.INTERNAL_ERROR: Problem(
        500, "The service failed", "Try again with the same id; report it if it persists."
    ),
}


class ProtocolError(Exception):
    """Base of all errors of the protocol."""


class FrameError(ProtocolError):
    """The bytes of an advert are not a frame of ours: stay silent and count it."""


class SessionError(ProtocolError):
    """What came over a link is malformed or not sealed for it: the session is over."""


class CodedError(ProtocolError):
    """An error with a stable wire code. ``detail`` is one sentence for a person."""

    def __init__(self, code: ErrorCode, detail: str = "") -> None:
        self.code = code
        self.detail = detail or PROBLEMS[code].title
        super().__init__(f"{code.value}: {self.detail}")


class StatementError(CodedError):
    """A statement or message is refused as it is."""


class PaymentError(CodedError):
    """The payment cannot do what was asked, in the state that it is in."""


class LimitError(CodedError):
    """Too often, or too early. ``retry_after_s``: after so many seconds it may be tried again."""

    def __init__(self, code: ErrorCode, retry_after_s: int, detail: str = "") -> None:
        self.retry_after_s = max(1, retry_after_s)
        wait = f"{PROBLEMS[code].title}; try again in {self.retry_after_s} s"
        super().__init__(code, detail or wait)


def problem_document(code: ErrorCode, detail: str = "") -> dict[str, object]:
    """The RFC 9457 problem document of ``code``: type, title, status, detail, code, next_step."""
    problem = PROBLEMS[code]
    return {
        "type": f"urn:cigarjack:problem:{code.value}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail or problem.title,
        "code": code.value,
        "next_step": problem.next_step,
    }
