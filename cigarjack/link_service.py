"""Serves one link: its handshake, then requests as over Wi-Fi, until it is over.

Whoever is not the owner's phone, or does not pair, is dropped after seconds: there is one link.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
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
    """``paired_app`` is for the owner's phone, ``pairing_app`` for anyone in the open window."""

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
                    guest = await self._greet(records)
                    request = await _next_request(records, guest)
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

    async def _greet(self, records: Records) -> _Guest:
        """Exchange hellos. Raises SessionError for a peer that nobody expects."""
        said = await records.receive(HELLO_BYTES)
        hello = PhoneHello.decode(said)
        second, app, welcome = self._expected(hello)
        own = ec.generate_private_key(ec.SECP256R1())
        identity = self._desk.identity if hello.mode is Mode.PAIRING else None
        reply = JackHello(verifying_key(own.public_key()), identity).encode()
        await records.send(reply)
        session = Session.of_jack(agreed(own, hello.key), second, (said, reply))
        return _Guest(hello.mode, session, app, welcome)

    def _expected(self, hello: PhoneHello) -> tuple[bytes, ASGIApp, Callable[[], bool]]:
        """The second secret, the application, and for how long."""
        window = self._desk.window
        if hello.mode is Mode.PAIRING:
            if not window.is_open:
                raise SessionError("the pairing window is closed")
            second = self._agreement.exchange(hello.key)
            return second, self._pairing_app, lambda: window.is_open
        link_key = self._link_key()
        if link_key is None:
            raise SessionError("no phone is paired")
        return link_key, self._paired_app, lambda: self._link_key() == link_key

    def _link_key(self) -> bytes | None:
        owner = self._memory.pairing_state().owner
        return owner.link_key if owner else None


async def _next_request(records: Records, guest: _Guest) -> Request:
    return Request.decode(guest.session.open(await records.receive()))
