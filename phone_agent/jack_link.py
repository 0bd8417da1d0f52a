"""The Wi-Fi connection to one paired jack, wherever it is now: kept alive, found again when lost.

All addresses that may be the jack's are tried at once, each briefly; the first that proves to
be the jack wins. The address that was good last is always among them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cigarjack.client import JackClient, JackClientError, wifi_channel
from phone_agent.identity import PhoneIdentity
from phone_agent.jack_finder import Endpoint, JackFinder
from phone_agent.wallet import KeptJack
from twochannel.protocol.errors import CodedError
from twochannel.trace import Trace

#: A TLS handshake and one request on a busy Wi-Fi; stale addresses cost no more than this.
PROBE_TIMEOUT_S: Final = 2.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(eq=False)
class _Connection:
    """An open client, closed when it has failed and its last request has ended."""

    endpoint: Endpoint
    client: JackClient
    _stack: AsyncExitStack
    _users: int = 0
    _ended: bool = field(default=False)

    async def use(self, ask: Callable[[JackClient], Awaitable[T]]) -> T:
        self._users += 1
        try:
            return await ask(self.client)
        finally:
            self._users -= 1
            await self._close_if_idle()

    async def end(self) -> None:
        self._ended = True
        await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self._ended and self._users == 0:
            await self._stack.aclose()


class JackLink:
    """Calls to one jack. ``remember`` is told each address at which the jack was reached anew."""

    def __init__(
        self,
        kept: KeptJack,
        finder: JackFinder,
        identity: PhoneIdentity,
        trace: Trace,
        remember: Callable[[str, Endpoint], None],
    ) -> None:
        self.pin = kept.pin
        # A jack that was paired with over GATT has not been met on Wi-Fi yet.
        self._last_good: Endpoint | None = (kept.host, kept.port) if kept.host else None
        self._finder = finder
        self._identity = identity
        self._trace = trace
        self._remember = remember
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the jack is reached, or None while it is not."""
        return self._connection.endpoint if self._connection else None

    async def call(self, ask: Callable[[JackClient], Awaitable[T]]) -> T:
        """One request to the jack, which must bear being repeated.

        A connection that was kept may have died unnoticed, with the jack's last boot: then the
        request is made once more over a new one. Raises JackClientError, CodedError.
        """
        if self._connection is not None:
            try:
                return await self._use(self._connection, ask)
            except JackClientError:
                pass
        return await self._use(await self._connect(), ask)

    async def _use(self, connection: _Connection, ask: Callable[[JackClient], Awaitable[T]]) -> T:
        try:
            return await connection.use(ask)
        except JackClientError as error:
            await self._lose(connection, error)
            raise

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.end()

    def candidates(self) -> list[Endpoint]:
        """Every address that may be the jack's now, the one that was good last first."""
        found = self._finder.candidates(self.pin.link_key)
        return list(dict.fromkeys([self._last_good, *found] if self._last_good else found))

    async def news(self, known: list[Endpoint]) -> None:
        """Return when the jack is announced at an address that is not among ``known``."""
        while set(self.candidates()) <= set(known):
            await self._finder.change()

    async def lives(self) -> bool:
        """Whether the jack answers anything over Wi-Fi now, however busy the open connection is."""
        try:
            if self._connection is None:
                await self._connect()
            else:
                await (await self._first_that_answers(self.candidates())).end()
        except JackClientError:
            return False
        return True

    async def doubt(self) -> None:
        """Wi-Fi did not answer when it was asked: begin anew the next time."""
        if self._connection is not None:
            await self._lose(self._connection, JackClientError("Wi-Fi has shown no sign of life"))

    async def _lose(self, connection: _Connection, error: JackClientError) -> None:
        if self._connection is connection:
            self._connection = None
            self._trace.event("jack_lost", jack=self.pin.jack)
            _log.info("jack_lost", extra={"jack": self.pin.jack, "reason": str(error)})
        await connection.end()

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection is None:
                self._connection = await self._first_that_answers(self.candidates())
                self._found(self._connection.endpoint)
            return self._connection

    def _found(self, endpoint: Endpoint) -> None:
        address = f"{endpoint[0]}:{endpoint[1]}"
        self._trace.event("jack_found", jack=self.pin.jack, address=address)
        _log.info("jack_found", extra={"jack": self.pin.jack, "address": address})
        if endpoint != self._last_good:
            self._last_good = endpoint
            self._remember(self.pin.jack, endpoint)

    async def _first_that_answers(self, endpoints: list[Endpoint]) -> _Connection:
        probes = [asyncio.create_task(self._probe(endpoint)) for endpoint in endpoints]
        winner: _Connection | None = None
        try:
            for probe in asyncio.as_completed(probes):
                winner = await probe
                if winner is not None:
                    return winner
        finally:
            await _dismiss(probes, winner)
        raise JackClientError(f"the jack answers at none of {len(endpoints)} addresses")

    async def _probe(self, endpoint: Endpoint) -> _Connection | None:
        """A connection to ``endpoint`` if the jack is there, else None."""
        async with AsyncExitStack() as stack:
            identity = self._identity
            channel = wifi_channel(*endpoint, self.pin, identity.certificate, identity.tls_key)
            client = JackClient(channel, self.pin)
            await stack.enter_async_context(client)
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    await client.status()
            except (JackClientError, CodedError, TimeoutError) as error:
                _log.debug("candidate_failed", extra={"endpoint": endpoint, "reason": str(error)})
                return None
            return _Connection(endpoint, client, stack.pop_all())


async def _dismiss(probes: list[asyncio.Task[_Connection | None]], but: _Connection | None) -> None:
    """Stop the probes that are still running, and close what came second."""
    for probe in probes:
        probe.cancel()
    for outcome in await asyncio.gather(*probes, return_exceptions=True):
        if isinstance(outcome, _Connection) and outcome is not but:
            await outcome.end()
