"""What the jack offers on Wi-Fi: the paired service, the pairing listener, the announcement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Self, TypeVar

from starlette.types import ASGIApp

from cigarjack.announcement import Announcement, Notice
from cigarjack.door import guarded
from cigarjack.identity import JackIdentity
from cigarjack.label import Label
from cigarjack.memory import Memory, StorageError
from cigarjack.pairing import PairingDesk
from cigarjack.pairing_rules import Owner
from twochannel import tls

T = TypeVar("T")
_log = logging.getLogger(__name__)

#: How soon phones learn of a new address of this machine.
_ADDRESS_CHECK_S: Final = 5.0
#: An answer over a weak Wi-Fi link has left by then.
_ANSWERED_S: Final = 0.2


class Services:
    """``async with`` it. ``port`` and ``pairing_port`` are None while that service is closed."""

    def __init__(
        self,
        identity: JackIdentity,
        memory: Memory,
        desk: PairingDesk,
        announcement: Announcement,
        *,
        paired_app: ASGIApp,
        pairing_app: ASGIApp,
        host: str,
        port: int,
    ) -> None:
        self._identity = identity
        self._memory = memory
        self._desk = desk
        self._announcement = announcement
        self._paired_app = paired_app
        self._pairing_app = pairing_app
        self._host = host
        self._wanted_port = port
        # One lock each: a window that closes waits for its last request, which may be the one
        # that renews the paired service.
        self._renewing = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._telling = asyncio.Lock()
        self._opened = asyncio.Event()
        self._renewal: asyncio.Task[None] | None = None
        self._paired = AsyncExitStack()
        self._pairing = AsyncExitStack()
        self.port: int | None = None
        self.pairing_port: int | None = None

    async def __aenter__(self) -> Self:
        """Serve the owner's phone if there is one. Raises OSError, StorageError."""
        await self._announcement.__aenter__()
        owner = self._memory.pairing_state().owner
        if owner is not None:
            await self.serve_owner(owner)
        else:
            await self._tell()
        return self

    async def __aexit__(self, *failure: object) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        try:
            await self._announcement.__aexit__(*failure)
        finally:
            await asyncio.gather(self._paired.aclose(), self._pairing.aclose())

    async def serve_owner(self, owner: Owner) -> int:
        """Serve the phones of ``owner`` and nobody else from now on; the port.

        Connections that were open are ended first. Raises OSError.
        """
        async with self._renewing:
            await self._paired.aclose()
            context = tls.server_context(
                self._identity.certificate, self._identity.tls_key, owner.certificates()
            )
            self.port = self._wanted_port = await self._paired.enter_async_context(
                guarded(self._paired_app, self._host, self._wanted_port, context, proves=True)
            )
        await self._tell()
        return self.port

    def renew_soon(self) -> None:
        """Serve the phones that are left, once the request that removed one is answered."""
        self._renewal = asyncio.create_task(self._renew(), name="renewal")

    async def _renew(self) -> None:
        await asyncio.sleep(_ANSWERED_S)
        owner = self._memory.pairing_state().owner
        if owner is not None:
            await self.serve_owner(owner)

    async def open_pairing(self) -> Label:
        """Open the pairing window; the label to scan. Raises CodedError, StorageError, OSError."""
        return await self._open(self._desk.open_window)

    async def open_for_member(self, invitation: str) -> None:
        """Open it for whoever the owner has invited. Raises CodedError, StorageError, OSError."""
        await self._open(lambda: self._desk.invite(invitation))

    async def _open(self, window: Callable[[], T]) -> T:
        async with self._opening:
            opened = window()
            if self.pairing_port is None:
                context = tls.server_context(self._identity.certificate, self._identity.tls_key)
                self.pairing_port = await self._pairing.enter_async_context(
                    guarded(self._pairing_app, self._host, 0, context, proves=False)
                )
        self._opened.set()
        await self._tell()
        _log.info("pairing_window_opened", extra={"port": self.pairing_port})
        return opened

    async def close_windows(self) -> None:
        """Close each pairing window when its time is over or a phone is paired; until cancelled."""
        while True:
            await self._opened.wait()
            await self._desk.window.wait_closed()
            async with self._opening:
                if self._desk.window.is_open:
                    continue
                self._opened.clear()
                await self._pairing.aclose()
                self.pairing_port = None
                self._void_claim_secret()
            await self._tell()
            _log.info("pairing_window_closed")

    async def follow_addresses(self) -> None:
        """Keep the announcement in step with this machine's addresses; until cancelled."""
        while True:
            await asyncio.sleep(_ADDRESS_CHECK_S)
            await self._announcement.follow_addresses()

    def _void_claim_secret(self) -> None:
        try:
            self._desk.tidy()
        except StorageError as error:
            # Its window is closed; the next start or window tries again.
            _log.error("claim_secret_not_voided", extra={"reason": str(error)})

    async def _tell(self) -> None:
        async with self._telling:
            owner = self._memory.pairing_state().owner
            key, *members = owner.link_keys() if owner else [None]
            notice = Notice(self.port or 0, key, self.pairing_port, tuple(filter(None, members)))
            await self._announcement.tell(notice)
