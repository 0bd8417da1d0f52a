"""What lanes tell each other is of their site, fresh, told once, and tells others nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_device.hearing_message import MAX_AGE_MS, MAX_TOLD, Listener, SiteKey, Speaker
from twochannel.protocol.errors import FrameError

KEY = SiteKey(bytes(range(32)))
SALT = bytes(16)
CODE = bytes.fromhex("0123456789abcdef")
NOW_MS = 1_800_000_000_000


def speaker(salt: bytes = SALT, key: SiteKey = KEY, lane: str = "lane 1") -> Speaker:
    return Speaker(key, salt, lane)


def refused(listener: Listener, datagram: bytes, now_ms: int = NOW_MS) -> str:
    with pytest.raises(FrameError) as error:
        listener.open(datagram, now_ms)
    return str(error.value)


@given(st.dictionaries(st.binary(min_size=8, max_size=8), st.floats(-150, 150), max_size=20))
def test_what_is_told_is_heard_to_a_tenth_of_a_db(levels: dict[bytes, float]) -> None:
    told = Listener(KEY).open(speaker().seal(levels, NOW_MS), NOW_MS)
    expected = {KEY.tag(code): level for code, level in levels.items()}
    assert told.levels_db.keys() == expected.keys()
    for tag, level in expected.items():
        assert told.levels_db[tag] == pytest.approx(level, abs=0.0501)


def test_no_code_is_in_it_and_no_two_are_alike() -> None:
    telling = speaker()
    first, second = (telling.seal({CODE: 10.0}, NOW_MS) for _ in range(2))
    assert CODE not in first
    assert KEY.tag(CODE) not in first
    assert first[25:] != second[25:]
    assert KEY.tag(CODE) != CODE
    assert SiteKey(bytes(32)).tag(CODE) != KEY.tag(CODE)


def test_each_is_heard_once_and_in_its_order() -> None:
    telling, listener = speaker(), Listener(KEY)
    first, second = (telling.seal({CODE: 10.0}, NOW_MS) for _ in range(2))
    listener.open(second, NOW_MS)
    assert refused(listener, second) == "heard before"
    assert refused(listener, first) == "heard before"
    # Another run of the terminal begins to count anew.
    listener.open(speaker(bytes([1]) * 16).seal({}, NOW_MS), NOW_MS)


def test_a_recording_is_too_old() -> None:
    datagram = speaker().seal({CODE: 10.0}, NOW_MS)
    for now_ms in (NOW_MS + MAX_AGE_MS + 1, NOW_MS - MAX_AGE_MS - 1):
        assert refused(Listener(KEY), datagram, now_ms) == "of another time"
    Listener(KEY).open(datagram, NOW_MS + MAX_AGE_MS)


def test_another_site_says_nothing() -> None:
    datagram = speaker(key=SiteKey(bytes(32))).seal({CODE: 10.0}, NOW_MS)
    assert refused(Listener(KEY), datagram) == "not of this site"


@given(st.data())
def test_one_changed_bit_is_found(data: st.DataObject) -> None:
    datagram = bytearray(speaker().seal({CODE: 10.0}, NOW_MS))
    place = data.draw(st.integers(0, len(datagram) * 8 - 1))
    datagram[place // 8] ^= 1 << place % 8
    refused(Listener(KEY), bytes(datagram))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(datagram: bytes) -> None:
    refused(Listener(KEY), datagram)


def test_a_crowd_fits_a_datagram_with_its_loudest() -> None:
    crowd = {bytes([0] * 6) + number.to_bytes(2): float(number) for number in range(300)}
    datagram = speaker().seal(crowd, NOW_MS)
    assert len(datagram) < 1200
    levels = Listener(KEY).open(datagram, NOW_MS).levels_db.values()
    assert len(levels) == MAX_TOLD
    assert min(levels) == 200.0


def test_a_flood_of_runs_uses_up_no_memory() -> None:
    listener = Listener(KEY)
    for number in range(300):
        listener.open(speaker(number.to_bytes(16)).seal({}, NOW_MS), NOW_MS)
    assert len(listener._counters) == 256


def test_a_key_has_its_length() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SiteKey(b"short")
