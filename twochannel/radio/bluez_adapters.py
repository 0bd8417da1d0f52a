"""Which of a machine's adapters a radio means, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twochannel.radio import bluez_names as names

_ADDRESS = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}")
_BLUEZ = re.compile(r"usb:v1D6Bp0246d([0-9A-F]{2})([0-9A-F]{2})", re.IGNORECASE)
_HCI_NAME = re.compile(r"hci[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter as bluetoothd shows it. ``path``: its D-Bus object; ``name``: ``hci0``.

    ``blocked``: switched off by rfkill. ``extended``: the controller has extended advertising, so
    that each advert has an address of its own, which may change while the controller scans.
    """

    path: str
    address: str
    powered: bool
    discovering: bool
    blocked: bool = False
    extended: bool = False
    active_adverts: int = 0
    #: Names the bluetoothd that runs, unless an administrator has set another DeviceID.
    modalias: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """An adapter by address, by name, or (both None) any.

    Names move when adapters are unplugged, so that a name is good for finding an adapter once:
    from then on it is followed by its address, see ``settled``.
    """

    address: str | None = None
    name: str | None = None
    preferred: str | None = None

    @classmethod
    def parse(cls, text: str) -> AdapterChoice:
        """``""``, ``"hci0"`` or ``"AA:BB:CC:DD:EE:FF"``. Raises ValueError for anything else."""
        if not text:
            return cls()
        if _HCI_NAME.fullmatch(text):
            return cls(name=text)
        if _ADDRESS.fullmatch(text.upper()):
            return cls(address=text.upper())
        raise ValueError("an adapter is named like hci0 or by its address, AA:BB:CC:DD:EE:FF")

    def settled(self, adapter: Adapter) -> AdapterChoice:
        """The choice once it has led to ``adapter``."""
        if self.address is None and self.name is None:
            return AdapterChoice(preferred=adapter.address)
        return AdapterChoice(address=adapter.address)

    def pick(self, adapters: Mapping[str, Adapter]) -> Adapter | None:
        """The chosen one of ``adapters`` (by D-Bus path), or None if it is not there."""
        for adapter in sorted(adapters.values(), key=_number):
            if self._means(adapter):
                return adapter
        if self.address is None and self.name is None:
            return min(adapters.values(), key=_number, default=None)
        return None

    def _means(self, adapter: Adapter) -> bool:
        if self.name is not None:
            return adapter.name == self.name
        return adapter.address == (self.address or self.preferred)


def adapter_of(path: str, properties: Mapping[str, Any], manager: Mapping[str, Any]) -> Adapter:
    """An adapter from its own properties and those of its advertising manager."""
    return Adapter(
        path=path,
        address=str(properties.get(names.ADDRESS, "")).upper(),
        powered=bool(properties.get(names.POWERED)),
        discovering=bool(properties.get(names.DISCOVERING)),
        blocked=properties.get(names.POWER_STATE) == names.OFF_BLOCKED,
        extended=bool(manager.get(names.SECONDARY_CHANNELS)),
        active_adverts=int(manager.get(names.ACTIVE_INSTANCES, 0)),
        modalias=str(properties.get(names.MODALIAS, "")),
    )


def bluez_version(modalias: str) -> tuple[int, int] | None:
    """The BlueZ that an adapter's Modalias tells: usb:v1D6Bp0246d0542 is BlueZ 5.66."""
    found = _BLUEZ.fullmatch(modalias)
    return (int(found[1], 16), int(found[2], 16)) if found else None


def adapters_among(objects: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Adapter]:
    """The adapters among the managed objects of bluetoothd, by path."""
    return {
        path: adapter_of(path, interfaces[names.ADAPTER], interfaces[names.ADVERTISING_MANAGER])
        for path, interfaces in objects.items()
        # Without an advertising manager an adapter is not LE, or is just coming or going.
        if names.ADAPTER in interfaces and names.ADVERTISING_MANAGER in interfaces
    }


def connected_to(
    adapter: Adapter, objects: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> list[str]:
    """Paths of the devices that have a connection by way of ``adapter``."""
    devices = ((path, known.get(names.DEVICE, {})) for path, known in objects.items())
    return [
        path
        for path, device in devices
        if device.get(names.DEVICE_ADAPTER) == adapter.path and device.get(names.CONNECTED)
    ]


def _number(adapter: Adapter) -> tuple[int, str]:
    # hci10 comes after hci9.
    return len(adapter.name), adapter.name
