"""Links on a Bumble host: invitations taken on the jack's side, connections made on the phone's.

Loaded when a link is first asked for, with Bumble's GATT. Broadcasting and scanning go on while a
connection lasts; scanning pauses while one is made, as not every controller can do both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from bumble import att, gatt, hci
from bumble.gatt_client import CharacteristicProxy, Client

from twochannel.radio import hci_commands, port
from twochannel.radio.bumble import BumbleAdvertiser
from twochannel.radio.bumble_connection import (
    ATT_MTU,
    BumbleConnection,
    BumbleLink,
    Connections,
    gatt_server,
    gatt_uuid,
)
from twochannel.radio.hci_adapter import COMMAND_TIMEOUT_S, HciAdapter
from twochannel.radio.link_inbox import CONNECT_TIMEOUT_S, NO_SERVICE, NOT_MADE, LinkStream
from twochannel.radio.port import Broadcast, Link, LinkError, RadioError, Sighting

_log = logging.getLogger(__name__)

#: A phone subscribes within a second; who does not is no phone of ours, and makes way for one.
SUBSCRIBE_TIMEOUT_S: Final = 3.0


class BumbleLinks:
    """Both sides of links on one adapter."""

    def __init__(self, adapter: HciAdapter, advertiser: BumbleAdvertiser) -> None:
        self._connections = Connections(adapter)
        self.peripheral = BumblePeripheral(adapter, advertiser, self._connections)
        self.central = BumbleCentral(adapter, advertiser, self._connections)

    def close(self) -> None:
        """The radio closes."""
        self._connections.close()


class BumblePeripheral:
    """See ``port.Peripheral``. A GATT server with the one service, there while it invites."""

    def __init__(
        self, adapter: HciAdapter, advertiser: BumbleAdvertiser, connections: Connections
    ) -> None:
        self._adapter = adapter
        self._advertiser = advertiser
        self._connections = connections

    @contextlib.asynccontextmanager
    async def inviting(self, invitation: Broadcast) -> AsyncIterator[AsyncIterator[Link]]:
        """See ``port.Peripheral``. ValueError if it does not fit an advert, RuntimeError twice."""
        if self._connections.reception is not None:
            raise RuntimeError("the radio invites already")
        reception = _Reception(self._adapter, self._advertiser, self._connections, invitation)
        self._connections.reception = reception
        serving: asyncio.Task[None] | None = None
        try:
            await reception.open()
            serving = asyncio.create_task(reception.serve())
            yield reception.links
        finally:
            if serving is not None:
                serving.cancel()
            try:
                await reception.close()
            finally:
                self._connections.reception = None


class _Reception:
    """One invitation: its advert, its GATT server, and one connection after the other."""

    def __init__(
        self,
        adapter: HciAdapter,
        advertiser: BumbleAdvertiser,
        connections: Connections,
        invitation: Broadcast,
    ) -> None:
        self._adapter = adapter
        self._advertiser = advertiser
        self._connections = connections
        self._invitation = invitation
        self.links = LinkStream()
        self._guest: BumbleConnection | None = None
        self._arrived = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._server = gatt_server(adapter.host)
        self._answer = self._add_service()

    def _add_service(self) -> gatt.Characteristic[bytes]:
        kind, writeable = gatt.Characteristic.Properties, att.Attribute.Permissions.WRITEABLE
        request = gatt.Characteristic[bytes](
            gatt_uuid(port.LINK_REQUEST_UUID),
            kind.WRITE | kind.WRITE_WITHOUT_RESPONSE,
            writeable,
            att.AttributeValue(write=lambda _bearer, packet: self._on_packet(packet)),
        )
        answer = gatt.Characteristic[bytes](
            gatt_uuid(port.LINK_ANSWER_UUID), kind.NOTIFY, att.Attribute.Permissions(0)
        )
        answer.on(answer.EVENT_SUBSCRIPTION, self._on_subscription)
        self._server.add_service(
            gatt.Service(str(gatt_uuid(port.LINK_SERVICE_UUID)), [request, answer])
        )
        return answer

    # --- what the guest does

    def welcome(self, handle: int) -> BumbleConnection:
        """Take a connection that was made by the invitation."""
        self._advertiser.note_connection()
        self._guest = BumbleConnection(self._adapter.host, handle, self._server)
        self._arrived.set()
        return self._guest

    def end(self, failure: str | None) -> None:
        """The radio is closed, or lost."""
        self.links.end(failure)

    def _on_packet(self, packet: bytes) -> None:
        if self._guest is not None:
            self._guest.inbox.put(packet)

    def _on_subscription(self, _bearer: object, notify: bool, _indicate: bool) -> None:
        if notify:
            self._subscribed.set()

    # --- what the jack does

    async def open(self) -> None:
        """Put the invitation on the air, under a fresh address. Raises RadioError."""
        await self._adapter.exclusively(lambda: self._advertiser.invite(self._invitation))

    async def serve(self) -> None:
        """Serve one guest after the other, and invite again after each."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                if self._guest is not None:
                    await self._entertain(self._guest)
                    await self._connections.end(self._guest)
                self._guest = None
                self._subscribed.clear()
                await self.open()
        except RadioError as error:
            self.links.end(str(error))

    async def _entertain(self, guest: BumbleConnection) -> None:
        with contextlib.suppress(LinkError, TimeoutError):
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await guest.meanwhile(self._subscribed.wait())
            self.links.put(BumbleLink(guest, self._transmit, self._connections.end))
            await asyncio.shield(guest.inbox.ended)

    async def _transmit(self, packet: bytes) -> None:
        if self._guest is not None:
            await self._server.notify_subscriber(
                self._guest.bearer, self._answer, packet, force=True
            )

    async def close(self) -> None:
        """Take the invitation off the air and hang up."""
        self.links.end()
        with contextlib.suppress(RadioError):  # a lost radio is silent
            await self._adapter.exclusively(self._advertiser.stop_inviting)
        if self._guest is not None:
            await self._connections.end(self._guest)


