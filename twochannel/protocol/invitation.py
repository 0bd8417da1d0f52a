"""How phone and jack find each other before a link: the call, and the invitation.

Both are service data under a 128-bit UUID of ours, recognised by those who share a secret and by
nobody else (``docs/protocol.md``, Phone and jack over GATT).

A phone *calls* its jack, 13 bytes, non-connectable, as long as a legacy advert holds::

    0-3    Unix seconds, big-endian
    4-5    salt, random
    6-12   MAC: the first 7 bytes of HMAC-SHA256 over bytes 0-5 under the call key

A jack *invites*, 10 bytes, connectable, which leaves room for the 3 bytes of Flags that BlueZ puts
before them::

    0-3    salt, random
    4-9    MAC: the first 6 bytes of HMAC-SHA256 over bytes 0-3 under the invitation key

A MAC that somebody guesses costs a look and nothing more: who is there, the session shows.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twochannel.protocol.errors import FrameError
from twochannel.protocol.limits import MAX_CALL_SKEW_S

#: 6b1f7c50-8b0a-4e0b-9c0e-2f4d8a51e3c1 and …51-…: random version 4 UUIDs, like the link's own.
CALL_UUID: Final = 0x6B1F7C50_8B0A_4E0B_9C0E_2F4D8A51E3C1
INVITATION_UUID: Final = 0x6B1F7C51_8B0A_4E0B_9C0E_2F4D8A51E3C1

CALL_SALT_BYTES: Final = 2
CALL_MAC_BYTES: Final = 7
CALL_BYTES: Final = 4 + CALL_SALT_BYTES + CALL_MAC_BYTES
INVITATION_SALT_BYTES: Final = 4
INVITATION_MAC_BYTES: Final = 6
INVITATION_BYTES: Final = INVITATION_SALT_BYTES + INVITATION_MAC_BYTES
#: What four bytes of seconds hold, until 2106.
MAX_CALL_TIME_S: Final = 2**32 - 1

_CALL_INFO: Final = b"cigarjack call v1"
_INVITATION_INFO: Final = b"cigarjack invitation v1"
_PAIRING_INFO: Final = b"cigarjack pairing invitation v1"
_KEY_BYTES: Final = 32
_CALL = struct.Struct(f">I{CALL_SALT_BYTES}s{CALL_MAC_BYTES}s")


def call_key(link_key: bytes) -> bytes:
    """Of the calls of a pairing."""
    return _derived(link_key, _CALL_INFO)


def invitation_key(link_key: bytes) -> bytes:
    """Of a jack's invitations to its own phone."""
    return _derived(link_key, _INVITATION_INFO)


def pairing_invitation_key(jack: str) -> bytes:
    """Of a jack's invitations to pair. ``jack``: its id, which its label bears."""
    return _derived(jack.encode("ascii"), _PAIRING_INFO)


@dataclass(frozen=True, slots=True)
class Call:
    """A phone looks for its jack. ``time_s``: Unix seconds, as the server counts them."""

    time_s: int
    salt: bytes
    mac: bytes

    @classmethod
    def made(cls, key: bytes, time_s: int, salt: bytes) -> Self:
        """``salt``: 2 random bytes. ValueError for another length or a time beyond 2106."""
        _check_salt(salt, CALL_SALT_BYTES)
        if not 0 <= time_s <= MAX_CALL_TIME_S:
            raise ValueError("a call's time is of 32 bits")
        return cls(time_s, salt, _mac(key, _called(time_s, salt), CALL_MAC_BYTES))

    def encode(self) -> bytes:
        return _called(self.time_s, self.salt) + self.mac

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read service data heard under ``CALL_UUID``. Raises FrameError."""
        if len(data) != CALL_BYTES:
            raise FrameError(f"a call has {CALL_BYTES} bytes, not {len(data)}")
        return cls(*_CALL.unpack(data))

    def counts(self, key: bytes, now_s: int | None, newest_s: int) -> bool:
        """Whether the jack with this call key must come: the caller is its phone, and now.

        ``now_s``: its trusted time, or None. ``newest_s``: of the newest call that counted. A call
        that was recorded counts no more once it was heard, or after 30 s.
        """
        genuine = hmac.compare_digest(
            self.mac, _mac(key, _called(self.time_s, self.salt), CALL_MAC_BYTES)
        )
        if not genuine or now_s is None:
            return False
        return self.time_s > newest_s and abs(self.time_s - now_s) <= MAX_CALL_SKEW_S


@dataclass(frozen=True, slots=True)
class Invitation:
    """A jack takes connections."""

    salt: bytes
    mac: bytes

    @classmethod
    def made(cls, key: bytes, salt: bytes) -> Self:
        """``salt``: 4 random bytes, ValueError for another length."""
        _check_salt(salt, INVITATION_SALT_BYTES)
        return cls(salt, _mac(key, salt, INVITATION_MAC_BYTES))

    def encode(self) -> bytes:
        return self.salt + self.mac

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read service data heard under ``INVITATION_UUID``. Raises FrameError."""
        if len(data) != INVITATION_BYTES:
            raise FrameError(f"an invitation has {INVITATION_BYTES} bytes, not {len(data)}")
        return cls(data[:INVITATION_SALT_BYTES], data[INVITATION_SALT_BYTES:])

    def is_under(self, key: bytes) -> bool:
        """Whether whoever made it knows ``key``."""
        return hmac.compare_digest(self.mac, _mac(key, self.salt, INVITATION_MAC_BYTES))


def _derived(secret: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, None, info).derive(secret)


def _called(time_s: int, salt: bytes) -> bytes:
    return time_s.to_bytes(4) + salt


def _mac(key: bytes, data: bytes, length: int) -> bytes:
    return hmac.digest(key, data, "sha256")[:length]


def _check_salt(salt: bytes, length: int) -> None:
    if len(salt) != length:
        raise ValueError(f"the salt has {length} bytes, not {len(salt)}")
