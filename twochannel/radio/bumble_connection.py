"""The connections of a Bumble host, each a bearer for Bumble's GATT server and client, and a link.

Bumble's ``Device`` would bring its own connections, but also pairing, classic profiles and a say
in advertising and scanning. Its GATT asks little of a connection, and that is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from bumble import att, hci, utils
from bumble.core import UUID, PhysicalTransport
from bumble.gatt_client import Client
from bumble.gatt_server import Server
from bumble.host import Host

from twochannel.radio import hci_commands
from twochannel.radio.hci_adapter import HciAdapter
from twochannel.radio.link_inbox import (
    ENDED,
    HUNG_UP,
    LOST,
    RADIO_LOST,
    PacketInbox,
    check_packet,
    packet_limit_bytes,
)
from twochannel.radio.port import RadioError

if TYPE_CHECKING:
    from bumble.device import Connection, Device

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: What we offer; a packet is then as long as an attribute may be, and a little more.
ATT_MTU: Final = 517
#: Fragments of data given to the controller ahead of it; most of them buffer fewer.
_AHEAD_FRAGMENTS: Final = 64
#: For what was sent last, and for the other side's word; it may be out of range.
_GOODBYE_TIMEOUT_S: Final = 3.0

_ENDED_BY_PEER: Final = frozenset(
    {
        hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR,
        hci.HCI_ErrorCode.REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_LOW_RESOURCES_ERROR,
        hci.HCI_ErrorCode.REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR,
    }
)


def gatt_uuid(uuid: int) -> UUID:
    """A 128-bit UUID of the port as Bumble has it."""
    return UUID.from_bytes(uuid.to_bytes(16, "little"))


def gatt_server(host: Host) -> Server:
    """A GATT server that sends through the host; it asks no more of a device."""
    return Server(cast("Device", host))


class BumbleConnection(utils.EventEmitter):
    """The bearer: what Bumble's server and client use of a connection.

    ``server`` answers the other side's requests. ``client`` is set by whoever makes requests.
    ``inbox`` is where packets of the link belong. ``gone`` is set once the controller says so.
    """

    EVENT_DISCONNECTION = "disconnection"

    def __init__(self, host: Host, handle: int, server: Server) -> None:
        super().__init__()
        self.handle = handle
        self.att_mtu = att.ATT_DEFAULT_MTU
        self.inbox = PacketInbox()
        self.gone = asyncio.Event()
        self.server = server
        self.client: Client | None = None
        self._host = host

    @property
    def bearer(self) -> Connection:
        """This connection under the type that Bumble's annotations ask for."""
        return cast("Connection", self)

    def on_att_mtu_update(self, mtu: int) -> None:
        self.att_mtu = mtu

    def send_l2cap_pdu(self, cid: int, pdu: bytes) -> None:
        self._host.send_l2cap_pdu(self.handle, cid, pdu)

    def on_l2cap_pdu(self, cid: int, pdu: bytes) -> None:
        """Take what has arrived. Pairing and signalling are not answered: no party needs them."""
        if cid != att.ATT_CID:
            return
        try:
            self._on_att_pdu(att.ATT_PDU.from_bytes(pdu))
        # On a stranger's bytes Bumble's codec raises whatever they provoke.
        except Exception as error:
            _log.info("bad_att_pdu", extra={"reason": repr(error)})

    def _on_att_pdu(self, pdu: att.ATT_PDU) -> None:
        if not pdu.op_code & 1:  # requests and commands have even codes
            self.server.on_gatt_pdu(self.bearer, pdu)
        elif self.client is not None:
            self.client.on_gatt_pdu(pdu)

    def on_gone(self, reason: str) -> None:
        """The connection is over."""
        self.gone.set()
        self.inbox.end(reason)
        self.server.on_disconnection(self.bearer)

    async def room(self) -> None:
        """Wait until the controller has sent most of what it was given. Raises LinkError."""
        self.inbox.check()
        queue = self._host.get_data_packet_queue(self.handle)
        if queue is not None and queue.pending > _AHEAD_FRAGMENTS:
            await self.meanwhile(queue.drain(self.handle))

    async def drained(self) -> None:
        """Wait until the controller has sent all that it was given, or the connection is gone."""
        queue = self._host.get_data_packet_queue(self.handle)
        while queue is not None and queue.pending and not self.gone.is_set():
            await queue.drain(self.handle)

    async def meanwhile(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work``, which is given up once the link ends. Raises LinkError then."""
        task = asyncio.create_task(work)
        either: set[asyncio.Future[Any]] = {task, self.inbox.ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.inbox.check()
            return await task
        finally:
            task.cancel()


class BumbleLink:
    """See ``port.Link``. ``transmit`` sends one packet as this side does, ``hang_up`` ends it."""

    def __init__(
        self,
        connection: BumbleConnection,
        transmit: Callable[[bytes], Awaitable[None]],
        hang_up: Callable[[BumbleConnection], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._transmit = transmit
        self._hang_up = hang_up

    @property
    def packet_limit_bytes(self) -> int:
        """See ``port.Link``."""
        return packet_limit_bytes(self._connection.att_mtu)

    async def send(self, packet: bytes) -> None:
        """See ``port.Link``. ValueError if the packet is empty or too long."""
        check_packet(packet, self.packet_limit_bytes)
        await self._connection.room()
        await self._transmit(packet)

    async def receive(self) -> bytes:
        """See ``port.Link``."""
        return await self._connection.inbox.get()

    async def close(self) -> None:
        """See ``port.Link``."""
        await self._hang_up(self._connection)


class Reception(Protocol):
    """Whoever takes incoming connections."""

    def welcome(self, handle: int) -> BumbleConnection: ...

    def end(self, failure: str | None) -> None: ...


class Connections:
    """The adapter's connections: gives each its packets, and each new one to who expects it."""

    def __init__(self, adapter: HciAdapter) -> None:
        self._adapter = adapter
        self._open: dict[int, BumbleConnection] = {}
        self._outgoing: asyncio.Future[BumbleConnection | None] | None = None
        self.reception: Reception | None = None
        host = adapter.host
        host.on("le_connection", self._on_connection)
        host.on("connection_failure", self._on_failure)
        host.on("disconnection", self._on_disconnection)
        host.on("l2cap_pdu", self._on_l2cap_pdu)
        adapter.lost.add_done_callback(lambda lost: self.close(lost.result()))

    def close(self, failure: str | None = None) -> None:
        """The radio is closed, or lost with ``failure``: all that it carried has ended."""
        for connection in self._open.values():
            connection.on_gone(HUNG_UP if failure is None else RADIO_LOST)
        self._open.clear()
        self._settle(None)
        if self.reception is not None:
            self.reception.end(failure)

    def expect(self) -> asyncio.Future[BumbleConnection | None]:
        """Becomes the connection that is being made, or None if it was not."""
        self._outgoing = asyncio.get_running_loop().create_future()
        return self._outgoing

    async def end(self, connection: BumbleConnection) -> None:
        """Hang up, after what was sent last. Never raises."""
        connection.inbox.end(HUNG_UP)
        with contextlib.suppress(RadioError):  # lost, and its connections with it
            await self._adapter.exclusively(lambda: self.disconnect(connection))

    async def disconnect(self, connection: BumbleConnection) -> None:
        """The sequence that ends a connection, if it is still there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_TIMEOUT_S):
                await connection.drained()
        if connection.gone.is_set():
            return
        with contextlib.suppress(RadioError, TimeoutError):  # it may just have ended by itself
            await self._adapter.send(hci_commands.disconnect(connection.handle))
            async with asyncio.timeout(_GOODBYE_TIMEOUT_S):
                await connection.gone.wait()

    def _on_connection(self, handle: int, *details: Any) -> None:
        *_, role, _interval, _latency, _timeout = details
        if role == hci.Role.CENTRAL:
            host = self._adapter.host
            connection = self._open[handle] = BumbleConnection(host, handle, gatt_server(host))
            self._settle(connection)
        elif self.reception is not None:
            self._open[handle] = self.reception.welcome(handle)

    def _on_failure(self, transport: PhysicalTransport, *_details: object) -> None:
        if transport == PhysicalTransport.LE:
            self._settle(None)

    def _settle(self, outcome: BumbleConnection | None) -> None:
        outgoing, self._outgoing = self._outgoing, None
        if outgoing is not None and not outgoing.done():
            outgoing.set_result(outcome)

    def _on_disconnection(self, handle: int, reason: int) -> None:
        connection = self._open.pop(handle, None)
        if connection is not None:
            connection.on_gone(ENDED if reason in _ENDED_BY_PEER else LOST)

    def _on_l2cap_pdu(self, handle: int, cid: int, pdu: bytes) -> None:
        connection = self._open.get(handle)
        if connection is not None:
            connection.on_l2cap_pdu(cid, pdu)
