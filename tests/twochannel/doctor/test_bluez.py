"""What is read of bluetoothd's objects; the real one is asked in the virtual car."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twochannel.doctor.bluez import read_bluez, reading_of
from twochannel.doctor.findings import Refused
from twochannel.doctor.known_bad import pair_row
from twochannel.doctor.machine import Roots, kernel
from twochannel.doctor.readings import Hardware
from twochannel.radio.bluez_adapters import AdapterChoice


def objects(number: int = 0, **adapter: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """An adapter as BlueZ 5.82 shows it, without -E."""
    shown = {
        "Address": f"aa:aa:aa:aa:aa:0{number}",
        "Powered": True,
        "Discovering": False,
        "Modalias": "usb:v1D6Bp0246d0552",
        "Manufacturer": 305,
        "Version": 9,
    }
    return {
        f"/org/bluez/hci{number}": {
            "org.bluez.Adapter1": shown | adapter,
            "org.bluez.LEAdvertisingManager1": {
                "ActiveInstances": 1,
                "SupportedInstances": 4,
                "SupportedCapabilities": {"MaxAdvLen": 31},
            },
            "org.bluez.AdvertisementMonitorManager1": {},
        }
    }


def test_an_adapter_is_read(tmp_path: Path) -> None:
    reading = reading_of(objects() | objects(1), AdapterChoice.parse("hci1"), Roots(sys=tmp_path))
    assert reading.version == (5, 82, 0)
    assert [adapter.name for adapter in reading.adapters] == ["hci0", "hci1"]
    chosen = reading.chosen
    assert chosen is not None
    assert (chosen.name, chosen.address) == ("hci1", "AA:AA:AA:AA:AA:01")
    assert (chosen.intervals, chosen.monitors, chosen.extended) == (True, True, False)
    assert (chosen.active_adverts, chosen.free_slots) == (1, 4)
    assert chosen.hardware == Hardware("manufacturer 305, HCI version 9", 305)


def test_what_is_experimental_is_absent_without_the_flag(tmp_path: Path) -> None:
    shown = objects()
    del shown["/org/bluez/hci0"]["org.bluez.LEAdvertisingManager1"]["SupportedCapabilities"]
    del shown["/org/bluez/hci0"]["org.bluez.AdvertisementMonitorManager1"]
    chosen = reading_of(shown, AdapterChoice(), Roots(sys=tmp_path)).chosen
    assert chosen is not None
    assert (chosen.intervals, chosen.monitors) == (False, False)


def test_without_adapters_there_is_no_version(tmp_path: Path) -> None:
    reading = reading_of({}, AdapterChoice(), Roots(sys=tmp_path))
    assert reading.chosen is None
    assert not isinstance(reading.version, tuple)


def test_a_known_bad_pair_is_reached_from_what_is_read(tmp_path: Path) -> None:
    told = tmp_path / "proc/sys/kernel"
    told.mkdir(parents=True)
    (told / "osrelease").write_text("6.18.34+rpt-rpi-2712\n")
    roots = Roots(tmp_path / "proc", tmp_path / "sys")
    bluez = reading_of(objects(), AdapterChoice(), roots)
    row = pair_row(kernel(roots), bluez.version, advert_accepted=False)
    assert row.state == "failing"
    assert "6.18.34+rpt-rpi-2712, BlueZ 5.82" in row.found
    assert "6.18.36" in row.do


async def test_without_a_system_bus_it_says_what_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    told = await read_bluez(AdapterChoice(), Roots())
    assert isinstance(told, Refused)
    assert "systemctl start dbus" in told.do
