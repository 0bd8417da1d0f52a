"""An advertisement monitor, whose only work is to be there.

While it discovers, the kernel has the controller drop adverts that it takes for repetitions,
which for many controllers is everything from an address that was heard before: RSSI would come
once in ten seconds. While any monitor is registered it does not (``hci_active_scan_sync`` in
net/bluetooth/hci_sync.c). So a monitor is registered that no advert matches.

Monitors are experimental before BlueZ 5.79: bluetoothd has them only when started with -E.
Annotations are not deferred here, see ``bluez_advertisement``.
"""

from typing import Annotated, Final

from dbus_fast import PropertyAccess
from dbus_fast.annotations import DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from twochannel.radio import bluez_names as names

_Patterns = Annotated[list[tuple[int, int, bytes]], DBusSignature("a(yyay)")]

#: Start in the advertising data, element type, content: the manufacturer data of a company whose
#: number is not assigned (0xFFFF), and nothing that anybody sends under it.
_MATCHES_NOTHING: Final = (0, 0xFF, b"\xff\xffcigarjack matches nothing")


class NothingMonitor(ServiceInterface):
    """A monitor for an advert that does not exist."""

    def __init__(self) -> None:
        super().__init__(names.MONITOR)

    @dbus_property(PropertyAccess.READ, names.TYPE)
    def kind(self) -> DBusStr:
        return names.TYPE_OR_PATTERNS

    @dbus_property(PropertyAccess.READ, names.PATTERNS)
    def patterns(self) -> _Patterns:
        return [_MATCHES_NOTHING]

    # BlueZ calls these; there is nothing to do.

    @dbus_method(names.RELEASE)
    def release(self) -> None:
        return

    @dbus_method(names.ACTIVATE)
    def activate(self) -> None:
        return

    @dbus_method(names.DEVICE_FOUND)
    def device_found(self, _device: DBusObjectPath) -> None:
        return

    @dbus_method(names.DEVICE_LOST)
    def device_lost(self, _device: DBusObjectPath) -> None:
        return
