"""What lanes tell each other over the network of their site, sealed. Pure.

::

    version 1 | salt 16 | counter 8 | AES-256-GCM of: lane 8 | sent_ms 8 | (tag 8 | level 2) *

One key for the lanes of a site. Each run of a terminal draws a salt, which gives it a key of its
own (HKDF), so that its counter is a nonce that never comes twice. A code never leaves the terminal:
its tag is an HMAC under the site's key, which tells lanes that they hear the same, and others
nothing. Levels are in tenths of a dB above the sender's threshold. All numbers are big-endian.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twochannel.protocol.errors import FrameError

VERSION: Final = 1
KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
#: So many fit a datagram that no network has to split; the loudest are told.
MAX_TOLD: Final = 100
#: Two lanes have the server's time to within this; anything older is a recording.
MAX_AGE_MS: Final = 2000
_HEAD: Final = struct.Struct(">B16sQ")
_SENDER: Final = struct.Struct(">8sQ")
_LEVEL: Final = struct.Struct(">8sh")
_NONCE: Final = struct.Struct(">IQ")
_TENTHS: Final = 10
_LARGEST_TENTHS: Final = 2000
#: Of senders whose counter is remembered.
_MAX_SENDERS: Final = 256


@dataclass(frozen=True, slots=True)
class Told:
    """What ``lane`` said: dB above its threshold, by tag."""

    lane: str
    levels_db: Mapping[bytes, float]


class SiteKey:
    """The secret of a site's lanes. ``key``: 32 random bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a site's key has {KEY_BYTES} bytes")
        self._key = key
        self._tag_key = self._derived(b"tags", b"")

    def tag(self, code: bytes) -> bytes:
        """By what lanes know ``code`` among themselves."""
        return hmac.digest(self._tag_key, code, hashlib.sha256)[: _LEVEL.size - 2]

    def sealing(self, salt: bytes) -> AESGCM:
        """The cipher of the sender that drew ``salt``."""
        return AESGCM(self._derived(b"messages", salt))

    def _derived(self, use: bytes, salt: bytes) -> bytes:
        info = b"CigarJack lanes 1 " + use
        return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(self._key)


class Speaker:
    """One run of a terminal. ``salt``: 16 fresh random bytes; ``lane``: the terminal's id."""

    def __init__(self, key: SiteKey, salt: bytes, lane: str) -> None:
        self._key, self._salt = key, salt
        self._lane = hashlib.sha256(lane.encode()).digest()[:8]
        self._cipher = key.sealing(salt)
        self._counter = 0

    def seal(self, heard_db: Mapping[bytes, float], now_ms: int) -> bytes:
        """What is heard, by code, as a datagram; each is another one."""
        self._counter += 1
        head = _HEAD.pack(VERSION, self._salt, self._counter)
        loudest = sorted(heard_db.items(), key=lambda each: -each[1])[:MAX_TOLD]
        told = [_LEVEL.pack(self._key.tag(code), _tenths(level)) for code, level in loudest]
        plain = _SENDER.pack(self._lane, now_ms) + b"".join(told)
        return head + self._cipher.encrypt(_NONCE.pack(0, self._counter), plain, head)


class Listener:
    """Opens what the other lanes of the site have sealed: each datagram once, while it is fresh."""

    def __init__(self, key: SiteKey) -> None:
        self._key = key
        self._counters: OrderedDict[bytes, int] = OrderedDict()

    def open(self, datagram: bytes, now_ms: int) -> Told:
        """Raises FrameError: it is none, of another site, old, or was heard before."""
        if len(datagram) < _HEAD.size:
            raise FrameError("too short")
        version, salt, counter = _HEAD.unpack_from(datagram)
        if version != VERSION:
            raise FrameError("another version")
        if counter <= self._counters.get(salt, 0):
            raise FrameError("heard before")
        plain = self._opened(datagram, salt, counter)
        lane, sent_ms = _SENDER.unpack_from(plain)
        if abs(now_ms - sent_ms) > MAX_AGE_MS:
            raise FrameError("of another time")
        self._remember(salt, counter)
        levels = {
            tag: tenths / _TENTHS for tag, tenths in _LEVEL.iter_unpack(plain[_SENDER.size :])
        }
        return Told(lane.hex(), levels)

    def _opened(self, datagram: bytes, salt: bytes, counter: int) -> bytes:
        head, sealed = datagram[: _HEAD.size], datagram[_HEAD.size :]
        try:
            plain = self._key.sealing(salt).decrypt(_NONCE.pack(0, counter), sealed, head)
        except InvalidTag:
            raise FrameError("not of this site") from None
        if len(plain) < _SENDER.size or (len(plain) - _SENDER.size) % _LEVEL.size:
            raise FrameError("of another length")
        return plain

    def _remember(self, salt: bytes, counter: int) -> None:
        self._counters[salt] = counter
        self._counters.move_to_end(salt)
        while len(self._counters) > _MAX_SENDERS:
            # Its datagrams are too old by the time that so many others have come.
            self._counters.popitem(last=False)


def _tenths(level_db: float) -> int:
    return max(-_LARGEST_TENTHS, min(_LARGEST_TENTHS, round(level_db * _TENTHS)))
