"""Links through BlueZ: the jack's GATT server on bless, the phone's client on bleak.

bluetoothd tells a GATT server little. That a device has come is known from its first write, which
names it and its MTU; so a phone writes an empty request as soon as it has subscribed. That it has
gone shows in that nobody is subscribed any more, or that bluetoothd lists it no longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Final

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError
from dbus_fast.errors import DBusFastError

from twochannel.radio import adverts, port
from twochannel.radio.bluez_advertiser import check_interval
from twochannel.radio.bluez_devices import device_path
from twochannel.radio.bluez_echoes import uuid_text
from twochannel.radio.bluez_keeper import BluezKeeper
from twochannel.radio.bluez_refusals import BluezError
from twochannel.radio.link_inbox import (
    ATT_HEADER_BYTES,
    CONNECT_TIMEOUT_S,
    GONE,
    HUNG_UP,
    NO_SERVICE,
    NOT_MADE,
    LinkStream,
    PacketInbox,
    check_packet,
    packet_limit_bytes,
)
from twochannel.radio.port import Broadcast, Link, LinkError, Sighting

_log = logging.getLogger(__name__)

#: A phone subscribes and writes within seconds; who does not is no phone of ours.
STRANGER_TIMEOUT_S: Final = 10.0
#: bluetoothd tells that a connection has ended before the kernel has let go of it: 13 ms were seen,
#: in which another one is refused.
_ENDED_S: Final = 0.3
#: How often connections are looked at while a jack invites.
_LOOK_EVERY_S: Final = 2.0
_ERRORS: Final = (BleakError, DBusFastError, OSError, EOFError)


class BluezPeripheral:
    """See ``port.Peripheral``."""

    def __init__(self, radio: str, keeper: BluezKeeper) -> None:
        self._radio = radio
        self._keeper = keeper
        self._inviting = False

    @contextlib.asynccontextmanager
    async def inviting(self, invitation: Broadcast) -> AsyncIterator[AsyncIterator[Link]]:
        """See ``port.Peripheral``. ValueError if it does not fit an advert, RuntimeError twice."""
        check_interval(invitation.interval_ms)
        adverts.invitation_data(invitation.service_uuid, invitation.service_data)
        if self._inviting:
            raise RuntimeError("the radio invites already")
        self._inviting = True
        reception = _Reception(self._radio, self._keeper)
        serving: asyncio.Task[None] | None = None
        try:
            await reception.open(invitation)
            serving = asyncio.create_task(reception.serve())
            serving.add_done_callback(reception.unattended)
            yield reception.links
        finally:
            if serving is not None:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
            try:
                await reception.close()
            finally:
                self._inviting = False


class _Guest:
    """The jack's end of a link with the device at a D-Bus path. See ``port.Link``.

    ``confirmed``: what was sent last has arrived. ``gone``: the connection is known to be over.
    """

    def __init__(self, device: str, reception: _Reception) -> None:
        self.device = device
        self.att_mtu = 0
        self.gone = False
        self.inbox = PacketInbox()
        self.confirmed = asyncio.Event()
        self.confirmed.set()
        self.inbox.ended.add_done_callback(lambda _ended: self.confirmed.set())
        self._reception = reception

    @property
    def packet_limit_bytes(self) -> int:
        return packet_limit_bytes(self.att_mtu)

    async def send(self, packet: bytes) -> None:
        check_packet(packet, self.packet_limit_bytes)
        await self.confirmed.wait()
        self.inbox.check()
        self.confirmed.clear()
        self._reception.indicate(packet)

    async def receive(self) -> bytes:
        return await self.inbox.get()

    async def close(self) -> None:
        self.inbox.end(HUNG_UP)
        await self._reception.dismiss(self)

    def leave(self) -> None:
        """The connection is over."""
        self.gone = True
        self.inbox.end(GONE)


class _Reception:
    """One invitation: its GATT service, and one guest after the other."""

    def __init__(self, radio: str, keeper: BluezKeeper) -> None:
        # Only now: whoever never invites loads no bless.
        from twochannel.radio.bluez_link_service import LinkService

        self._keeper = keeper
        self._service = LinkService(radio, self)
        self.links = LinkStream()
        self._guest: _Guest | None = None
        self._subscribed = False
        self._others: set[str] = set()
        self._met: set[str] = set()
        self._strangers: dict[str, float] = {}

    async def open(self, invitation: Broadcast) -> None:
        """Offer the service and invite to it. Raises BluezError."""
        self._others = await self._keeper.devices.connected(self._keeper.adapter)
        await self._service.open()
        await self._keeper.invite(invitation, self._service)

    async def close(self) -> None:
        """Take the invitation off the air, hang up, and withdraw the service."""
        self.links.end()
        with contextlib.suppress(BluezError):  # what is lost is silent
            await self._keeper.stop_inviting()
        if self._guest is not None:
            self._guest.inbox.end(HUNG_UP)
        with contextlib.suppress(BluezError):  # so are its connections
            self._met |= await self._keeper.devices.connected(self._keeper.adapter) - self._others
        await asyncio.gather(*(self._keeper.devices.forget(device) for device in self._met))
        await self._service.close()

    def indicate(self, packet: bytes) -> None:
        """Send to the guest."""
        self._service.indicate(packet)

    async def dismiss(self, guest: _Guest) -> None:
        """End a guest's connection, and be free for another."""
        # The device of one that left by itself may be connected again already.
        if not guest.gone:
            await self._keeper.devices.forget(guest.device)
        if self._guest is guest:
            self._guest = None

    # --- what bluetoothd tells (bluez_link_service.Listener)

    def on_packet(self, device: str, att_mtu: int, packet: bytes) -> bool:
        if not self._subscribed:
            return False
        guest = self._guest
        if guest is None or guest.gone:
            guest = self._guest = _Guest(device, self)
            self._met.add(device)
            self._others.discard(device)
            self.links.put(guest)
        if guest.device != device:
            return False
        guest.att_mtu = att_mtu
        guest.inbox.put(packet)
        return True

    def on_confirmed(self) -> None:
        if self._guest is not None:
            self._guest.confirmed.set()

    def on_subscribed(self) -> None:
        self._subscribed = True

    def on_unsubscribed(self) -> None:
        self._subscribed = False
        if self._guest is not None:
            self._guest.leave()

    def on_dropped(self) -> None:
        self.on_unsubscribed()

    # --- looking after it

    async def serve(self) -> None:
        """Look after the connections: a guest that is no more, strangers that stay too long."""
        while True:
            guest = self._guest
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    if guest is None:
                        await asyncio.Event().wait()
                    else:
                        await asyncio.shield(guest.inbox.ended)
            if guest is not None and guest.inbox.ended.done():
                await self.dismiss(guest)
            with contextlib.suppress(BluezError):  # the keeper sees to it
                await self._look()

    def unattended(self, serving: asyncio.Task[None]) -> None:
        """Nobody looks after the connections any more: no link can be had from here."""
        if not serving.cancelled():
            self.links.end(f"The links are not looked after ({serving.exception()!r}).")

    async def _look(self) -> None:
        devices, now_s = self._keeper.devices, time.monotonic()
        present = await devices.connected(self._keeper.adapter)
        self._others &= present
        connected = present - self._others
        guest = self._guest
        if guest is not None and guest.device not in connected:
            guest.leave()
        strangers = connected - {guest.device} if guest is not None else connected
        self._strangers = {one: self._strangers.get(one, now_s) for one in strangers}
        for device, since_s in self._strangers.items():
            if now_s - since_s > STRANGER_TIMEOUT_S:
                await devices.forget(device)


