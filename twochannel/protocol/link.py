"""The second link: what phone and jack say over GATT (docs/protocol.md, Phone and jack over GATT).

GATT carries packets. On them lie *records*, each two bytes of length and its body. The first record
of each side is its hello, in clear; every later one is a message, sealed with AES-256-GCM under a
key of its direction. The keys come from two fresh P-256 points and from a secret that only the
right peer has: the pairing's link key, or, while pairing, the private half of the jack's beacon
key. A record that was changed, left out, repeated or moved does not open.

Whatever is malformed is a SessionError. The session is over then, and so is the connection.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twochannel.protocol.errors import SessionError
from twochannel.protocol.keys import VerifyingKey, jwk_of
from twochannel.protocol.limits import MAX_RECORD_BYTES, MAX_STATEMENT_BYTES

_LENGTH_BYTES: Final = 2
POINT_BYTES: Final = 65
#: First byte of a jack's hello, first version.
JACK_VERSION: Final = 0x01
#: Of a phone's hello, and of a jack's without identity.
HELLO_BYTES: Final = 1 + POINT_BYTES
MAX_HELLO_BYTES: Final = HELLO_BYTES + MAX_STATEMENT_BYTES

_PHONE_KEY_INFO: Final = b"cigarjack link v1 phone"
_JACK_KEY_INFO: Final = b"cigarjack link v1 jack"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,7}) (/[a-z0-9/-]{1,63})\n")
_STATUS_LINE: Final = re.compile(rb"([1-5][0-9]{2})\n")


class Mode(IntEnum):
    """First byte of a phone's hello, first version: what the session's second secret is."""

    PAIRED = 0x01
    PAIRING = 0x02


@dataclass(frozen=True, slots=True)
class PhoneHello:
    """``key``: a fresh one, of this session alone."""

    mode: Mode
    key: VerifyingKey

    def encode(self) -> bytes:
        """66 bytes: mode, uncompressed point."""
        return bytes([self.mode]) + self.key.point

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises SessionError."""
        if data[:1] not in (b"\x01", b"\x02"):
            raise SessionError("the phone's hello is of another version")
        return cls(Mode(data[0]), _point(data[1:]))


@dataclass(frozen=True, slots=True)
class JackHello:
    """``key``: a fresh one. ``identity``: the identity statement, for a phone that pairs."""

    key: VerifyingKey
    identity: str | None = None

    def encode(self) -> bytes:
        """Version, uncompressed point, and the identity's ASCII if there is one."""
        return bytes([JACK_VERSION]) + self.key.point + (self.identity or "").encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises SessionError. The identity, as yet unverified, is ASCII and nothing more."""
        if data[:1] != bytes([JACK_VERSION]):
            raise SessionError("the jack's hello is of another version")
        if len(data) > MAX_HELLO_BYTES:
            raise SessionError("the jack's hello is too long")
        try:
            identity = data[HELLO_BYTES:].decode("ascii")
        except UnicodeDecodeError:
            raise SessionError("the jack's identity is not ASCII") from None
        return cls(_point(data[1:HELLO_BYTES]), identity or None)


def _point(data: bytes) -> VerifyingKey:
    try:
        if len(data) != POINT_BYTES:
            raise ValueError("uncompressed points are 65 bytes")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError:
        raise SessionError("the hello holds no point of P-256") from None
    return verifying_key(key)


def verifying_key(key: ec.EllipticCurvePublicKey) -> VerifyingKey:
    """A P-256 key of the library as one of the protocol. ValueError for another curve."""
    return VerifyingKey.from_jwk(jwk_of(key))


def agreed(own: ec.EllipticCurvePrivateKey, peer: VerifyingKey) -> bytes:
    """The ECDH secret of a session key with another key: the x coordinate, 32 bytes."""
    return own.exchange(ec.ECDH(), peer.public_key)


@dataclass(slots=True)
class Session:
    """The sealed half of a link. One for each connection and side; not for two tasks at once."""

    _sending: AESGCM = field(repr=False)
    _receiving: AESGCM = field(repr=False)
    _sent: int = 0
    _received: int = 0

    @classmethod
    def of_phone(cls, fresh: bytes, second: bytes, hellos: tuple[bytes, bytes]) -> Self:
        """The phone's side. ``fresh``: what the session keys agree on. ``second``: see ``Mode``.

        ``hellos``: the phone's and the jack's, as they went over the link.
        """
        phone, jack = _keys(fresh + second, hellos)
        return cls(AESGCM(phone), AESGCM(jack))

    @classmethod
    def of_jack(cls, fresh: bytes, second: bytes, hellos: tuple[bytes, bytes]) -> Self:
        """The jack's side; see ``of_phone``."""
        phone, jack = _keys(fresh + second, hellos)
        return cls(AESGCM(jack), AESGCM(phone))

    def seal(self, message: bytes) -> bytes:
        """The body of the next record of this side."""
        body = self._sending.encrypt(_nonce(self._sent), message, None)
        self._sent += 1
        return body

    def open(self, body: bytes) -> bytes:
        """The message in the next record of the other side. Raises SessionError."""
        try:
            message = self._receiving.decrypt(_nonce(self._received), body, None)
        except InvalidTag:
            raise SessionError("a record was not sealed for this session") from None
        self._received += 1
        return message


