"""A real MQTT broker (Debian's Mosquitto) on a free port, and somebody who reads along."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiomqtt import Client

from tests.ports import free_port, until_listening

MOSQUITTO = Path("/usr/sbin/mosquitto")
USER, PASSWORD = "lane", "correct horse"
_LOOK_EVERY_S = 0.02
_DEADLINE_S = 20.0


@dataclass
class Broker:
    """Its files are in ``folder``. ``certificates``: a folder with those of a server, for TLS.

    ``password``: whether one is asked for, PASSWORD of USER.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    certificates: Path | None = None
    password: bool = False
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns once it takes connections."""
        file = self.folder / "mosquitto.conf"
        file.write_text("".join(f"{line}\n" for line in self._configuration()))
        null = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            MOSQUITTO, "-c", file, stdout=null, stderr=null
        )
        await until_listening(self.port)

    def _configuration(self) -> Iterator[str]:
        yield f"listener {self.port} 127.0.0.1"
        # Started by root it would become another user, who may not read this folder.
        yield "user root"
        yield f"allow_anonymous {'false' if self.password else 'true'}"
        if self.password:
            file = self.folder / "passwords"
            command = ("mosquitto_passwd", "-b", "-c", str(file), USER, PASSWORD)
            subprocess.run(command, check=True, capture_output=True)
            yield f"password_file {file}"
        if self.certificates is not None:
            yield f"certfile {self.certificates / 'server.pem'}"
            yield f"keyfile {self.certificates / 'key.pem'}"

    async def kill(self) -> None:
        """Without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    @contextlib.asynccontextmanager
    async def reader(self, topics: str = "#") -> AsyncIterator[Reader]:
        """Reads along while the block runs."""
        tls = None
        if self.certificates is not None:
            tls = ssl.create_default_context(cafile=self.certificates / "ca.pem")
        user, password = (USER, PASSWORD) if self.password else (None, None)
        async with Client(
            "127.0.0.1", self.port, username=user, password=password, tls_context=tls
        ) as client:
            await client.subscribe(topics, qos=1)
            yield Reader(client)


@dataclass
class Reader:
    """What a reader has got, in order."""

    client: Client
    seen: list[tuple[str, bytes]] = field(default_factory=list)

    async def until(self, topic: str, payload: bytes | None = None) -> bytes:
        """Read until there is a message on ``topic``, with this payload. Raises TimeoutError."""
        async with asyncio.timeout(_DEADLINE_S):
            async for message in self.client.messages:
                assert isinstance(message.payload, bytes)
                self.seen.append((str(message.topic), message.payload))
                if str(message.topic) == topic and payload in (None, message.payload):
                    return message.payload
        raise AssertionError("a client's messages never end")
