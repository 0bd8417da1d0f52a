"""One connection to the system bus, by which the BlueZ backend talks to bluetoothd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from dbus_fast import BusType, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError
from dbus_fast.service import ServiceInterface
from dbus_fast.unpack import unpack_variants

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_refusals import NO_ANSWER, BluezError, meaning

#: bluetoothd answers in milliseconds, but waits itself for controllers that load firmware.
CALL_TIMEOUT_S: Final = 5.0
#: The bus has more to do while a small machine starts everything.
_CONNECT_TIMEOUT_S: Final = 20.0

_NO_BUS: Final = "cannot reach the system bus ({}): start it with `systemctl start dbus`"
_LOST_BUS: Final = "lost the system bus: start it with `systemctl start dbus`"

#: What wakes whoever keeps the radio: bluetoothd came or went, the adapter changed.
_SIGNALS: Final = (
    f"type='signal',sender='{names.BUS}',member='{names.NAME_OWNER_CHANGED}',arg0='{names.BLUEZ}'",
    *(
        f"type='signal',sender='{names.BLUEZ}',member='{names.PROPERTIES_CHANGED}',arg0='{name}'"
        for name in (names.ADAPTER, names.ADVERTISING_MANAGER)
    ),
)


class Bus:
    """Calls on bluetoothd that end: with an answer, or with BluezError.

    ``on_signal`` is called when something of ours may have changed; ``on_lost`` once the
    connection to the bus is gone, for good.
    """

    def __init__(
        self, radio: str, on_signal: Callable[[], None], on_lost: Callable[[str], None]
    ) -> None:
        self._radio = radio
        self._on_signal = on_signal
        self._on_lost = on_lost
        self._bus: MessageBus | None = None
        self._watch: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Raises BluezError if there is no system bus."""
        bus = MessageBus(bus_type=BusType.SYSTEM)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                self._bus = await bus.connect()
        except (OSError, EOFError, DBusFastError) as error:
            bus.disconnect()
            reason = _NO_BUS.format(str(error) or type(error).__name__)
            raise BluezError(self._radio, reason) from error
        self._watch = asyncio.create_task(self._until_lost(self._bus))
        self._bus.add_message_handler(self._on_message)
        for rule in _SIGNALS:
            await self._ask(names.BUS, names.BUS_PATH, names.BUS_INTERFACE, names.ADD_MATCH, rule)

    async def close(self) -> None:
        """Let go; everything registered through this connection ends with it."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._bus is not None:
            self._bus.disconnect()

    async def owner(self) -> str | None:
        """The unique name of the bluetoothd that runs now; None if none does."""
        try:
            owner = await self._ask(
                *(names.BUS, names.BUS_PATH, names.BUS_INTERFACE, names.GET_NAME_OWNER),
                names.BLUEZ,
            )
        except BluezError as refusal:
            if refusal.error_name == names.NAME_HAS_NO_OWNER:
                return None
            raise
        return str(owner)

    async def objects(self) -> dict[str, dict[str, dict[str, Any]]]:
        """All of bluetoothd's objects: path -> interface -> properties. Long on a busy site."""
        return dict(
            await self._ask(
                names.BLUEZ, names.ROOT_PATH, names.OBJECT_MANAGER, names.GET_MANAGED_OBJECTS
            )
        )

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """All properties of one of bluetoothd's objects."""
        return dict(await self._ask(names.BLUEZ, path, names.PROPERTIES, names.GET_ALL, interface))

    async def set_flag(self, path: str, interface: str, name: str, *, value: bool) -> None:
        """Set a property that is true or false."""
        flag = Variant("b", value)
        await self._ask(
            names.BLUEZ, path, names.PROPERTIES, names.SET, interface, name, flag, signature="ssv"
        )

    def export(self, path: str, interface: ServiceInterface) -> None:
        """Offer an object of ours to bluetoothd. Raises BluezError."""
        self._connected().export(path, interface)

    def withdraw(self, path: str) -> None:
        """Offer it no longer."""
        if self._bus is not None and self._bus.connected:
            self._bus.unexport(path)

    async def call(self, path: str, interface: str, method: str, *body: Any, signature: str) -> Any:
        """Call a method of one of bluetoothd's objects."""
        return await self._ask(names.BLUEZ, path, interface, method, *body, signature=signature)

    def _connected(self) -> MessageBus:
        if self._bus is None or not self._bus.connected:
            raise BluezError(self._radio, _LOST_BUS)
        return self._bus

    async def _ask(
        self, service: str, path: str, interface: str, method: str, *body: Any, signature: str = ""
    ) -> Any:
        message = Message(
            destination=service,
            path=path,
            interface=interface,
            member=method,
            signature=signature or "s" * len(body),
            body=list(body),
            # bluetoothd is started by whoever runs the machine, not by being asked.
            flags=MessageFlag.NO_AUTOSTART,
        )
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = await self._connected().call(message)
        except TimeoutError:
            raise BluezError(self._radio, NO_ANSWER) from None
        except (OSError, EOFError, DBusFastError) as error:
            raise BluezError(self._radio, _LOST_BUS) from error
        if reply.message_type is MessageType.ERROR:
            text = str(reply.body[0]) if reply.body else ""
            name = reply.error_name or ""
            raise BluezError(self._radio, meaning(name, text, method), name)
        return unpack_variants(reply.body[0]) if reply.body else None

    def _on_message(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL:
            self._on_signal()

    async def _until_lost(self, bus: MessageBus) -> None:
        # The library ends this wait with whatever error ended the connection.
        await asyncio.gather(
            bus.wait_for_disconnect(),  # type: ignore[no-untyped-call]
            return_exceptions=True,
        )
        self._on_lost(f'The radio "{self._radio}" {_LOST_BUS}, then open the radio again.')
