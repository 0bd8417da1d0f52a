"""mDNS: tells phones where the jack is, and nobody who it is (docs/protocol.md, section 5).

The instance name is random and new at each start; only a paired phone recognises its hint. A
name or address from mDNS is never trusted: the phone's pin decides.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import ifaddr
from zeroconf import InterfaceChoice, IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from cigarjack.hint import hint

_log = logging.getLogger(__name__)

SERVICE_TYPE: Final = "_cigarjack._tcp.local."
INSTANCE_BYTES: Final = 8
_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is announced. ``port`` 0 without a paired phone; ``pairing_port`` None when closed."""

    port: int = 0
    link_key: bytes | None = None
    pairing_port: int | None = None
    members_link_keys: tuple[bytes, ...] = ()

    def properties(self, instance: str) -> dict[str, str]:
        """The TXT record of ``instance``."""
        properties = {"v": _VERSION}
        if self.link_key is not None:
            keys = (self.link_key, *self.members_link_keys)
            properties["h"] = ",".join(hint(key, instance) for key in keys)
        if self.pairing_port is not None:
            properties["p"] = str(self.pairing_port)
        return properties


class Announcement:
    """One mDNS service. ``interfaces``: own IPv4 addresses to announce on; empty means all.

    ``async with`` it: starts silent, says goodbye at the end. ``tell`` changes the notice.
    """

    def __init__(self, instance: str, interfaces: Sequence[str]) -> None:
        self._instance = instance
        self._interfaces = list(interfaces)
        self._zeroconf: AsyncZeroconf | None = None
        self._told: tuple[Notice, list[str]] | None = None
        self._sending: Awaitable[object] | None = None

    async def __aenter__(self) -> Self:
        self._zeroconf = AsyncZeroconf(
            interfaces=self._interfaces or InterfaceChoice.All, ip_version=IPVersion.V4Only
        )
        await self._zeroconf.zeroconf.async_wait_for_start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._opened().async_close()

    async def tell(self, notice: Notice) -> None:
        """Announce ``notice``; the datagrams go out in the background."""
        await self._announce(notice, self._interfaces or own_addresses())

    async def follow_addresses(self) -> None:
        """Announce anew if this machine's addresses have changed since the last time."""
        addresses = self._interfaces or own_addresses()
        if self._told is None or addresses == self._told[1]:
            return
        try:
            await self._opened().async_update_interfaces()
            await self._announce(self._told[0], addresses)
        except OSError as error:
            # An interface that has just come may go again before it is used; the next call sees.
            _log.warning("announcement_failed", extra={"reason": str(error)})

    async def _announce(self, notice: Notice, addresses: list[str]) -> None:
        if self._told == (notice, addresses):
            return
        info = self._info(notice, addresses)
        if self._told is None:
            # The random name needs no probing for conflicts.
            self._sending = await self._opened().async_register_service(
                info, cooperating_responders=True
            )
        else:
            self._sending = await self._opened().async_update_service(info)
        self._told = notice, addresses
        _log.info("announced", extra={"port": notice.port, "pairing_port": notice.pairing_port})

    def _opened(self) -> AsyncZeroconf:
        if self._zeroconf is None:
            raise RuntimeError("open the announcement with `async with` first")
        return self._zeroconf

    def _info(self, notice: Notice, addresses: list[str]) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE_TYPE,
            f"{self._instance}.{SERVICE_TYPE}",
            port=notice.port,
            properties=dict(notice.properties(self._instance)),
            server=f"{self._instance}.local.",
            parsed_addresses=addresses,
        )


def own_addresses() -> list[str]:
    """The IPv4 addresses of this machine on real networks, in a stable order."""
    found = (ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips)
    return sorted(ip for ip in found if isinstance(ip, str) and not ip.startswith("127."))
