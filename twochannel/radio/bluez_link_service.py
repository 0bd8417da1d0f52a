"""The link's GATT service, offered through bluetoothd by bless.

Of bless only the GATT application is used: its server would also advertise, by the name of the
adapter, which it overwrites. Nor does bless pass on who writes and with which MTU, nor what has
been confirmed; that is read from the messages before bless gets them. Loaded when an invitation
is first made, as bless brings a second D-Bus library (dbus-next).

Answers are indications. Notifications for another BlueZ are gathered into one of 2 bytes more
header (bt_gatt_server_send_notification), in which the longest do not fit and are lost. Besides, an
indication is confirmed, so that a jack sends no faster than its phone takes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from bless.backends.bluezdbus.dbus.application import BlueZGattApplication
from bless.backends.bluezdbus.dbus.characteristic import BlueZGattCharacteristic, Flags
from dbus_next.aio.message_bus import MessageBus
from dbus_next.constants import BusType, MessageType
from dbus_next.errors import DBusError
from dbus_next.message import Message

from twochannel.radio import bluez_names as names
from twochannel.radio import port
from twochannel.radio.bluez_adapters import Adapter
from twochannel.radio.bluez_bus import CALL_TIMEOUT_S
from twochannel.radio.bluez_echoes import uuid_text
from twochannel.radio.bluez_refusals import NO_ANSWER, NO_SERVICE, BluezError, meaning

_NAME: Final = "cigarjack"  # of the application on the bus; nobody on the air sees it
_ROOT: Final = "/"  # where bless answers what there is
_SERVICE: Final = uuid_text(port.LINK_SERVICE_UUID)
#: Why dbus-next cannot do it: its own errors, an absent bus or service, a message that is none.
_ERRORS: Final = (DBusError, OSError, EOFError)


class Listener(Protocol):
    """Who is told what the devices do with the service."""

    def on_packet(self, device: str, att_mtu: int, packet: bytes) -> bool:
        """``device`` (its D-Bus path) has written; False if that is not its turn."""
        ...

    def on_confirmed(self) -> None:
        """What was indicated last has arrived."""
        ...

    def on_subscribed(self) -> None: ...

    def on_unsubscribed(self) -> None:
        """Nobody is subscribed any more: bluetoothd says so also when a device is gone."""
        ...

    def on_dropped(self) -> None:
        """bluetoothd or the adapter is gone, and with it every connection."""
        ...


class LinkService:
    """The service on a bus connection of its own. ``offered`` while bluetoothd has it."""

    def __init__(self, radio: str, listener: Listener) -> None:
        self._radio = radio
        self._listener = listener
        self._bus: MessageBus | None = None
        self._answer: BlueZGattCharacteristic | None = None
        self._offered_on: str | None = None

    @property
    def offered(self) -> bool:
        """True while bluetoothd has it, as far as is known."""
        return self._offered_on is not None

    async def open(self) -> None:
        """Connect to the bus and build the service. Raises BluezError."""
        bus = MessageBus(bus_type=BusType.SYSTEM)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await bus.connect()
        except _ERRORS as error:
            _close_socket(bus)
            raise BluezError(self._radio, f"cannot reach the system bus ({error})") from error
        self._bus = bus
        bus.add_message_handler(self._before_bless)
        application = BlueZGattApplication(_NAME, names.BLUEZ, bus)
        # In bless's place below /org/bluez bleak would take it for what another device offers.
        application.base_path = f"/{_NAME}"
        application.Write = lambda _characteristic, _value: None  # taken before
        application.StartNotify = lambda _: self._listener.on_subscribed()
        application.StopNotify = lambda _: self._listener.on_unsubscribed()
        await application.add_service(_SERVICE)
        await application.add_characteristic(
            *(_SERVICE, uuid_text(port.LINK_REQUEST_UUID), b""),
            [Flags.WRITE, Flags.WRITE_WITHOUT_RESPONSE],
        )
        self._answer = await application.add_characteristic(
            _SERVICE, uuid_text(port.LINK_ANSWER_UUID), b"", [Flags.INDICATE]
        )
        bus.export(_ROOT, application)

    async def close(self) -> None:
        """Let go; bluetoothd drops what it has."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()  # type: ignore[no-untyped-call]
            gone = bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
            await asyncio.gather(gone, return_exceptions=True)
            _close_socket(bus)

    async def offer(self, adapter: Adapter) -> None:
        """Register it with bluetoothd. Raises BluezError."""
        if self._bus is None:
            raise BluezError(self._radio, NO_SERVICE)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = await self._bus.call(self._registration(adapter))
        except TimeoutError as error:
            raise BluezError(self._radio, NO_ANSWER) from error
        except (OSError, EOFError) as error:
            raise BluezError(self._radio, NO_SERVICE) from error
        if answer is not None and answer.message_type is MessageType.ERROR:
            self._check_refusal(answer)
        self._offered_on = adapter.path

    def _check_refusal(self, answer: Message) -> None:
        if answer.error_name != names.ALREADY_EXISTS:  # after an answer that did not come
            text = str(answer.body[0]) if answer.body else ""
            reason = meaning(answer.error_name, text, names.REGISTER_APPLICATION)
            raise BluezError(self._radio, reason, answer.error_name)

    def _registration(self, adapter: Adapter) -> Message:
        # bless would introspect the adapter first, which takes longer than all the rest.
        return Message(
            destination=names.BLUEZ,
            path=adapter.path,
            interface=names.GATT_MANAGER,
            member=names.REGISTER_APPLICATION,
            signature="oa{sv}",
            body=[_ROOT, {}],
        )

    def drop(self) -> None:
        """bluetoothd or the adapter is gone, and the registration with it."""
        self._offered_on = None
        self._listener.on_dropped()

    def indicate(self, packet: bytes) -> None:
        """Send to whoever is subscribed; ``on_confirmed`` follows."""
        if self._bus is not None and self._bus.connected and self._answer is not None:
            self._answer.Value = packet  # type: ignore[method-assign]

    def _before_bless(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        if message.member == names.CONFIRM:
            self._listener.on_confirmed()
            return True
        return self._before_write(message) if message.member == names.WRITE else None

    def _before_write(self, message: Message) -> Message | None:
        packet, options = message.body
        device, att_mtu = _value(options, "device"), _value(options, "mtu")
        if isinstance(device, str) and self._listener.on_packet(
            device, att_mtu if isinstance(att_mtu, int) else 0, bytes(packet)
        ):
            return None
        return Message.new_error(message, names.NOT_PERMITTED, "another phone is served")


def _close_socket(bus: MessageBus) -> None:
    # dbus-next shuts its socket down and leaves it open.
    bus._stream.close()
    bus._sock.close()


def _value(options: dict[str, Any], name: str) -> Any:
    return options[name].value if name in options else None
