"""A real MQTT broker (Debian's Mosquitto) on a free port, and somebody who reads along."""

from __future__ import annotations

import asyncio
import contextlib
import signal
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
#: Whose subscription outlasts the broker.
_LATER = "reads-later"


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
        yield "persistence true"
        yield f"persistence_location {self.folder}/"
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

    async def keep_for_later(self) -> None:
        """From now on, even killed in between, it keeps all messages for a ``reader(later=True)``.

        A reader who subscribes once the broker is back misses what an agent sends sooner.
        """
        assert self._process is not None
        async with self._client(later=True) as client:
            await client.subscribe("#", qos=1)
        kept = self.folder / "mosquitto.db"
        kept.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)  # Write it now.
        async with asyncio.timeout(_DEADLINE_S):
            while not kept.exists():  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_EVERY_S)

    @contextlib.asynccontextmanager
    async def reader(self, topics: str = "#", *, later: bool = False) -> AsyncIterator[Reader]:
        """Reads along while the block runs; ``later``: and before it what was kept."""
        async with self._client(later=later) as client:
            await client.subscribe(topics, qos=1)
            yield Reader(client)

    def _client(self, *, later: bool) -> Client:
        tls = None
        if self.certificates is not None:
            tls = ssl.create_default_context(cafile=self.certificates / "ca.pem")
        user, password = (USER, PASSWORD) if self.password else (None, None)
        return Client(
            "127.0.0.1",
            self.port,
            username=user,
            password=password,
            tls_context=tls,
            identifier=_LATER if later else None,
            clean_session=not later,
        )


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
