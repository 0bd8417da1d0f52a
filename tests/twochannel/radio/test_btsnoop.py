"""Recorded adverts as btsnoop, judged also by Bumble's reading of the same packets."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import replace

import pytest
from bumble import hci
from hypothesis import given
from hypothesis import strategies as st

from twochannel.protocol import beacon, lane
from twochannel.radio.btsnoop import HEADER, BtsnoopError, Record, decode, encode

BEACON = Record(
    unix_us=1_800_000_000_123_456,
    dropped=7,
    address="2A:01:02:03:04:05",
    random_address=True,
    service_uuid=beacon.SERVICE_UUID,
    service_data=beacon.BeaconFrame(0, bytes(range(8))).encode(),
    rssi_dbm=-67,
)
LANE = replace(
    BEACON,
    random_address=False,
    service_uuid=lane.SERVICE_UUID,
    service_data=lane.LaneFrame(bytes(12)).encode(),
)


@pytest.mark.parametrize("record", [BEACON, LANE])
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert list(decode(HEADER + encode(record))) == [record]


@given(
    st.builds(
        Record,
        unix_us=st.integers(-(2**62), 2**60),
        dropped=st.integers(0, 2**32 - 1),
        address=st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":").upper()),
        random_address=st.booleans(),
        service_uuid=st.integers(0, 2**16 - 1),
        service_data=st.binary(max_size=23),
        rssi_dbm=st.integers(-127, 127),
    )
)
def test_every_record_comes_back(record: Record) -> None:
    assert list(decode(HEADER + encode(record) + encode(record))) == [record, record]


def test_a_packet_is_an_extended_report_to_others_too() -> None:
    packet = hci.HCI_Packet.from_bytes(encode(BEACON)[24:])
    assert isinstance(packet, hci.HCI_LE_Extended_Advertising_Report_Event)
    (report,) = packet.reports
    assert report.address == hci.Address(BEACON.address, hci.AddressType.RANDOM_DEVICE)
    assert report.rssi == BEACON.rssi_dbm
    assert report.event_type == 0x0010
    assert report.data.endswith(BEACON.service_data)


def test_the_head_is_what_captures_begin_with() -> None:
    assert b"btsnoop\0" + struct.pack(">II", 1, 1002) == HEADER
    original, included, flags, drops, time_us = struct.unpack_from(">IIIIq", encode(BEACON))
    assert original == included == len(encode(BEACON)) - 24
    assert (flags, drops) == (3, 7)
    # What btmon and Android call the epoch: 1970 in microseconds of the year 0.
    assert time_us - BEACON.unix_us == 0x00DCDDB30F2F8000


def test_a_file_is_read_as_far_as_it_is_whole() -> None:
    whole = HEADER + encode(BEACON)
    for length in range(len(HEADER), len(whole)):
        assert list(decode(whole + encode(LANE)[: length - len(HEADER)])) == [BEACON]
    assert list(decode(b"")) == list(decode(HEADER[:5])) == []


def test_zeros_in_place_of_the_last_bytes_end_a_file() -> None:
    """As ext4 leaves a file of which it had kept the length, and not yet the data."""
    whole = HEADER + encode(BEACON)
    for length in (1, 24, 100, 5000):
        assert list(decode(whole + bytes(length))) == [BEACON]
    lost = encode(LANE)
    for kept in (8, 24, 30):
        assert list(decode(whole + lost[:kept] + bytes(len(lost) - kept))) == [BEACON]
    assert list(decode(bytes(300))) == []
    with pytest.raises(BtsnoopError):
        list(decode(whole + bytes(24) + encode(LANE)))


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"btsnoop\0" + struct.pack(">II", 1, 1001),
        HEADER + struct.pack(">IIIIq", 3, 3, 3, 0, 0) + b"\x01\x02\x03",
        HEADER + encode(BEACON).replace(b"\x16\xaa\xfe", b"\x17\xaa\xfe"),
    ],
)
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    with pytest.raises(BtsnoopError):
        list(decode(data))


@given(st.binary(max_size=200))
def test_any_bytes_give_records_or_the_one_error(data: bytes) -> None:
    for begun in (data, HEADER + data):
        with contextlib.suppress(BtsnoopError):
            list(decode(begun))
