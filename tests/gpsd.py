"""A real gpsd (Debian's) on a free port, told by UDP what a receiver would say (NMEA 0183)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from tests.ports import free_port, until_listening

GPSD = Path("/usr/sbin/gpsd")
_LOOK_EVERY_S = 0.02
_DEADLINE_S = 20.0
_KNOTS_PER_MPS = 3600 / 1852


@dataclass
class Receiver:
    """A gpsd and the receiver that it listens to. ``port``: gpsd's."""

    port: int
    feed: int
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns once gpsd takes connections."""
        null = asyncio.subprocess.DEVNULL
        self.process = await asyncio.create_subprocess_exec(
            *(GPSD, "-N", "-n", "-S", str(self.port), f"udp://127.0.0.1:{self.feed}"),
            stdout=null,
            stderr=null,
        )
        await until_listening(self.port)

    async def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            await self.process.wait()
            self.process = None

    def say(self, second: int, minutes_north: float, speed_mps: float) -> None:
        """One second's sentences: 50° and ``minutes_north`` N, 8° 40' E, heading east."""
        clock = f"12{second // 60:02}{second % 60:02}.00"
        place = f"50{minutes_north:07.4f},N,00840.0000,E"
        knots = speed_mps * _KNOTS_PER_MPS
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for body in (
                f"GPGGA,{clock},{place},1,08,1.0,100.0,M,47.0,M,,",
                "GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.8,1.0,1.5",
                f"GPRMC,{clock},A,{place},{knots:.1f},90.0,261126,,,A",
            ):
                digest = reduce(lambda sum_, char: sum_ ^ ord(char), body, 0)
                data = f"${body}*{digest:02X}\r\n".encode()
                sender.sendto(data, ("127.0.0.1", self.feed))


@contextlib.asynccontextmanager
async def a_receiver() -> AsyncIterator[Receiver]:
    """gpsd runs until the block ends; nothing has been said yet."""
    receiver = Receiver(free_port(), free_port(socket.SOCK_DGRAM))
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
