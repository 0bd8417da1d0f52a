"""The D-Bus object by which bluetoothd learns what to advertise.

Annotations are not deferred here: the library reads them, and a deferred None is none to it.
"""

from collections.abc import Callable
from typing import Annotated

from dbus_fast import PropertyAccess, Variant
from dbus_fast.annotations import DBusBool, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_echoes import uuid_text
from twochannel.radio.port import Broadcast

_Strings = Annotated[list[str], DBusSignature("as")]
_Variants = Annotated[dict[str, Variant], DBusSignature("a{sv}")]

_Numbered = Annotated[dict[int, Variant], DBusSignature("a{qv}")]

_READ = PropertyAccess.READ
#: Assigned Numbers, 7.1: not to be used in products, for tests alone.
_NO_MANUFACTURER = 0xFFFF


class Advertisement(ServiceInterface):
    """One broadcast, for one registration.

    Its advert is that of ``adverts.advertising_data``: a 16-bit service is also listed, a
    128-bit one has no room for that. ``on_release`` is called when bluetoothd drops it.
    """

    _kind = names.TYPE_BROADCAST

    def __init__(self, broadcast: Broadcast, on_release: Callable[[], None]) -> None:
        super().__init__(names.ADVERTISEMENT)
        self._broadcast = broadcast
        self._on_release = on_release

    @dbus_property(_READ, names.TYPE)
    def kind(self) -> DBusStr:
        return self._kind

    @dbus_property(_READ, names.SERVICE_UUIDS)
    def service_uuids(self) -> _Strings:
        uuid = self._broadcast.service_uuid
        return [uuid_text(uuid)] if uuid < 1 << 16 else []

    @dbus_property(_READ, names.SERVICE_DATA)
    def service_data(self) -> _Variants:
        data = Variant("ay", self._broadcast.service_data)
        return {uuid_text(self._broadcast.service_uuid): data}

    @dbus_property(_READ, names.MIN_INTERVAL)
    def min_interval_ms(self) -> DBusUInt32:
        return self._broadcast.interval_ms

    @dbus_property(_READ, names.MAX_INTERVAL)
    def max_interval_ms(self) -> DBusUInt32:
        return self._broadcast.interval_ms

    @dbus_method(names.RELEASE)
    def release(self) -> None:
        self._on_release()


class EmptyAdvertisement(ServiceInterface):
    """An advert of nobody's that says nothing, for a registration that ends at once.

    bluetoothd takes none without data: it is a byte of the manufacturer that stands for none.
    """

    def __init__(self) -> None:
        super().__init__(names.ADVERTISEMENT)

    @dbus_property(_READ, names.TYPE)
    def kind(self) -> DBusStr:
        return names.TYPE_BROADCAST

    @dbus_property(_READ, names.MANUFACTURER_DATA)
    def manufacturer_data(self) -> _Numbered:
        return {_NO_MANUFACTURER: Variant("ay", b"\0")}

    @dbus_method(names.RELEASE)
    def release(self) -> None:
        return


class InvitingAdvertisement(Advertisement):
    """One invitation: connectable, and as ``adverts.invitation_data`` has it.

    BlueZ as a scanner overlooks connectable adverts whose Flags do not say discoverable.
    """

    _kind = names.TYPE_PERIPHERAL

    @dbus_property(_READ, names.DISCOVERABLE)
    def discoverable(self) -> DBusBool:
        return True
