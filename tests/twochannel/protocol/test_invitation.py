"""Calls and invitations: recognised by those who share a secret, and believed once.

Invariant of the fuzzing: any bytes decode to a frame that encodes to the same bytes, or FrameError.
"""

from __future__ import annotations

import hmac
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twochannel.protocol import invitation
from twochannel.protocol.errors import FrameError
from twochannel.protocol.invitation import (
    CALL_BYTES,
    CALL_UUID,
    INVITATION_BYTES,
    INVITATION_UUID,
    MAX_CALL_TIME_S,
    Call,
    Invitation,
    call_key,
    invitation_key,
    pairing_invitation_key,
)
from twochannel.protocol.limits import MAX_CALL_SKEW_S

LINK_KEY = bytes(range(32))
NOW_S = 1_700_000_000


def derived(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, one block."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), info + b"\x01", "sha256")


def a_call(time_s: int = NOW_S, link_key: bytes = LINK_KEY) -> Call:
    return Call.made(call_key(link_key), time_s, b"sa")


def test_the_uuids_are_random_ones_of_ours() -> None:
    services = {CALL_UUID, INVITATION_UUID}
    assert len(services) == 2
    for number in services:
        service = uuid.UUID(int=number)
        assert (service.version, service.variant) == (4, uuid.RFC_4122)


def test_a_call_is_time_salt_and_mac() -> None:
    begin = NOW_S.to_bytes(4) + b"sa"
    key = derived(LINK_KEY, b"cigarjack call v1")
    assert a_call().encode() == begin + hmac.digest(key, begin, "sha256")[:7]
    assert len(a_call().encode()) == CALL_BYTES == 13


def test_an_invitation_is_salt_and_mac() -> None:
    for key, info, secret in (
        (invitation_key(LINK_KEY), b"cigarjack invitation v1", LINK_KEY),
        (pairing_invitation_key("j" * 43), b"cigarjack pairing invitation v1", b"j" * 43),
    ):
        mac = hmac.digest(derived(secret, info), b"salt", "sha256")[:6]
        frame = Invitation.made(key, b"salt").encode()
        assert frame == b"salt" + mac
        assert len(frame) == INVITATION_BYTES == 10


def test_an_invitation_is_recognised_under_its_own_key_alone() -> None:
    own, other = invitation_key(LINK_KEY), pairing_invitation_key("j" * 43)
    heard = Invitation.decode(Invitation.made(own, b"salt").encode())
    assert heard.is_under(own)
    assert not heard.is_under(other)
    assert not heard.is_under(invitation_key(bytes(32)))


@pytest.mark.parametrize(
    ("time_s", "now_s", "newest_s", "counts"),
    [
        (NOW_S, NOW_S, 0, True),
        (NOW_S, NOW_S + MAX_CALL_SKEW_S, 0, True),
        (NOW_S, NOW_S - MAX_CALL_SKEW_S, 0, True),
        (NOW_S, NOW_S + MAX_CALL_SKEW_S + 1, 0, False),
        (NOW_S, NOW_S - MAX_CALL_SKEW_S - 1, 0, False),
        (NOW_S, NOW_S, NOW_S - 1, True),
        (NOW_S, NOW_S, NOW_S, False),
        (NOW_S, NOW_S, NOW_S + 1, False),
        (NOW_S, None, 0, False),
    ],
)
def test_a_call_counts_now_and_once(
    time_s: int, now_s: int | None, newest_s: int, counts: bool
) -> None:
    assert a_call(time_s).counts(call_key(LINK_KEY), now_s, newest_s) is counts


def test_a_call_of_another_pairing_never_counts() -> None:
    assert not a_call(link_key=bytes(32)).counts(call_key(LINK_KEY), NOW_S, 0)
    later = Call(NOW_S + 1, b"sa", a_call().mac)
    assert not later.counts(call_key(LINK_KEY), NOW_S, 0)


@pytest.mark.parametrize(("time_s", "salt"), [(-1, b"sa"), (MAX_CALL_TIME_S + 1, b"sa"), (1, b"s")])
def test_a_call_of_no_time_or_no_salt_is_not_made(time_s: int, salt: bytes) -> None:
    with pytest.raises(ValueError):
        Call.made(bytes(32), time_s, salt)


def test_an_invitation_without_salt_is_not_made() -> None:
    with pytest.raises(ValueError, match="4 bytes, not 3"):
        Invitation.made(bytes(32), b"sal")


@given(st.binary(max_size=20) | st.binary(min_size=13, max_size=13))
def test_any_bytes_are_a_call_or_a_frame_error(data: bytes) -> None:
    try:
        call = Call.decode(data)
    except FrameError:
        assert len(data) != CALL_BYTES
        return
    assert call.encode() == data
    assert not call.counts(call_key(LINK_KEY), call.time_s, -1)


@given(st.binary(max_size=20) | st.binary(min_size=10, max_size=10))
def test_any_bytes_are_an_invitation_or_a_frame_error(data: bytes) -> None:
    try:
        frame = Invitation.decode(data)
    except FrameError:
        assert len(data) != INVITATION_BYTES
        return
    assert frame.encode() == data
    assert not frame.is_under(invitation_key(LINK_KEY))


def test_calls_fill_an_advert_and_invitations_leave_room_for_flags() -> None:
    header = 2 + 16  # length, Service Data - 128-bit UUID, the UUID
    assert header + invitation.CALL_BYTES == 31
    assert 3 + header + invitation.INVITATION_BYTES == 31
