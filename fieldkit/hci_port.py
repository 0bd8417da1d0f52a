"""Offers a virtual controller to a host over TCP: the other end of Bumble's ``tcp-client``.

Bumble's own TCP server keeps one parser and one sink for all its clients, so that a host killed
in the middle of a packet spoils the port for the next one. Here each connection is new, and
losing it resets the controller, as pulling out a dongle would.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from bumble.core import InvalidPacketError
from bumble.transport.common import PacketParser

from fieldkit.virtual_controller import VirtualController

_log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

# A stopped host must not fill this process's memory. Real controllers drop adverts as well.
UNREAD_LIMIT_BYTES = 256 * 1024


class HciPort:
    """One controller behind one TCP port. The newest host wins: the one before it is cut off."""

    def __init__(self, controller: VirtualController) -> None:
        self._controller = controller
        self._server: asyncio.Server | None = None
        self._host: asyncio.Transport | None = None
        self._plugged = True

    async def open(self, port: int) -> int:
        """Listen on the loopback; the port, chosen by the system if 0 is asked for. OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _HostConnection(self), LOOPBACK, port)
        self._controller.host = self
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Cut off the host and stop listening."""
        if self._server is not None:
            self._server.close()
            if self._host is not None:
                self._host.abort()
            await self._server.wait_closed()
        self._controller.reset()

    def plug(self) -> None:
        """Let hosts attach again."""
        self._plugged = True

    def unplug(self) -> None:
        """Cut off the host and let none attach, as if somebody pulled the controller out."""
        self._plugged = False
        if self._host is not None:
            self._host.abort()

    def on_packet(self, packet: bytes) -> None:
        """Send one HCI packet to the host, if there is one that reads (Bumble's TransportSink)."""
        if self._host is not None and self.unread_bytes <= UNREAD_LIMIT_BYTES:
            self._host.write(packet)

    @property
    def unread_bytes(self) -> int:
        """How much waits in this process for the host to read it."""
        return 0 if self._host is None else self._host.get_write_buffer_size()

    def attach(self, host: asyncio.Transport) -> PacketParser:
        """A host has connected; the parser for what it sends."""
        if not self._plugged:
            host.abort()
            return PacketParser()
        if self._host is not None:
            _log.warning("controller %s: a second host took over", self._controller.name)
            self._host.abort()
        self._controller.reset()
        self._host = host
        _log.info("controller %s: host attached", self._controller.name)
        return PacketParser(self._controller)

    def detach(self, host: asyncio.Transport) -> None:
        """A host has gone."""
        if host is self._host:
            self._host = None
            self._controller.reset()
            _log.info("controller %s: host gone", self._controller.name)


class _HostConnection(asyncio.Protocol):
    def __init__(self, port: HciPort) -> None:
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = self._port.attach(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except InvalidPacketError as error:
            _log.warning("not HCI (%s): host cut off", error)
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        self._port.detach(self._transport)
