"""Adverts and echoes among the changes of a device's properties."""

from __future__ import annotations

from typing import Any

import pytest

from twochannel.radio.bluez_echoes import (
    REMEMBERED_DEVICES,
    EchoGate,
    service_uuid,
    sighting,
    uuid_text,
)
from twochannel.radio.port import Sighting

FEAA = "0000feaa-0000-1000-8000-00805f9b34fb"
LANE = "da31a627-c287-4819-b4b1-4630e007d224"
PATH = "/org/bluez/hci0/dev_02_00_00_00_00_01"


def properties(**changes: Any) -> dict[str, Any]:
    known = {"RSSI": -60, "ServiceData": {FEAA: b"\x30"}, "Connected": False, "Trusted": False}
    return known | changes


def test_every_change_of_what_an_advert_carries_is_an_advert() -> None:
    gate = EchoGate()
    assert gate.is_advert(PATH, properties())
    assert gate.is_advert(PATH, properties())  # the same strength again is signalled as well
    assert gate.is_advert(PATH, properties(RSSI=-61))
    assert gate.is_advert(PATH, properties(ServiceData={FEAA: b"\x31"}))
    assert gate.is_advert(PATH, properties(Name="a", Alias="a", TxPower=4))


@pytest.mark.parametrize("name", ["Connected", "Trusted", "Paired", "ServicesResolved"])
def test_a_change_of_anything_else_is_an_echo(name: str) -> None:
    gate = EchoGate()
    gate.is_advert(PATH, properties())
    assert not gate.is_advert(PATH, properties(**{name: True}))
    assert gate.is_advert(PATH, properties(**{name: True}))


def test_without_rssi_nothing_was_received() -> None:
    gate = EchoGate()
    loaded = properties()
    del loaded["RSSI"]
    assert not gate.is_advert(PATH, loaded)
    assert gate.is_advert(PATH, properties())
    assert not gate.is_advert(PATH, loaded)


def test_devices_do_not_share_their_state() -> None:
    gate = EchoGate()
    assert gate.is_advert(PATH, properties())
    assert gate.is_advert(PATH + "2", properties(Trusted=True))
    assert gate.is_advert(PATH, properties())


def test_the_devices_heard_longest_ago_are_forgotten() -> None:
    gate = EchoGate()
    gate.is_advert("first", properties())
    for number in range(REMEMBERED_DEVICES - 1):
        gate.is_advert(str(number), properties())
    assert not gate.is_advert("first", properties(Trusted=True))
    gate.is_advert("one more", properties())  # for which "0" must go
    assert gate.is_advert("0", properties(Trusted=True))
    assert not gate.is_advert("first", properties())


@pytest.mark.parametrize(
    ("text", "uuid"),
    [
        (FEAA, 0xFEAA),
        (FEAA.upper(), 0xFEAA),
        (LANE, 0xDA31A627_C287_4819_B4B1_4630E007D224),
        # 32 bits on the base are no 16-bit service.
        ("0001feaa-0000-1000-8000-00805f9b34fb", 0x0001FEAA_0000_1000_8000_00805F9B34FB),
    ],
)
def test_uuids_are_read_at_their_length(text: str, uuid: int) -> None:
    assert service_uuid(text) == uuid
    assert service_uuid(uuid_text(uuid)) == uuid


def test_a_sighting_has_what_was_received() -> None:
    for kind in ("random", "public"):
        properties = {"RSSI": -63, "AddressType": kind}
        heard = sighting("02:00:00:00:00:01", {FEAA: b"\x30code"}, properties, 12.5)
        expected = Sighting("02:00:00:00:00:01", 0xFEAA, b"\x30code", -63, 12.5, kind == "random")
        assert heard == expected


def test_an_advert_without_service_data_is_no_sighting() -> None:
    assert sighting("02:00:00:00:00:01", {}, {"RSSI": -63}, 12.5) is None
