"""The end of a notification socket that is systemd's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fieldkit.air import Air
from fieldkit.air_control import AirControl
from twochannel.supervisor import Supervisor

DEADLINE_S = 20.0
ALIVE = "WATCHDOG=1"
#: A notification socket holds ten messages: a test that is busy for a second misses none.
UNHURRIED_US = "200000"


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

    async def up_to(self, beginning: str) -> list[str]:
        """What comes until a message begins like this, which is the last of them."""
        heard: list[str] = []
        async with asyncio.timeout(DEADLINE_S):
            while not heard or not heard[-1].startswith(beginning):
                heard.append(await self.message())
        return heard

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


async def alive_only_with_radio(systemd: Systemd, air: Air, controller: str, well: str) -> None:
    """An agent without patience loses its controller and has it back; ``well``: its sentence."""
    await systemd.up_to(f"STATUS={well}")
    assert await systemd.message() == ALIVE
    async with AirControl(air.control) as control:
        await control.unplug(controller)
        lost = (await systemd.up_to("STATUS=The radio"))[-1]
        assert air.transports[controller] in lost
        assert "plug it back in" in lost
        await control.plug(controller)
    # The look that finds it lost, and those of the pause before it is opened again, give no sign.
    assert ALIVE not in await systemd.up_to(f"STATUS={well}")
    assert await systemd.message() == ALIVE
