"""Tells adverts from echoes among what BlueZ says of a device; pure.

bluetoothd keeps one object for each address, and bleak hands over all its properties whenever
any of them changes. What is an advert then? bluetoothd signals a change of RSSI for each advert
that it receives while a discovery filter is set, even if the value is the same. So:

- without RSSI nothing was received: an object was loaded, or discovery has ended;
- a change of what no advert carries (Connected, Paired, Trusted, …) is an echo, whatever RSSI
  stands there from before;
- everything else is an advert.

One thing stays hidden: an advert without service data, from an address that has sent some
before, shows the earlier service data again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from twochannel.radio import bluez_names as names
from twochannel.radio.port import Sighting

#: What an advert or scan response carries, or bluetoothd derives from it (org.bluez.Device.rst).
_OF_AN_ADVERT: Final = frozenset(
    {
        *(names.RSSI, "TxPower", names.SERVICE_DATA, "ManufacturerData", "UUIDs"),
        *("AdvertisingFlags", "AdvertisingData", "Name", "Alias", "Appearance", "Icon", "Class"),
    }
)
#: Addresses remembered: those of a very busy site; about 1 MB.
REMEMBERED_DEVICES: Final = 1024

#: Service UUIDs of 16 bits are these 128 bits with the 16 in the place of xxxx (Core spec,
#: Vol 3 Part B section 2.5.1): 0000xxxx-0000-1000-8000-00805F9B34FB.
_BASE_UUID: Final = 0x00000000_0000_1000_8000_00805F9B34FB
_SHORT_UUID_SHIFT: Final = 96


class EchoGate:
    """Remembers of each device what is no advert's doing, to notice when just that changes."""

    def __init__(self) -> None:
        self._devices: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def is_advert(self, device: str, properties: Mapping[str, Any]) -> bool:
        """Whether this change of ``device`` (its path) is an advert that was just received."""
        state = {name: value for name, value in properties.items() if name not in _OF_AN_ADVERT}
        known = self._devices.pop(device, state)
        self._devices[device] = state
        if len(self._devices) > REMEMBERED_DEVICES:
            self._devices.popitem(last=False)
        return names.RSSI in properties and known == state


def service_uuid(text: str) -> int:
    """A UUID as BlueZ writes it, as ``port.Sighting`` has it. Raises ValueError."""
    uuid = int(text.replace("-", ""), 16)
    short, rest = uuid >> _SHORT_UUID_SHIFT, uuid & ((1 << _SHORT_UUID_SHIFT) - 1)
    return short if rest == _BASE_UUID and short < 1 << 16 else uuid


def uuid_text(uuid: int) -> str:
    """A UUID of ``port.Sighting`` as BlueZ writes it."""
    if uuid < 1 << 16:
        return f"{uuid:04x}"
    digits = f"{uuid:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def sighting(
    address: str, service_data: Mapping[str, bytes], properties: Mapping[str, Any], now_s: float
) -> Sighting | None:
    """The sighting of an advert; None if it has no service data."""
    random = properties.get(names.ADDRESS_TYPE) == names.RANDOM
    for uuid, data in service_data.items():
        rssi_dbm = int(properties[names.RSSI])
        return Sighting(address, service_uuid(uuid), bytes(data), rssi_dbm, now_s, random)
    return None