class BluezCentral:
    """See ``port.Central``."""

    def __init__(self, keeper: BluezKeeper) -> None:
        self._keeper = keeper

    @contextlib.asynccontextmanager
    async def connected(self, invitation: Sighting) -> AsyncIterator[Link]:
        """See ``port.Central``. The radio does not listen until the connection is made."""
        visit = _Visit(self._keeper, invitation.address)
        try:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    link = await _at_second_try(visit)
            except TimeoutError as error:
                raise LinkError(NOT_MADE) from error
            except _ERRORS as error:
                raise LinkError(f"The connection could not be made ({error}).") from error
            yield link
        finally:
            await visit.leave()


async def _at_second_try(visit: _Visit) -> Link:
    """A connection often breaks just after it was made, in which case the second one holds.

    Raises LinkError and what bleak raises.
    """
    try:
        return await visit.make()
    except (*_ERRORS, LinkError) as error:
        _log.info("connection_broke", extra={"address": visit.address, "reason": str(error)})
        # Not forgotten: while it is deaf the adapter would not come to know the device again.
        await visit.hang_up()
        await asyncio.sleep(_ENDED_S)
        return await visit.make()


class _Visit:
    """The phone's connection to the device of an address, if there is one."""

    def __init__(self, keeper: BluezKeeper, address: str) -> None:
        self._keeper = keeper
        self.address = address
        self._inbox = PacketInbox()
        self._client: BleakClient | None = None
        self._device = ""

    async def make(self) -> Link:
        """Raises LinkError and what bleak raises; leave it then, too."""
        self._inbox = PacketInbox()
        async with self._keeper.deaf() as adapter:
            self._device = device_path(adapter, self.address)
            self._client = _client(adapter.path, self._device, self.address, self._inbox)
            await self._client.connect()
        return await _opened(self._client, self._inbox)

    async def hang_up(self) -> None:
        """End the connection, if there is one."""
        self._inbox.end(HUNG_UP)
        if self._client is not None:
            await _leave(self._client)
            self._client = None

    async def leave(self) -> None:
        """Hang up, and let bluetoothd forget the device."""
        await self.hang_up()
        if self._device:
            await self._keeper.devices.forget(self._device)
            self._device = ""


