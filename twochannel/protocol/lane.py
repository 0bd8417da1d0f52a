"""Presence: the lane frame, by which the jack hears the terminal.

For each payment the terminal broadcasts a fresh nonce and puts only the nonce's digest into the
payment request; the jack reports the nonce it heard inside its auth code (``docs/protocol.md``,
Presence). A code recorded here and replayed at another lane brings no jack that hears that lane.

The service data of ``SERVICE_UUID``, 13 bytes::

    0      frame type 0x01: a lane nonce, first version; any other value is not for this decoder
    1-12   nonce

It fills a legacy advert to the last byte. 31 bytes, less 2 of length and AD type (0x21, Service
Data - 128-bit UUID), less 16 of UUID, leave 13. So the advert carries nothing else, not even the
Flags, which a non-connectable advert may leave out (Bluetooth Core Specification Supplement,
Part A, 1.3).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from twochannel.protocol.errors import FrameError
from twochannel.protocol.wire import base64url

#: Ours: da31a627-c287-4819-b4b1-4630e007d224, a version 4 UUID drawn at random once. 16-bit UUIDs
#: are assigned to members of the Bluetooth SIG; a random 128-bit one needs no registration.
SERVICE_UUID: Final = 0xDA31A627_C287_4819_B4B1_4630E007D224
FRAME_TYPE: Final = 0x01
#: 96 bits, all that the advert holds: neither guessed nor drawn twice.
NONCE_LENGTH: Final = 12
FRAME_LENGTH: Final = 1 + NONCE_LENGTH

_FRAME = struct.Struct(f">B{NONCE_LENGTH}s")


@dataclass(frozen=True, slots=True)
class LaneFrame:
    """What a terminal advertises while a payment is open: its 12-byte nonce.

    A nonce of another length is a ValueError.
    """

    nonce: bytes

    def __post_init__(self) -> None:
        _check_length(self.nonce)

    def encode(self) -> bytes:
        """The 13 bytes of service data that go on the air under ``SERVICE_UUID``."""
        return _FRAME.pack(FRAME_TYPE, self.nonce)

    @classmethod
    def decode(cls, data: bytes) -> LaneFrame:
        """Read service data heard under ``SERVICE_UUID``. Raises FrameError for anything else."""
        if len(data) != FRAME_LENGTH:
            raise FrameError(f"a lane frame has {FRAME_LENGTH} bytes, not {len(data)}")
        frame_type, nonce = _FRAME.unpack(data)
        if frame_type != FRAME_TYPE:
            raise FrameError(f"frame type is 0x{frame_type:02x}, not 0x{FRAME_TYPE:02x}")
        return cls(nonce)


def lane_digest(nonce: bytes) -> str:
    """SHA-256 of the nonce in base64url, 43 characters: the claim ``lane_digest``.

    A nonce of another length is a ValueError.
    """
    _check_length(nonce)
    return base64url(hashlib.sha256(nonce).digest())


def _check_length(nonce: bytes) -> None:
    if len(nonce) != NONCE_LENGTH:
        raise ValueError(f"a lane nonce has {NONCE_LENGTH} bytes, not {len(nonce)}")
