"""The bytes of adverts, against the specification, against Bumble's codec, and against noise."""

from __future__ import annotations

import pytest
from bumble import hci
from hypothesis import given
from hypothesis import strategies as st

from twochannel.radio.adverts import (
    Report,
    advertising_data,
    first_service_data,
    invitation_data,
    is_advertising_report,
    reports,
)

EDDYSTONE = 0xFEAA
LANE = 0x7A1E0001_0000_4000_8000_000000000000
EID_FRAME = bytes.fromhex("30ee0102030405060708")


def test_an_eddystone_advert_is_laid_out_as_its_specification_asks() -> None:
    assert advertising_data(EDDYSTONE, EID_FRAME).hex(" ") == (
        "03 03 aa fe 0d 16 aa fe 30 ee 01 02 03 04 05 06 07 08"
    )


def test_a_128_bit_service_leaves_room_for_13_bytes() -> None:
    data = advertising_data(LANE, bytes(13))
    assert data == b"\x1e\x21" + LANE.to_bytes(16, "little") + bytes(13)
    assert len(data) == 31


@pytest.mark.parametrize(
    ("uuid", "length"), [(EDDYSTONE, 24), (EDDYSTONE, 300), (LANE, 14), (-1, 0), (1 << 128, 0)]
)
def test_what_does_not_fit_an_advert_is_refused(uuid: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"31 bytes|128 bits|range\(0, 256\)"):
        advertising_data(uuid, bytes(length))


short_services = st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=23))
long_services = st.tuples(st.integers(0x10000, (1 << 128) - 1), st.binary(max_size=13))


@given(short_services | long_services)
def test_round_trip(service: tuple[int, bytes]) -> None:
    assert first_service_data(advertising_data(*service)) == service


@pytest.mark.parametrize(
    "data",
    [
        "",
        "03",  # a length and nothing
        "0303aafe",  # no service data
        "0216aa",  # service data without a whole UUID
        "1021" + "00" * 15,
        "0716aafe00",  # longer than the advert
        "000416aafe30",  # ended by a zero length
        "0416aafe"[:6],
    ],
)
def test_an_advert_without_readable_service_data_has_none(data: str) -> None:
    assert first_service_data(bytes.fromhex(data)) is None


def test_the_first_readable_service_data_counts() -> None:
    data = bytes.fromhex("020106 0216aa 0416aafe30 0416bbfe31")
    assert first_service_data(data) == (EDDYSTONE, b"\x30")


def test_an_invitation_has_flags_before_a_broadcasts_data() -> None:
    ten = bytes(range(10))
    data = invitation_data(LANE, ten)
    assert data == bytes.fromhex("020106") + advertising_data(LANE, ten)
    assert len(data) == 31
    assert first_service_data(data) == (LANE, ten)
    with pytest.raises(ValueError, match="31 bytes"):
        invitation_data(LANE, ten + b"x")


def encoded(*heard: tuple[str, bytes, int, bool]) -> bytes:
    """An advertising report as Bumble's codec writes it."""
    return bytes(
        hci.HCI_LE_Advertising_Report_Event(
            reports=[
                hci.HCI_LE_Advertising_Report_Event.Report(
                    event_type=3,
                    address_type=address_type,
                    address=hci.Address(address),
                    data=data,
                    rssi=rssi_dbm,
                )
                for address, data, rssi_dbm, address_type in heard
            ]
        )
    )


addresses = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":").upper())
one_heard = st.tuples(addresses, st.binary(max_size=31), st.integers(-127, 20), st.booleans())


@given(st.lists(one_heard, min_size=1, max_size=6))
def test_reports_are_read_as_bumble_writes_them(heard: list[tuple[str, bytes, int, bool]]) -> None:
    packet = encoded(*heard)
    assert is_advertising_report(packet)
    assert list(reports(packet)) == [Report(3, *one) for one in heard]


@given(st.lists(one_heard, min_size=1, max_size=6), st.data())
def test_a_report_cut_short_gives_what_is_whole(
    heard: list[tuple[str, bytes, int, bool]], data: st.DataObject
) -> None:
    packet = encoded(*heard)
    cut = packet[: data.draw(st.integers(5, len(packet) - 1))]
    read = list(reports(cut))
    assert len(read) < len(heard)
    assert read == [Report(3, *one) for one in heard[: len(read)]]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(packet: bytes) -> None:
    first_service_data(packet)
    assert is_advertising_report(packet) in {True, False}
    list(reports(b"\x04\x3e\xff\x02" + (packet or b"\x00")))


@pytest.mark.parametrize("packet", ["", "043e", "043e0112", "043e020100", "040e0402030c", "010c20"])
def test_other_packets_are_no_reports(packet: str) -> None:
    assert not is_advertising_report(bytes.fromhex(packet))