def _client(adapter: str, device: str, address: str, inbox: PacketInbox) -> BleakClient:
    # Not by its address alone: for that bleak would scan anew.
    known = BLEDevice(address, None, {"path": device, "props": {"Adapter": adapter}})
    return BleakClient(known, disconnected_callback=lambda _client: inbox.end(GONE))


async def _opened(client: BleakClient, inbox: PacketInbox) -> Link:
    """Subscribe, and make ourselves known. Raises LinkError and what bleak raises."""
    service = client.services.get_service(uuid_text(port.LINK_SERVICE_UUID))
    if service is None:
        raise LinkError(NO_SERVICE)
    request = service.get_characteristic(uuid_text(port.LINK_REQUEST_UUID))
    answer = service.get_characteristic(uuid_text(port.LINK_ANSWER_UUID))
    if request is None or answer is None:
        raise LinkError(NO_SERVICE)
    await client.start_notify(answer, lambda _from, packet: inbox.put(bytes(packet)))
    await client.write_gatt_char(request, b"", response=True)
    return _ClientLink(client, request, inbox)


async def _leave(client: BleakClient) -> None:
    with contextlib.suppress(*_ERRORS):  # it is gone already
        await client.disconnect()


class _ClientLink:
    """The phone's end of a link. See ``port.Link``."""

    def __init__(
        self, client: BleakClient, request: BleakGATTCharacteristic, inbox: PacketInbox
    ) -> None:
        self._client = client
        self._request = request
        self._inbox = inbox

    @property
    def packet_limit_bytes(self) -> int:
        return packet_limit_bytes(self._request.max_write_without_response_size + ATT_HEADER_BYTES)

    async def send(self, packet: bytes) -> None:
        check_packet(packet, self.packet_limit_bytes)
        self._inbox.check()
        try:
            # Without a response one overtakes another, on the several bearers of two BlueZ (EATT).
            await self._client.write_gatt_char(self._request, packet, response=True)
        except _ERRORS as error:
            self._inbox.end(GONE)
            raise LinkError(GONE) from error

    async def receive(self) -> bytes:
        return await self._inbox.get()

    async def close(self) -> None:
        self._inbox.end(HUNG_UP)
        await _leave(self._client)
