"""Which adapter a radio means: by address, by name, any; and after it has moved."""

from __future__ import annotations

from typing import Any

import pytest

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import (
    Adapter,
    AdapterChoice,
    adapter_of,
    adapters_among,
    bluez_version,
    connected_to,
)

Objects = dict[str, dict[str, dict[str, Any]]]


def adapter(number: int, last_byte: int) -> Adapter:
    path = f"/org/bluez/hci{number}"
    return Adapter(path, f"02:00:00:00:00:{last_byte:02X}", powered=True, discovering=False)


def present(*adapters: Adapter) -> dict[str, Adapter]:
    return {known.path: known for known in adapters}


ONE, TWO, TEN = adapter(0, 0xA1), adapter(2, 0xA2), adapter(10, 0xA3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ONE),
        ("hci0", ONE),
        ("hci2", TWO),
        ("hci10", TEN),
        ("hci1", None),
        ("02:00:00:00:00:A2", TWO),
        ("02:00:00:00:00:a3", TEN),
        ("02:00:00:00:00:A4", None),
    ],
)
def test_an_adapter_is_found_by_what_it_was_called(text: str, expected: Adapter | None) -> None:
    assert AdapterChoice.parse(text).pick(present(TEN, TWO, ONE)) == expected


@pytest.mark.parametrize("text", ["hci", "hci-1", "hci12345", "eth0", "02:00:00:00:00", "hci0 "])
def test_what_names_no_adapter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hci0 or by its address"):
        AdapterChoice.parse(text)


@pytest.mark.parametrize("text", ["hci0", "02:00:00:00:00:A1"])
def test_an_adapter_that_was_named_is_followed_by_its_address(text: str) -> None:
    settled = AdapterChoice.parse(text).settled(ONE)
    moved = adapter(7, 0xA1)
    impostor = adapter(0, 0xB0)
    assert settled.pick(present(impostor, moved)) == moved
    assert settled.pick(present(impostor)) is None
    assert settled.settled(moved) == settled


def test_any_adapter_prefers_the_one_it_had_and_takes_another_if_that_is_gone() -> None:
    settled = AdapterChoice.parse("").settled(TWO)
    assert settled.pick(present(ONE, TWO, TEN)) == TWO
    assert settled.pick(present(TEN, ONE)) == ONE
    assert settled.pick({}) is None


def test_an_adapter_is_read_from_its_properties() -> None:
    properties = {"Address": "02:00:00:00:00:a1", "Powered": True, "Discovering": True}
    manager = {"SupportedSecondaryChannels": ["1M", "2M"], "ActiveInstances": 2}
    read = adapter_of("/org/bluez/hci3", properties, manager)
    assert (read.name, read.address) == ("hci3", "02:00:00:00:00:A1")
    assert (read.powered, read.discovering, read.extended) == (True, True, True)
    assert read.active_adverts == 2
    assert not read.blocked
    assert adapter_of("/org/bluez/hci3", {"PowerState": "off-blocked"}, {}).blocked
    bare = adapter_of("/org/bluez/hci3", {}, {})
    assert (bare.powered, bare.discovering, bare.extended) == (False, False, False)


def test_adapters_without_le_advertising_are_left_out() -> None:
    objects: Objects = {
        "/org/bluez": {"org.bluez.AgentManager1": {}},
        "/org/bluez/hci0": {names.ADAPTER: {"Address": "02:00:00:00:00:A1"}},
        "/org/bluez/hci1": {names.ADAPTER: {}, names.ADVERTISING_MANAGER: {}},
    }
    assert list(adapters_among(objects)) == ["/org/bluez/hci1"]


def test_connections_are_those_of_the_adapter() -> None:
    def device(on: str, *, connected: bool) -> dict[str, dict[str, Any]]:
        return {names.DEVICE: {"Adapter": f"/org/bluez/{on}", "Connected": connected}}

    objects: Objects = {
        "/org/bluez/hci0": {names.ADAPTER: {}},
        "/org/bluez/hci0/dev_1": device("hci0", connected=False),
        "/org/bluez/hci0/dev_2": device("hci0", connected=True),
        "/org/bluez/hci2/dev_3": device("hci2", connected=True),
    }
    assert connected_to(ONE, objects) == ["/org/bluez/hci0/dev_2"]


@pytest.mark.parametrize(
    ("modalias", "version"),
    [("usb:v1D6Bp0246d0542", (5, 66)), ("usb:v1d6bp0246d0557", (5, 87)), ("usb:v05ACp0001", None)],
)
def test_an_adapter_shows_the_bluez_that_runs(
    modalias: str, version: tuple[int, int] | None
) -> None:
    found = adapter_of("/org/bluez/hci0", {names.MODALIAS: modalias}, {})
    assert bluez_version(found.modalias) == version