def _keys(secrets: bytes, hellos: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """The phone's and the jack's sealing keys."""
    salt = hashlib.sha256(b"".join(hellos)).digest()
    phone, jack = (
        HKDF(SHA256(), _KEY_BYTES, salt, info).derive(secrets)
        for info in (_PHONE_KEY_INFO, _JACK_KEY_INFO)
    )
    return phone, jack


def _nonce(count: int) -> bytes:
    return count.to_bytes(_NONCE_BYTES)


def packets(body: bytes, limit_bytes: int) -> Iterator[bytes]:
    """A record with this body, cut into packets of at most ``limit_bytes``.

    ValueError for a body that is empty or longer than ``MAX_RECORD_BYTES``.
    """
    if not 0 < len(body) <= MAX_RECORD_BYTES:
        raise ValueError(f"a record holds 1 to {MAX_RECORD_BYTES} bytes, not {len(body)}")
    record = len(body).to_bytes(_LENGTH_BYTES) + body
    for begin in range(0, len(record), limit_bytes):
        yield record[begin : begin + limit_bytes]


class Reassembler:
    """Puts packets together to the bodies of records, each of at most ``limit_bytes``.

    It never holds more than one record and one packet. The limit may change between two packets.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._waiting = bytearray()

    @property
    def empty(self) -> bool:
        """Whether every record that was begun is whole."""
        return not self._waiting

    def take(self, packet: bytes) -> list[bytes]:
        """The bodies that ``packet`` completes, in order. Raises SessionError."""
        self._waiting += packet
        bodies = []
        while len(self._waiting) >= _LENGTH_BYTES:
            length = int.from_bytes(self._waiting[:_LENGTH_BYTES])
            if not 0 < length <= self.limit_bytes:
                raise SessionError(f"a record of {length} bytes is none that belongs here")
            end = _LENGTH_BYTES + length
            if len(self._waiting) < end:
                break
            bodies.append(bytes(self._waiting[_LENGTH_BYTES:end]))
            del self._waiting[:end]
        return bodies


@dataclass(frozen=True, slots=True)
class Request:
    """What the phone asks. ``body``: a statement, or empty."""

    method: str
    path: str
    body: bytes = b""

    def encode(self) -> bytes:
        return f"{self.method} {self.path}\n".encode("ascii") + self.body

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Raises SessionError."""
        line = _REQUEST_LINE.match(message)
        if line is None:
            raise SessionError("a request begins with its method and path")
        return cls(line[1].decode(), line[2].decode(), message[line.end() :])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the jack answers. ``status``: of HTTP. ``body``: statement, JSON, or empty."""

    status: int
    body: bytes = b""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status <= 299

    def encode(self) -> bytes:
        return b"%d\n" % self.status + self.body

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Raises SessionError."""
        line = _STATUS_LINE.match(message)
        if line is None:
            raise SessionError("an answer begins with its status")
        return cls(int(line[1]), message[line.end() :])
