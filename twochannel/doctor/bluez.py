"""Reads bluetoothd: its version, its adapters, and what it can do for adverts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twochannel.doctor import machine
from twochannel.doctor.findings import Missing, Refused, Unread
from twochannel.doctor.known_bad import bluez_version
from twochannel.doctor.machine import Roots
from twochannel.doctor.radio_rules import refused
from twochannel.doctor.readings import AdapterReading, BluezReading, Hardware
from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import AdapterChoice, adapters_among

#: path -> interface -> properties.
_Objects = Mapping[str, Mapping[str, Mapping[str, Any]]]


async def read_bluez(choice: AdapterChoice, roots: Roots) -> BluezReading | Refused | Missing:
    """bluetoothd as an ordinary user sees it; nothing is changed."""
    try:
        from twochannel.radio.bluez_bus import Bus
    except ImportError:
        return Unread('D-Bus needs more of us: pip install "cigarjack[bluez]"')
    from twochannel.radio.bluez_refusals import BluezError

    bus = Bus("bluez", lambda: None, lambda _reason: None)
    try:
        await bus.connect()
        return reading_of(await bus.objects(), choice, roots)
    except BluezError as error:
        return refused(error.reason)
    finally:
        await bus.close()


def reading_of(objects: _Objects, choice: AdapterChoice, roots: Roots) -> BluezReading:
    """What bluetoothd's objects say."""
    adapters = adapters_among(objects)
    read = {path: _adapter(path, objects[path], roots) for path in adapters}
    chosen = choice.pick(adapters)
    modalias = next(
        (str(objects[path][names.ADAPTER].get(names.MODALIAS, "")) for path in read), ""
    )
    return BluezReading(
        bluez_version(modalias) if read else Unread("without an adapter it tells no version"),
        tuple(read.values()),
        read[chosen.path] if chosen else None,
    )


def _adapter(
    path: str, interfaces: Mapping[str, Mapping[str, Any]], roots: Roots
) -> AdapterReading:
    adapter, manager = interfaces[names.ADAPTER], interfaces[names.ADVERTISING_MANAGER]
    name = path.rpartition("/")[2]
    return AdapterReading(
        name=name,
        address=str(adapter.get(names.ADDRESS, "")).upper(),
        powered=bool(adapter.get(names.POWERED)),
        discovering=bool(adapter.get(names.DISCOVERING)),
        extended=bool(manager.get(names.SECONDARY_CHANNELS)),
        intervals=names.SUPPORTED_CAPABILITIES in manager,
        monitors=names.MONITOR_MANAGER in interfaces,
        active_adverts=int(manager.get(names.ACTIVE_INSTANCES, 0)),
        free_slots=int(manager.get(names.SUPPORTED_INSTANCES, 0)),
        hardware=_hardware(name, adapter, roots),
    )


def _hardware(name: str, adapter: Mapping[str, Any], roots: Roots) -> Hardware | Missing:
    told = machine.controller(roots, name)
    if isinstance(told, Hardware) or names.MANUFACTURER not in adapter:
        return told
    manufacturer, version = int(adapter[names.MANUFACTURER]), adapter.get(names.VERSION)
    return Hardware(f"manufacturer {manufacturer}, HCI version {version}", manufacturer)
