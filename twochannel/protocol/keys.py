"""Public keys: P-256 JWKs, their RFC 7638 thumbprints, and what a private key must offer.

Every signing key of the method is ECDSA on P-256 (ES256). A key's ``kid`` is its thumbprint,
43 characters of base64url, and it is also the id of the jack, phone or terminal that holds it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.wire import base64url, compact_json, from_base64url

COORDINATE_BYTES = 32
#: SHA-256 in base64url without padding.
Thumbprint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
_Coordinate = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]


class Jwk(BaseModel):
    """A public P-256 key as RFC 7517 JWK with the four members that its thumbprint covers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    crv: Literal["P-256"] = "P-256"
    kty: Literal["EC"] = "EC"
    x: _Coordinate
    y: _Coordinate

    def thumbprint(self) -> str:
        """RFC 7638: SHA-256 of the required members in lexicographic order."""
        members: dict[str, object] = {"crv": self.crv, "kty": self.kty, "x": self.x, "y": self.y}
        return base64url(hashlib.sha256(compact_json(members)).digest())


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key that is known to lie on P-256, with its thumbprint."""

    jwk: Jwk
    kid: str
    public_key: ec.EllipticCurvePublicKey

    @classmethod
    def from_jwk(cls, jwk: Jwk) -> VerifyingKey:
        """Check that the point is on the curve. Raises StatementError (``key_invalid``)."""
        try:
            numbers = ec.EllipticCurvePublicNumbers(
                int.from_bytes(from_base64url(jwk.x)),
                int.from_bytes(from_base64url(jwk.y)),
                ec.SECP256R1(),
            )
            public_key = numbers.public_key()
        except (ValueError, StatementError):
            raise StatementError(ErrorCode.KEY_INVALID) from None
        return cls(jwk, jwk.thumbprint(), public_key)

    @classmethod
    def from_members(cls, members: object) -> VerifyingKey:
        """Read a JWK that came as JSON. Raises StatementError (``key_invalid``)."""
        try:
            jwk = Jwk.model_validate(members)
        except ValidationError:
            raise StatementError(ErrorCode.KEY_INVALID) from None
        return cls.from_jwk(jwk)

    @property
    def point(self) -> bytes:
        """The uncompressed X9.62 point, 65 bytes."""
        return b"\x04" + from_base64url(self.jwk.x) + from_base64url(self.jwk.y)


def jwk_of(public_key: ec.EllipticCurvePublicKey) -> Jwk:
    """The JWK of a P-256 key. A key on another curve is a ValueError."""
    if not isinstance(public_key.curve, ec.SECP256R1):
        raise ValueError("the key is not on P-256")
    numbers = public_key.public_numbers()
    return Jwk(
        x=base64url(numbers.x.to_bytes(COORDINATE_BYTES)),
        y=base64url(numbers.y.to_bytes(COORDINATE_BYTES)),
    )


class Signer(Protocol):
    """A private signing key, wherever it lives: a file, a secure element, a TPM."""

    @property
    def key(self) -> VerifyingKey: ...

    def sign(self, message: bytes) -> bytes:
        """ES256: 64 bytes, r and s each 32 bytes big-endian (RFC 7518 section 3.4)."""
        ...


class Agreement(Protocol):
    """A private key-agreement key (ECDH on P-256)."""

    @property
    def key(self) -> VerifyingKey: ...

    def exchange(self, peer: VerifyingKey) -> bytes:
        """The shared secret: the x coordinate, 32 bytes."""
        ...
