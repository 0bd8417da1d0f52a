"""The end of a notification socket that is systemd's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twochannel.supervisor import Supervisor

DEADLINE_S = 20.0


class Systemd:
    """Its end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address.replace("@", "\0"))
        self.environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000"}

    def supervisor(self, **changes: str) -> Supervisor:
        return Supervisor(self.environment | changes)

    async def message(self) -> str:
        async with asyncio.timeout(DEADLINE_S):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()

    async def until(self, message: str) -> list[str]:
        """What comes before ``message``."""
        before = []
        while (heard := await self.message()) != message:
            before.append(heard)
        return before

    def waiting(self) -> list[str]:
        """What has come and was not taken yet."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def listening(address: str) -> AsyncIterator[Systemd]:
    systemd = Systemd(address)
    try:
        yield systemd
    finally:
        systemd.close()
