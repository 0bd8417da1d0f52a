"""The statements of a payment as a person reads them: decoded, linked, without secrets. Pure.

Nothing is verified here; the report shows what ``cigarjack-server evidence verify`` said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twochannel.protocol.envelope import digest, read_header, unverified_claims
from twochannel.protocol.statements import (
    AuthCode,
    Cancel,
    Capture,
    Challenge,
    Confirmation,
    PaymentRequest,
    Receipt,
    Refund,
)

SIGNERS: Final = {
    PaymentRequest.TYP: "terminal",
    Challenge.TYP: "server",
    AuthCode.TYP: "jack",
    Confirmation.TYP: "phone",
    Receipt.TYP: "server",
    Capture.TYP: "terminal",
    Cancel.TYP: "terminal",
    Refund.TYP: "terminal",
}
_SHORT: Final = 8
#: Claims that are long and random: their beginning is enough to tell them apart.
_ABRIDGED: Final = {
    "iss", "aud", "sub", "jti", "prev", "lane_digest", "nonce", "lane_nonce", "phone",
    "payment_method",
}  # fmt: skip
_CODE_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class StatementView:
    """One statement. ``prev`` is the hash that it names, ``answers`` the number of its holder."""

    number: int
    typ: str
    signer: str
    kid: str
    hash: str
    prev: str
    answers: int | None
    claims: Sequence[tuple[str, str]]


def view(statements: Sequence[str]) -> list[StatementView]:
    """The statements in order, the auth code taken out of its confirmation to stand before it.

    Raises StatementError if one cannot be read.
    """
    numbers: dict[str, int] = {}
    views = []
    for number, compact in enumerate(_unfolded(statements), start=1):
        views.append(_view(number, compact, numbers))
        numbers[digest(compact)] = number
    return views


def lane_digest(statements: Sequence[str]) -> str:
    """The digest of the lane nonce that the payment request names; empty without a request."""
    for compact in statements:
        if read_header(compact).typ == PaymentRequest.TYP:
            return str(unverified_claims(compact).get("lane_digest", ""))
    return ""


def _unfolded(statements: Sequence[str]) -> list[str]:
    unfolded: list[str] = []
    for compact in statements:
        if read_header(compact).typ == Confirmation.TYP:
            auth_code = unverified_claims(compact).get("auth_code")
            if isinstance(auth_code, str) and auth_code not in statements:
                unfolded.append(auth_code)
        unfolded.append(compact)
    return unfolded


def _view(number: int, compact: str, numbers: Mapping[str, int]) -> StatementView:
    header, claims = read_header(compact), unverified_claims(compact)
    prev = str(claims.get("prev", ""))
    return StatementView(
        number=number,
        typ=header.typ.removesuffix("+jwt"),
        signer=SIGNERS.get(header.typ, "server"),
        kid=header.kid[:_SHORT],
        hash=digest(compact)[:_SHORT],
        prev=prev[:_SHORT],
        answers=numbers.get(prev),
        claims=[(name, shown(name, value)) for name, value in claims.items()],
    )


def shown(name: str, value: Any) -> str:
    """A claim as text: whole beacon codes and auth codes never appear, long ids abridged."""
    if name == "code":
        return f"{str(value)[:_CODE_SHOWN]}…"
    if value is None:
        return "none"
    if name == "auth_code":
        return "the auth code above"
    if name in _ABRIDGED:
        return f"{str(value)[:_SHORT]}…"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(key, part)}" for key, part in value.items())
    return str(value)
