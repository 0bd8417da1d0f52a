"""The TLS door of the jack: strangers may knock by the thousand, the owner's phone gets in.

A connection whose peer has not proven itself costs a third of a megabyte, so only a few are kept.
When they are all taken the oldest goes: a phone needs milliseconds for its handshake, and a
connection that has taken longer than all those that came after it is not hers. Connections that
have proven themselves count no more; at the pairing listener nobody can, and all stay strangers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import uvicorn

_log = logging.getLogger(__name__)

#: 16 MB of TLS buffers at most, and more handshakes than a Pi finishes in a second.
MAX_STRANGERS: Final = 64
#: Over a weak Wi-Fi link a handshake takes a second.
HANDSHAKE_TIMEOUT_S: Final = 5.0
#: A whole pairing takes two connections of a second each; nobody may sit at the desk.
STRANGER_LIFETIME_S: Final = 15.0
#: Connections of the phone that holds the pinned key.
MAX_PROVEN: Final = 32
_ACCEPT_PAUSE_S: Final = 1.0
#: A peer that is gone is noticed after a minute.
_KEEP_ALIVE_IDLE_S: Final = 30
_KEEP_ALIVE_PROBE_S: Final = 10
_KEEP_ALIVE_PROBES: Final = 3
_BACKLOG: Final = 128
_GRACE_S: Final = 2


class Door:
    """Accepts connections on ``listener`` and hands those with TLS to ``protocol``.

    ``proves``: whether a finished handshake proves who the peer is (mutual TLS).
    """

    def __init__(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext,
        protocol: Callable[[], asyncio.Protocol],
        *,
        proves: bool,
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._protocol = protocol
        self._proves = proves
        self._strangers: dict[asyncio.Task[None], None] = {}
        self._accepting = asyncio.create_task(self._accept(), name="door")

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return (self._listener,)

    def close(self) -> None:
        """Accept no more; what is open goes on."""
        self._accepting.cancel()
        self._listener.close()

    async def wait_closed(self) -> None:
        """Drop every stranger that is still there."""
        for stranger in tuple(self._strangers):
            stranger.cancel()
        await asyncio.gather(self._accepting, *self._strangers, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                # Out of file descriptors, most likely: those in use will come back.
                _log.warning("accept_failed", extra={"reason": str(error)})
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            _tune(connection)
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        if len(self._strangers) >= MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.cancel()
        task = asyncio.create_task(self._receive(connection))
        self._strangers[task] = None
        task.add_done_callback(lambda done: self._strangers.pop(done, None))

    async def _receive(self, connection: socket.socket) -> None:
        transport: asyncio.Transport | None = None
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            )
            if not self._proves:
                await asyncio.sleep(STRANGER_LIFETIME_S)
                transport.abort()
        except OSError:  # TLS errors, resets and time-outs: a stranger's business
            return
        except asyncio.CancelledError:
            if transport is not None:
                transport.abort()
            raise


def _tune(connection: socket.socket) -> None:
    """Send at once, and let the kernel end a connection whose peer left without a word.

    asyncio switches Nagle's algorithm off only on sockets that name their protocol, which those of
    ``socket.create_server`` do not; with it, an answer in two writes waits 40 ms.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_PROBE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_ALIVE_PROBES)


class _DoorServer(uvicorn.Server):
    """uvicorn behind our own door, without signal handlers: the agent has those."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, tls: ssl.SSLContext, *, proves: bool
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._tls = tls
        self._proves = proves
        self.door: Door | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        def protocol() -> asyncio.Protocol:
            factory: Any = self.config.http_protocol_class
            connection: asyncio.Protocol = factory(
                config=self.config, server_state=self.server_state, app_state={}
            )
            return connection

        await self.lifespan.startup()
        self.door = Door(self._listener, self._tls, protocol, proves=self._proves)
        self.servers = [self.door]  # type: ignore[list-item]  # uvicorn closes it like its own
        self.started = True


@contextlib.asynccontextmanager
async def guarded(
    app: Any, host: str, port: int, tls: ssl.SSLContext, *, proves: bool
) -> AsyncIterator[int]:
    """Serve ``app`` behind a door while the block runs; yields the real port.

    ``proves``: see ``Door``. On leaving, open requests get 2 s. Raises OSError if the address is
    taken or is none of this machine.
    """
    listener = _listen(host, port)
    actual: int = listener.getsockname()[1]
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        server_header=False,
        date_header=False,
        limit_concurrency=1 + (MAX_PROVEN if proves else MAX_STRANGERS),
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _DoorServer(config, listener, tls, proves=proves)
    task = asyncio.create_task(server.serve(), name=f"serve {host}:{actual}")
    try:
        yield actual
    finally:
        server.should_exit = True
        await task
        if server.door is not None:
            await server.door.wait_closed()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}, port {port} ({error.strerror}); "
            "choose another --host or --port"
        ) from error
    listener.setblocking(False)
    return listener
