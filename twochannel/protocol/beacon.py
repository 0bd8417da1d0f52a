"""Channel one: the jack's beacon, a standard Eddystone-EID frame, and the codes it carries.

Source: the public Eddystone specification, repository google/eddystone: ``eddystone-eid/README.md``
(frame), ``eddystone-eid/eid-computation.md`` (keys and codes), ``protocol-specification.md``
(advert); in this project ``docs/protocol.md``, Channel one. Frame, temporary key and code are
exactly the specification's, so ordinary BLE tools show the beacon and any Eddystone-EID resolver
that holds the identity key can resolve it.

The service data of 0xFEAA, 10 bytes::

    0     frame type 0x30
    1     TX power at 0 m, signed, dBm
    2-9   code: the 8-byte ephemeral identifier (EID)

The specification has every Eddystone advert also list 0xFEAA in the Complete List of 16-bit
Service UUIDs: 4 bytes for the list and 14 for the service data, of the 31 of a legacy advert.

Two blocks are encrypted with AES-128, one after the other. All integers are big-endian::

    temporary key = AES(identity key,  0 x 11 | 0xFF | 0x00 0x00 | top 16 bits of the counter)
    code          = AES(temporary key, 0 x 11 | K    | counter with its K lowest bits cleared)[0:8]

The counter is Unix time in seconds (the specification leaves its origin open), K the rotation
exponent: a code lives for one slot of 2^K seconds.

**No jitter.** The specification recommends to randomise, inside the window, the moment at which a
beacon takes up its next code; it does not require it. A jack changes exactly at the slot's start.
All jacks count the same seconds, hence all change at the same moment, and a change does not tell
one car from another. Jitter would also lengthen the time for which a recorded code can be replayed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twochannel.protocol.errors import FrameError

#: 16-bit service UUID of Eddystone (protocol-specification.md, Common Elements).
SERVICE_UUID: Final = 0xFEAA
#: EID in the high four bits; the low four are reserved and must be zero.
FRAME_TYPE: Final = 0x30
#: Bytes of a code (eid-computation.md: the leading 64 bits of the AES output).
CODE_LENGTH: Final = 8
#: Bytes of a frame: fixed, "truncated after the EID bytes" (eddystone-eid/README.md, Field Notes).
FRAME_LENGTH: Final = 2 + CODE_LENGTH
#: Range of the TX power byte in dBm (eddystone-uid/README.md, Tx Power).
MIN_TX_POWER_DBM: Final = -100
MAX_TX_POWER_DBM: Final = 20
#: Range of K (eid-computation.md, Overview).
MAX_ROTATION_EXPONENT: Final = 15
#: 256 s: a car keeps one code while it stands at a lane, and drops it within minutes of leaving.
DEFAULT_ROTATION_EXPONENT: Final = 8
#: The counter has 32 bits: as Unix time it lasts until 2106.
MAX_COUNTER_S: Final = 2**32 - 1
#: Identity and temporary keys are AES-128 keys.
KEY_LENGTH: Final = 16
#: The slots in which a code is resolved, around the present one: clocks may differ by one slot.
RESOLVED_SLOTS: Final = (-1, 0, 1)

#: HKDF context of the identity key; binds the key to this one purpose.
IDENTITY_KEY_INFO: Final = b"cigarjack beacon identity key v1"

_FRAME = struct.Struct(f">Bb{CODE_LENGTH}s")
_TEMPORARY_KEY_BLOCK = struct.Struct(">11xBxxH")
_CODE_BLOCK = struct.Struct(">11xBI")
#: Stands where the code's block has K, so that no temporary key block is ever a code block.
_TEMPORARY_KEY_SALT = 0xFF
_SHARED_SECRET_LENGTH = 32
_POINT_LENGTH = 65
_UNCOMPRESSED_POINT = 0x04


@dataclass(frozen=True, slots=True)
class BeaconFrame:
    """What a jack advertises: its TX power at 0 m in dBm, and the 8-byte code of this slot.

    Values outside their range are a ValueError. The code is left out of ``repr``, because full
    codes must not reach a log.
    """

    tx_power_dbm: int
    code: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not MIN_TX_POWER_DBM <= self.tx_power_dbm <= MAX_TX_POWER_DBM:
            raise ValueError(f"TX power at 0 m must be -100 to 20 dBm, not {self.tx_power_dbm}")
        if len(self.code) != CODE_LENGTH:
            raise ValueError(f"a code has {CODE_LENGTH} bytes, not {len(self.code)}")

    def encode(self) -> bytes:
        """The 10 bytes of service data that go on the air under ``SERVICE_UUID``."""
        return _FRAME.pack(FRAME_TYPE, self.tx_power_dbm, self.code)

    @classmethod
    def decode(cls, data: bytes) -> BeaconFrame:
        """Read service data heard under ``SERVICE_UUID``. Raises FrameError for anything else.

        Other Eddystone frames arrive under the same UUID and are refused as well. The length is
        strict: padding belongs to the specification's UID frame, not to this one.
        """
        if len(data) != FRAME_LENGTH:
            raise FrameError(f"an EID frame has {FRAME_LENGTH} bytes, not {len(data)}")
        frame_type, tx_power_dbm, code = _FRAME.unpack(data)
        if frame_type != FRAME_TYPE:
            raise FrameError(f"frame type is 0x{frame_type:02x}, not 0x{FRAME_TYPE:02x}")
        if not MIN_TX_POWER_DBM <= tx_power_dbm <= MAX_TX_POWER_DBM:
            raise FrameError(f"TX power at 0 m is out of range: {tx_power_dbm} dBm")
        return cls(tx_power_dbm, code)


def slot_length_s(rotation_exponent: int) -> int:
    """How long one code lives, in seconds. An exponent outside 0..15 is a ValueError."""
    if not 0 <= rotation_exponent <= MAX_ROTATION_EXPONENT:
        raise ValueError(f"rotation exponent must be 0 to 15, not {rotation_exponent}")
    return 1 << rotation_exponent


def slot_of(time_s: int, rotation_exponent: int) -> int:
    """The start of the slot that ``time_s`` lies in, in seconds: the K lowest bits cleared."""
    return _counter(time_s) & -slot_length_s(rotation_exponent)


def temporary_key(identity_key: bytes, counter_s: int) -> bytes:
    """The 16-byte key of the 65536 s that ``counter_s`` lies in.

    Source: eid-computation.md, Computing the temporary key. A counter outside 32 bits or a key
    that is not 16 bytes is a ValueError.
    """
    block = _TEMPORARY_KEY_BLOCK.pack(_TEMPORARY_KEY_SALT, _counter(counter_s) >> 16)
    return _aes_128(identity_key, block)


def code_at(identity_key: bytes, counter_s: int, rotation_exponent: int) -> bytes:
    """The 8-byte code at ``counter_s``.

    Source: eid-computation.md, Computing the EID value. A counter, key or exponent outside its
    range is a ValueError.
    """
    slot_s = slot_of(counter_s, rotation_exponent)
    block = _CODE_BLOCK.pack(rotation_exponent, slot_s)
    # A slot of at most 2^15 s never crosses a multiple of 2^16 s: one temporary key per slot.
    return _aes_128(temporary_key(identity_key, slot_s), block)[:CODE_LENGTH]


def codes_around(identity_key: bytes, time_s: int, rotation_exponent: int) -> dict[int, bytes]:
    """The codes that resolve at ``time_s``: slot offset (-1, 0, +1) to code.

    Slots before 0 or beyond the 32-bit counter do not exist and are left out; the counter does not
    wrap around. A time, key or exponent outside its range is a ValueError.
    """
    present_s = slot_of(time_s, rotation_exponent)
    length_s = slot_length_s(rotation_exponent)
    starts = ((offset, present_s + offset * length_s) for offset in RESOLVED_SLOTS)
    return {
        offset: code_at(identity_key, start_s, rotation_exponent)
        for offset, start_s in starts
        if 0 <= start_s <= MAX_COUNTER_S
    }


def identity_key(shared_secret: bytes, server_beacon_key: bytes, jack_beacon_key: bytes) -> bytes:
    """The 16-byte key that jack and server share, derived from their ECDH.

    Source: eid-computation.md, Computing the identity key. HKDF-SHA256 over the shared secret (the
    32-byte x coordinate), salted with both public keys, the resolver's before the beacon's, each an
    uncompressed X9.62 point of 65 bytes. Two things differ from the specification, and neither is
    visible on the air: the curve is P-256 in place of Curve25519, because secure elements, TPMs and
    phone keystores all have it; and the HKDF context, empty there, names the purpose. Input of
    another shape, and a secret of zeros (which the specification refuses), is a ValueError.
    """
    if len(shared_secret) != _SHARED_SECRET_LENGTH or not any(shared_secret):
        raise ValueError("the shared secret must be 32 bytes and not zero")
    salt = _point(server_beacon_key) + _point(jack_beacon_key)
    kdf = HKDF(algorithm=SHA256(), length=KEY_LENGTH, salt=salt, info=IDENTITY_KEY_INFO)
    return kdf.derive(shared_secret)


def _counter(counter_s: int) -> int:
    if not 0 <= counter_s <= MAX_COUNTER_S:
        raise ValueError(f"the time counter is a 32-bit unsigned integer, not {counter_s}")
    return counter_s


def _point(public_key: bytes) -> bytes:
    if len(public_key) != _POINT_LENGTH or public_key[0] != _UNCOMPRESSED_POINT:
        raise ValueError("a beacon key must be an uncompressed X9.62 point of P-256, 65 bytes")
    return public_key


def _aes_128(key: bytes, block: bytes) -> bytes:
    if len(key) != KEY_LENGTH:
        raise ValueError(f"an AES-128 key has {KEY_LENGTH} bytes, not {len(key)}")
    # ECB of a single block is the bare block cipher, which is what the specification asks for.
    encryptor = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(block) + encryptor.finalize()
