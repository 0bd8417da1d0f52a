"""mDNS: tells phones where the jack is, and nobody who it is (docs/protocol.md, section 5).

The instance name is random and new at each start; only a paired phone recognises its hint. A
name or address from mDNS is never trusted: the phone's pin decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from cigarjack.hint import hint
from twochannel.interfaces import FAILURES, OwnAddress, own_addresses

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

    ``async with`` it: starts silent, says goodbye at the end. ``tell`` changes the notice. It is no
    error that a network is not there: ``follow_addresses`` takes it up once it is.
    """

    def __init__(self, instance: str, interfaces: Sequence[str]) -> None:
        self._instance = instance
        self._interfaces = interfaces
        self._lock = asyncio.Lock()
        self._zeroconf: AsyncZeroconf | None = None
        self._joined: frozenset[OwnAddress] = frozenset()
        self._notice: Notice | None = None
        self._told: Notice | None = None
        self._sending: Awaitable[object] | None = None

    async def __aenter__(self) -> Self:
        await self.follow_addresses()
        return self

    async def __aexit__(self, *failure: object) -> None:
        async with self._lock:
            await self._leave()

    async def tell(self, notice: Notice) -> None:
        """Announce ``notice``; the datagrams go out in the background."""
        self._notice = notice
        async with self._lock:
            await self._announce()

    async def follow_addresses(self) -> None:
        """Announce anew if this machine's addresses, or the interfaces they are on, have changed.

        From the beginning: an interface that was made anew with its old address is in no group, and
        zeroconf tells interfaces by their addresses alone.
        """
        async with self._lock:
            try:
                if own_addresses(self._interfaces) != self._joined:
                    await self._leave()
                    await self._join()
                    await self._announce()
            except FAILURES as error:
                _log.warning("announcement_failed", extra={"reason": str(error)})

    async def _join(self) -> None:
        """Raises one of ``FAILURES``, being nowhere."""
        # Read first: what comes or goes meanwhile is then a change at the next look.
        found = own_addresses(self._interfaces)
        if not found:
            return
        self._zeroconf = AsyncZeroconf(
            interfaces=sorted({own.address for own in found}), ip_version=IPVersion.V4Only
        )
        try:
            await self._zeroconf.zeroconf.async_wait_for_start()
        except FAILURES:
            await self._leave()
            raise
        self._joined = found

    async def _leave(self) -> None:
        left, self._zeroconf = self._zeroconf, None
        self._joined, self._told = frozenset(), None
        if left is not None:
            # It ends with what kept it from starting.
            with contextlib.suppress(*FAILURES):
                await left.async_close()

    async def _announce(self) -> None:
        if self._zeroconf is None or self._notice is None or self._notice == self._told:
            return
        notice, info = self._notice, self._info(self._notice)
        if self._told is None:
            # The random name needs no probing for conflicts.
            self._sending = await self._zeroconf.async_register_service(
                info, cooperating_responders=True
            )
        else:
            self._sending = await self._zeroconf.async_update_service(info)
        self._told = notice
        _log.info("announced", extra={"port": notice.port, "pairing_port": notice.pairing_port})

    def _info(self, notice: Notice) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE_TYPE,
            f"{self._instance}.{SERVICE_TYPE}",
            port=notice.port,
            properties=dict(notice.properties(self._instance)),
            server=f"{self._instance}.local.",
            parsed_addresses=self._addresses(),
        )

    def _addresses(self) -> list[str]:
        """Those to announce, in a stable order: of real networks, unless others are asked for."""
        joined = sorted({own.address for own in self._joined})
        return joined if self._interfaces else [ip for ip in joined if not ip.startswith("127.")]
