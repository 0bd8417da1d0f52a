"""mDNS: tells phones where the jack is, and nobody who it is (docs/protocol.md, section 5).

The instance name is random and new at each start; only a paired phone recognises its hint. A
name or address from mDNS is never trusted: the phone's pin decides.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from zeroconf import InterfaceChoice, IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from cigarjack.hint import hint
from twochannel.interfaces import OwnAddress, own_addresses

_log = logging.getLogger(__name__)

SERVICE_TYPE: Final = "_cigarjack._tcp.local."
INSTANCE_BYTES: Final = 8
_VERSION: Final = "1"
_LOOPBACK: Final = "127.0.0.1"


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
        self._joined: frozenset[OwnAddress] = frozenset()
        self._told: tuple[Notice, list[str]] | None = None
        self._sending: Awaitable[object] | None = None

    async def __aenter__(self) -> Self:
        self._joined = own_addresses()
        self._zeroconf = AsyncZeroconf(interfaces=self._choice(), ip_version=IPVersion.V4Only)
        await self._zeroconf.zeroconf.async_wait_for_start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._opened().async_close()

    async def tell(self, notice: Notice) -> None:
        """Announce ``notice``; the datagrams go out in the background."""
        await self._announce(notice, self._addresses())

    async def follow_addresses(self) -> None:
        """Take up this machine's interfaces that have come, and announce addresses that are new."""
        try:
            await self._join()
            if self._told is not None:
                await self._announce(self._told[0], self._addresses())
        except OSError as error:
            # An interface that has just come may go again before it is used; the next call sees.
            _log.warning("announcement_failed", extra={"reason": str(error)})

    async def _join(self) -> None:
        """Be on every interface there is. Raises OSError.

        Asked at every look, for an address may have gone, and come back, between two of them; what
        is joined already is left alone.
        """
        found = own_addresses()
        if found != self._joined:
            # An interface that was made anew is in no group; its address is all zeroconf looks at.
            kept = [own.address for own in found & self._joined]
            await self._opened().async_update_interfaces(kept or [_LOOPBACK])
        await self._opened().async_update_interfaces(self._choice())
        self._joined = found

    def _choice(self) -> list[str] | InterfaceChoice:
        return self._interfaces or InterfaceChoice.All

    def _addresses(self) -> list[str]:
        """Those to announce: of real networks, in a stable order."""
        if self._interfaces:
            return self._interfaces
        return sorted(own.address for own in own_addresses() if not own.address.startswith("127."))

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
