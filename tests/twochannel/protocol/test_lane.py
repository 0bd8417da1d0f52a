"""The lane frame: 13 bytes that fill a legacy advert, and the digest that names a nonce.

Invariant of the fuzzing: any bytes decode to a frame that encodes to the same bytes, or FrameError.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twochannel.protocol import lane
from twochannel.protocol.errors import FrameError
from twochannel.protocol.lane import LaneFrame

NONCE = bytes(range(12))
#: A shared machine may stall for longer than hypothesis's default deadline.
patient = settings(deadline=None)

nonces = st.binary(min_size=12, max_size=12)


def test_the_frame_is_type_and_nonce() -> None:
    assert LaneFrame(NONCE).encode().hex() == "01" + "000102030405060708090a0b"
    assert LaneFrame.decode(b"\x01" + NONCE) == LaneFrame(NONCE)


def test_the_service_is_a_random_uuid_of_ours() -> None:
    service = uuid.UUID(int=lane.SERVICE_UUID)
    assert str(service) == "da31a627-c287-4819-b4b1-4630e007d224"
    assert (service.version, service.variant) == (4, uuid.RFC_4122)


def test_the_frame_fills_a_legacy_advert_to_the_last_byte() -> None:
    header = bytes([1 + 16 + lane.FRAME_LENGTH, 0x21])  # length, Service Data - 128-bit UUID
    advert = header + lane.SERVICE_UUID.to_bytes(16, "little") + LaneFrame(NONCE).encode()
    assert len(advert) == 31


@patient
@given(nonces)
def test_frames_survive_the_air(nonce: bytes) -> None:
    assert LaneFrame.decode(LaneFrame(nonce).encode()).nonce == nonce


@patient
@given(st.binary(max_size=40) | nonces.map(b"\x01".__add__))
def test_any_bytes_are_a_frame_or_a_frame_error(data: bytes) -> None:
    try:
        frame = LaneFrame.decode(data)
    except FrameError:
        return
    assert frame.encode() == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "13 bytes, not 0"),
        (b"\x01", "13 bytes, not 1"),
        (b"\x01" + NONCE[:-1], "13 bytes, not 12"),
        (b"\x01" + NONCE + b"\x00", "13 bytes, not 14"),
        (b"\x00" + NONCE, "0x00, not 0x01"),
        (b"\x02" + NONCE, "0x02, not 0x01"),
        (b"\xff" + NONCE, "0xff, not 0x01"),
    ],
)
def test_what_is_not_a_lane_frame_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        LaneFrame.decode(data)


@pytest.mark.parametrize("length", [0, 11, 13])
def test_a_nonce_of_another_length_is_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        LaneFrame(bytes(length))
    with pytest.raises(ValueError, match="12 bytes"):
        lane.lane_digest(bytes(length))


def test_the_digest_equals_the_recorded_one() -> None:
    # printf '000102030405060708090A0B' | basenc -d --base16 | openssl dgst -sha256 -binary |
    # basenc --base64url
    assert lane.lane_digest(NONCE) == "__OpvN03Nj1wPBxPlRJTNoYVeGjw1PFqDwLQ8dok-aI"


@patient
@given(nonces)
def test_the_digest_is_sha256_in_base64url_without_padding(nonce: bytes) -> None:
    digest = lane.lane_digest(nonce)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", digest)
    assert base64.urlsafe_b64decode(digest + "=") == hashlib.sha256(nonce).digest()