class _Attempt:
    """One call of ``connected``: what it has made, and whether anybody still wants it."""

    def __init__(self) -> None:
        self.made: BumbleConnection | None = None
        self.given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class BumbleCentral:
    """See ``port.Central``."""

    def __init__(
        self, adapter: HciAdapter, advertiser: BumbleAdvertiser, connections: Connections
    ) -> None:
        self._adapter = adapter
        self._advertiser = advertiser
        self._connections = connections

    @contextlib.asynccontextmanager
    async def connected(self, invitation: Sighting) -> AsyncIterator[Link]:
        """See ``port.Central``."""
        attempt = _Attempt()
        try:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    link = await self._open(await self._connect(invitation, attempt))
            except TimeoutError as error:
                raise LinkError(NOT_MADE) from error
            yield link
        finally:
            if attempt.made is not None:
                await self._connections.end(attempt.made)

    async def _connect(self, invitation: Sighting, attempt: _Attempt) -> BumbleConnection:
        try:
            await self._adapter.exclusively(lambda: self._initiate(invitation, attempt))
        except asyncio.CancelledError:
            attempt.given_up.set_result(
                None
            )  # the sequence goes on without us, and puts everything back
            raise
        if attempt.made is None:
            raise LinkError(NOT_MADE)
        return attempt.made

    async def _initiate(self, invitation: Sighting, attempt: _Attempt) -> None:
        send = self._adapter.send
        if attempt.given_up.done():
            return
        await send(hci_commands.scan_enable(on=False))
        try:
            if not self._advertiser.on_air:  # a broadcast keeps the address it was sent under
                await send(hci_commands.fresh_address())
            outcome = self._connections.expect()
            await send(
                hci_commands.create_connection(
                    invitation.address, random_address=invitation.random_address
                )
            )
            await self._settle(outcome, attempt)
        finally:
            await send(hci_commands.scan_enable(on=True))

    async def _settle(
        self, outcome: asyncio.Future[BumbleConnection | None], attempt: _Attempt
    ) -> None:
        either: set[asyncio.Future[Any]] = {outcome, attempt.given_up}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not attempt.given_up.done():
            attempt.made = outcome.result()
            return
        if not outcome.done():
            # Refused if the connection was made just now; either way the outcome follows.
            with contextlib.suppress(RadioError):
                await self._adapter.send(hci.HCI_LE_Create_Connection_Cancel_Command())
            await asyncio.wait({outcome}, timeout=COMMAND_TIMEOUT_S)
        made = outcome.result() if outcome.done() else None
        if made is not None:
            await self._connections.disconnect(made)

    async def _open(self, connection: BumbleConnection) -> Link:
        connection.client = client = Client(connection.bearer)
        try:
            request = await connection.meanwhile(_subscribe(client, connection.inbox.put))
        except (LinkError, RadioError):
            raise
        # The other side's answers may make no sense, on which Bumble raises what they provoke.
        except Exception as error:
            raise LinkError(f"What took the connection is no jack ({error!r}).") from error

        async def transmit(packet: bytes) -> None:
            await client.write_value(request, packet)

        return BumbleLink(connection, transmit, self._connections.end)


async def _subscribe(
    client: Client, on_packet: Callable[[bytes], None]
) -> CharacteristicProxy[bytes]:
    """Agree on an MTU, find the service and subscribe to its answers; where requests go."""
    with contextlib.suppress(att.ATT_Error):  # optional for the other side: 23 bytes then
        await client.request_mtu(ATT_MTU)
    services = await client.discover_service(gatt_uuid(port.LINK_SERVICE_UUID))
    if not services:
        raise LinkError(NO_SERVICE)
    found = {one.uuid: one for one in await client.discover_characteristics([], services[0])}
    request = found.get(gatt_uuid(port.LINK_REQUEST_UUID))
    answer = found.get(gatt_uuid(port.LINK_ANSWER_UUID))
    if request is None or answer is None:
        raise LinkError(NO_SERVICE)
    await client.subscribe(answer, on_packet)
    # Empty, so that a jack on BlueZ learns who is there.
    await client.write_value(request, b"", with_response=True)
    return request
