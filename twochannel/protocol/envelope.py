"""The one envelope of all statements: compact JWS, ES256, explicit type (RFC 7515, 8725).

Header: exactly ``alg`` ("ES256"), ``kid`` (thumbprint of the signing key) and ``typ``. Nothing
of it is believed but the ``kid``, and that only to look the key up; ``alg`` and ``typ`` are
what the verifier demands.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, TypeVar

import jwt
from jwt.algorithms import ECAlgorithm
from pydantic import BaseModel, ConfigDict, ValidationError

from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.keys import Signer, VerifyingKey
from twochannel.protocol.limits import MAX_CLOCK_SKEW_S, MAX_STATEMENT_BYTES
from twochannel.protocol.wire import (
    base64url,
    compact_json,
    from_base64url,
    malformed,
    parse_object,
)

ALGORITHM: Final = "ES256"
_HEADER_MEMBERS: Final = {"alg", "kid", "typ"}


class _HeldKeyES256(ECAlgorithm):
    """ES256 whose private half is a ``Signer``, so that it may stay in a secure element."""

    def __init__(self) -> None:
        super().__init__(ECAlgorithm.SHA256)

    def prepare_key(self, key: Any) -> Any:
        return key

    def sign(self, msg: bytes, key: Any) -> bytes:
        signature: bytes = key.sign(msg)
        return signature


_ES256: Final = _HeldKeyES256()


def _jws() -> jwt.PyJWS:
    jws = jwt.PyJWS(algorithms=[])
    jws.register_algorithm(ALGORITHM, _ES256)
    return jws


_JWS: Final = _jws()


class Statement(BaseModel):
    """What every signed statement has. Frozen; unknown claims and loose types are refused.

    ``iss``: id of the signer. ``jti``: id of this statement, used once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    TYP: ClassVar[str]

    @classmethod
    def from_claims(cls, claims: dict[str, object]) -> Self:
        """Validate claims. Raises StatementError (``claim_invalid``) naming the first bad claim."""
        try:
            return cls.model_validate(claims)
        except ValidationError as error:
            raise StatementError(ErrorCode.CLAIM_INVALID, _first_problem(error)) from None

    def claims(self) -> dict[str, object]:
        return self.model_dump(mode="json")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    # A peer may choose the names of unknown claims: repeat only a short and plain piece of them.
    plain = "".join(c for c in where[:60] if c.isascii() and (c.isalnum() or c in "._-"))
    return f"claim {plain or '(whole)'}: {problem['type']}"


S = TypeVar("S", bound=Statement)


@dataclass(frozen=True, slots=True)
class Header:
    """The unverified header: ``kid`` to look a key up, ``typ`` to word an error."""

    kid: str
    typ: str


@dataclass(frozen=True, slots=True)
class _Parts:
    """A compact JWS taken apart, nothing verified. ``signed``: what the signature is over."""

    header: Header
    payload: bytes
    signed: bytes
    signature: bytes


def digest(compact: str) -> str:
    """The hash by which a later statement names this one: base64url SHA-256 of its text."""
    return base64url(hashlib.sha256(compact.encode("ascii")).digest())


def sign(statement: Statement, signer: Signer) -> str:
    """The statement as compact JWS. The same statement and key give the signer's own bytes."""
    return _JWS.encode(
        compact_json(statement.claims()),
        signer,  # type: ignore[arg-type]  # _HeldKeyES256 takes it as it is
        ALGORITHM,
        headers={"alg": ALGORITHM, "kid": signer.key.kid, "typ": statement.TYP},
        sort_headers=True,
    )


def _take_apart(compact: str) -> _Parts:
    """Check size, shape and header without any key. Raises StatementError."""
    if len(compact) > MAX_STATEMENT_BYTES:
        raise StatementError(ErrorCode.MESSAGE_TOO_LARGE)
    parts = compact.split(".")
    if len(parts) != 3:
        raise malformed("a statement has three parts")
    header, payload, signature = (from_base64url(part) for part in parts)
    members = parse_object(header)
    if set(members) != _HEADER_MEMBERS or not all(isinstance(v, str) for v in members.values()):
        raise malformed("the header has exactly alg, kid and typ")
    if members["alg"] != ALGORITHM or len(signature) != 64:
        raise StatementError(ErrorCode.SIGNATURE_INVALID, "statements are signed with ES256")
    signed = compact.rpartition(".")[0].encode("ascii")
    return _Parts(Header(str(members["kid"]), str(members["typ"])), payload, signed, signature)


def read_header(compact: str) -> Header:
    """The header, for its ``kid`` or to word an error. Raises StatementError."""
    return _take_apart(compact).header


def unverified_claims(compact: str) -> dict[str, object]:
    """Claims before any verification: only to find the key that the statement is checked with."""
    return parse_object(_take_apart(compact).payload)


def verify(
    compact: str,
    model: type[S],
    key: VerifyingKey,
    *,
    audience: str | None = None,
    now_s: int | None = None,
) -> S:
    """Verify ``compact`` as a ``model`` signed by ``key``; return its claims.

    ``audience``: required ``aud``; None for statements without one. ``now_s``: Unix seconds for
    the time claims; None where time is judged elsewhere (offline evidence, jacks).
    Raises StatementError; never returns a statement that is not wholly valid.
    """
    parts = _take_apart(compact)
    if parts.header.typ != model.TYP:
        raise StatementError(ErrorCode.STATEMENT_TYPE_WRONG, f"expected {model.TYP}")
    if parts.header.kid != key.kid:
        raise StatementError(ErrorCode.KEY_UNKNOWN)
    # The algorithm alone: PyJWS would take the text apart again, less strictly than it was here.
    if not _ES256.verify(parts.signed, key.public_key, parts.signature):
        raise StatementError(ErrorCode.SIGNATURE_INVALID)
    statement = model.from_claims(parse_object(parts.payload))
    if audience is not None and getattr(statement, "aud", None) != audience:
        raise StatementError(ErrorCode.AUDIENCE_WRONG)
    if now_s is not None:
        check_time(statement, now_s)
    return statement


def check_time(statement: Statement, now_s: int) -> None:
    """Judge ``iat`` and ``exp``. Raises StatementError: ``clock_skew`` or ``statement_expired``.

    ``clock_skew`` comes first: a device whose clock is wrong must learn that, not be told that
    a statement it has just made is old.
    """
    issued, expires = getattr(statement, "iat", None), getattr(statement, "exp", None)
    if issued is None or expires is None:
        raise TypeError(f"{statement.TYP} has no time claims")
    if abs(now_s - issued) > MAX_CLOCK_SKEW_S:
        raise StatementError(ErrorCode.CLOCK_SKEW)
    if now_s >= expires:
        raise StatementError(ErrorCode.STATEMENT_EXPIRED)
