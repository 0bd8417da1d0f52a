"""Serves one link: its handshake, then requests as over Wi-Fi, until it is over.

Whoever is not the owner's phone, or does not pair, is dropped after seconds: there is one link.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from cigarjack.in_process import ask
from cigarjack.memory import Memory, StorageError
from cigarjack.pairing import PairingDesk
from twochannel.keystore.port import KeyStoreError
from twochannel.protocol.errors import SessionError
from twochannel.protocol.keys import Agreement
from twochannel.protocol.limits import LINK_HANDSHAKE_S, LINK_IDLE_S, LINK_SESSION_S
from twochannel.protocol.link import (
    HELLO_BYTES,
    JackHello,
    Mode,
    PhoneHello,
    Request,
    Session,
    agreed,
    verifying_key,
)
from twochannel.radio.port import Link, LinkError
from twochannel.radio.records import Records
from twochannel.trace import Trace

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_FAREWELL_S: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Guest:
    """Who is on the link. ``welcome``: whether the next request is still taken."""

    mode: Mode
    session: Session
    app: ASGIApp
    welcome: Callable[[], bool]
    requests: int = 0


class LinkService:
    """``paired_app``: for phones of the jack. ``pairing_app``: for anyone in the open window."""

    def __init__(
        self,
        memory: Memory,
        agreement: Agreement,
        desk: PairingDesk,
        trace: Trace,
        *,
        paired_app: ASGIApp,
        pairing_app: ASGIApp,
    ) -> None:
        self._memory = memory
        self._agreement = agreement
        self._desk = desk
        self._trace = trace
        self._paired_app = paired_app
        self._pairing_app = pairing_app

    async def serve(self, link: Link) -> bool:
        """Until the peer has gone or must go; whether it proved to be one that was expected.

        What goes wrong is the peer's business, but for a radio that fails: RadioError.
        """
        guest: _Guest | None = None
        reason = "it said nothing in time"
        try:
            async with asyncio.timeout(LINK_SESSION_S):
                records = Records(link)
                async with asyncio.timeout(LINK_HANDSHAKE_S):
                    guest, request = _recognised(
                        await self._greet(records), await records.receive()
                    )
                await self._answer(records, guest, request)
        except (LinkError, SessionError, StorageError, KeyStoreError) as error:
            reason = str(error)
        except TimeoutError:
            pass
        finally:
            await link.close()
        if guest is None or not guest.requests:
            self._trace.event("link_dropped")
            _log.info("link_dropped", extra={"reason": reason})
            return False
        self._trace.event("link_served", mode=guest.mode.name.lower(), requests=guest.requests)
        return True

    async def _answer(self, records: Records, guest: _Guest, request: Request) -> None:
        while guest.welcome():
            guest.requests += 1
            answer = await ask(guest.app, request)
            await records.send(guest.session.seal(answer.encode()))
            # Whoever must go hangs up once the answer is there; ending the link might lose it.
            async with asyncio.timeout(LINK_IDLE_S if guest.welcome() else _FAREWELL_S):
                request = await _next_request(records, guest)

    async def _greet(self, records: Records) -> list[_Guest]:
        """Exchange hellos; who it may be. Raises SessionError for a peer that nobody expects."""
        said = await records.receive(HELLO_BYTES)
        hello = PhoneHello.decode(said)
        expected = self._expected(hello)
        own = ec.generate_private_key(ec.SECP256R1())
        identity = self._desk.identity if hello.mode is Mode.PAIRING else None
        reply = JackHello(verifying_key(own.public_key()), identity).encode()
        await records.send(reply)
        fresh = agreed(own, hello.key)
        return [
            _Guest(hello.mode, Session.of_jack(fresh, second, (said, reply)), app, welcome)
            for second, app, welcome in expected
        ]

    def _expected(self, hello: PhoneHello) -> list[tuple[bytes, ASGIApp, Callable[[], bool]]]:
        """The second secret of each that it may be, the application, and for how long."""
        window = self._desk.window
        if hello.mode is Mode.PAIRING:
            if not window.is_open:
                raise SessionError("the pairing window is closed")
            second = self._agreement.exchange(hello.key)
            return [(second, self._pairing_app, lambda: window.is_open)]
        link_keys = self._link_keys()
        if not link_keys:
            raise SessionError("no phone is paired")
        return [(key, self._paired_app, partial(self._holds, key)) for key in link_keys]

    def _holds(self, link_key: bytes) -> bool:
        return link_key in self._link_keys()

    def _link_keys(self) -> list[bytes]:
        owner = self._memory.pairing_state().owner
        return owner.link_keys() if owner else []


def _recognised(guests: list[_Guest], record: bytes) -> tuple[_Guest, Request]:
    """The one whose key has sealed its first record, and what it asks. Raises SessionError."""
    *others, last = guests
    for guest in others:
        with suppress(SessionError):
            return guest, Request.decode(guest.session.open(record))
    return last, Request.decode(last.session.open(record))


async def _next_request(records: Records, guest: _Guest) -> Request:
    return Request.decode(guest.session.open(await records.receive()))
