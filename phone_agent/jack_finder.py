"""Finding jacks by mDNS, all the time (docs/protocol.md, Phone and jack over Wi-Fi).

What is found is a hint and nothing more: anybody may announce anything. Who a jack is, its
pinned TLS certificate says; a service that fails the pin is one candidate among others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from zeroconf import DNSQuestionType, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from cigarjack.client import hint
from twochannel.interfaces import FAILURES, OwnAddress, own_addresses

SERVICE_TYPE: Final = "_cigarjack._tcp.local."
#: More services than any street has; whoever announces more of them only wastes his own time. A
#: flood does not reach the candidates of a paired jack: its hint fits no other instance name.
MAX_SERVICES: Final = 1024
#: A jack has one or two networks; more addresses in one announcement are not its own.
MAX_HOSTS: Final = 4
_RESOLVE_TIMEOUT_MS: Final = 3000
#: How soon a network that the phone joins is searched.
_ADDRESS_CHECK_S: Final = 5.0
_log = logging.getLogger(__name__)

#: Host and port.
Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class JackService:
    """One announced service: where, and its TXT ``h`` and ``p``."""

    instance: str
    hosts: tuple[str, ...]
    port: int
    hints: tuple[str, ...]
    pairing_port: int | None


class JackFinder:
    """Browses while the block runs. ``interfaces``: their addresses; empty for all."""

    def __init__(self, interfaces: Sequence[str] = ()) -> None:
        self._interfaces = interfaces
        self._services: dict[str, JackService] = {}
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._change = asyncio.Event()
        self._search = AsyncExitStack()
        self._searched: frozenset[OwnAddress] = frozenset()

    async def __aenter__(self) -> Self:
        await self._search_anew()
        self._following = asyncio.create_task(self._follow_addresses(), name="own addresses")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await self._search.aclose()

    def candidates(self, link_key: bytes) -> list[Endpoint]:
        """Where the jack of this pairing may be: every service with its hint."""
        return [
            (host, service.port)
            for service in self._services.values()
            if service.port and hint(link_key, service.instance) in service.hints
            for host in service.hosts
        ]

    def pairing_candidates(self) -> list[Endpoint]:
        """Where a jack with an open pairing window may be."""
        return [
            (host, service.pairing_port)
            for service in self._services.values()
            if service.pairing_port is not None
            for host in service.hosts
        ]

    async def change(self) -> None:
        """Return when a service has come, gone or changed since this call began."""
        await self._change.wait()

    async def _search_anew(self) -> bool:
        """Search from the beginning if networks have changed; whether it was so.

        What fails now the next look tries again.
        """
        try:
            if own_addresses(self._interfaces) == self._searched:
                return False
            self._searched = frozenset()
            with contextlib.suppress(*FAILURES):
                await self._search.aclose()
            self._services.clear()
            await self._begin_search()
        except FAILURES as error:
            _log.warning("addresses_not_followed", extra={"reason": str(error)})
        return True

    async def _begin_search(self) -> None:
        """Browse, knowing nothing. Raises one of ``FAILURES``."""
        # Read first: what comes or goes meanwhile is then a change at the next look.
        found = own_addresses(self._interfaces)
        if not found:
            return
        async with AsyncExitStack() as beginning:
            zeroconf = AsyncZeroconf(
                interfaces=sorted({own.address for own in found}), ip_version=IPVersion.V4Only
            )
            beginning.push_async_callback(zeroconf.async_close)
            # Whoever is cancelled while it waits for the start cancels the start for all (0.154).
            await zeroconf.zeroconf.async_wait_for_start()
            beginning.push_async_callback(self._stop_resolving)
            # Multicast answers reach every phone on this machine; a unicast one only the last
            # to ask.
            browser = AsyncServiceBrowser(
                zeroconf.zeroconf,
                SERVICE_TYPE,
                handlers=[self._heard],
                question_type=DNSQuestionType.QM,
            )
            beginning.push_async_callback(browser.async_cancel)
            self._search, self._searched = beginning.pop_all(), found

    async def _stop_resolving(self) -> None:
        tasks = list(self._resolving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_addresses(self) -> None:
        """Search the networks that come and go.

        From the beginning: a jack that moved while the phone was away has said so to others, and
        asks nobody who may have missed it; what was known of it would be believed for an hour.
        """
        while True:
            await asyncio.sleep(_ADDRESS_CHECK_S)
            if await self._search_anew():
                self._announce()

    def _announce(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _heard(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if (task := self._resolving.pop(name, None)) is not None:
            task.cancel()
        if state_change is ServiceStateChange.Removed:
            if self._services.pop(name, None) is not None:
                self._announce()
        elif len(self._services.keys() | self._resolving.keys() | {name}) <= MAX_SERVICES:
            self._resolving[name] = asyncio.create_task(self._resolve(zeroconf, service_type, name))

    async def _resolve(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        try:
            info = AsyncServiceInfo(service_type, name)
            found = await info.async_request(
                zeroconf, _RESOLVE_TIMEOUT_MS, question_type=DNSQuestionType.QM
            )
        finally:
            # A task that was replaced must not remove its successor.
            if self._resolving.get(name) is asyncio.current_task():
                del self._resolving[name]
        if not found:
            _log.info("service_unresolved", extra={"instance": name[:32]})
            return
        self._services[name] = read_service(info)
        self._announce()


def read_service(info: AsyncServiceInfo) -> JackService:
    """Read an announcement. Values that make no sense count as absent: anybody may announce."""
    properties = info.decoded_properties
    return JackService(
        instance=info.name.removesuffix("." + SERVICE_TYPE),
        hosts=tuple(info.parsed_scoped_addresses()[:MAX_HOSTS]),
        port=info.port or 0,
        hints=tuple((properties.get("h") or "").split(",")),
        pairing_port=_port(properties.get("p")),
    )


def _port(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if 0 < int(text) < 65536 else None
