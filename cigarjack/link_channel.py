"""To a jack over GATT: sealed records on a link (docs/protocol.md, Phone and jack over GATT)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec

from cigarjack.channel import JackClientError, problem
from twochannel.protocol.errors import CodedError, SessionError
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.limits import LINK_HANDSHAKE_S
from twochannel.protocol.link import (
    HELLO_BYTES,
    MAX_HELLO_BYTES,
    Answer,
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

#: The second secret of a session (``Mode``), once the jack has said hello: it gets the hello and
#: this session's own key. Raises JackClientError or CodedError for another jack.
Second = Callable[[JackHello, ec.EllipticCurvePrivateKey], bytes]


class LinkChannel:
    """A session on ``link``, which is somebody else's to close."""

    def __init__(self, link: Link, mode: Mode, second: Second) -> None:
        self._records = Records(link)
        self._mode = mode
        self._second = second
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        await self._greet()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session = None

    async def exchange(
        self, method: str, path: str, compact: str | None = None, *, timeout_s: float
    ) -> bytes:
        """See ``Channel``."""
        if self._session is None:
            raise RuntimeError("open the channel with `async with` first")
        request = Request(method, path, (compact or "").encode("ascii"))
        try:
            async with asyncio.timeout(timeout_s):
                await self._records.send(self._session.seal(request.encode()))
                answer = Answer.decode(self._session.open(await self._records.receive()))
        except TimeoutError:
            raise JackClientError("the jack does not answer in time") from None
        except (LinkError, SessionError) as error:
            raise JackClientError(f"the link to the jack is lost: {error}") from error
        if answer.is_success:
            return answer.body
        raise problem(answer.body)

    async def _greet(self) -> None:
        own = ec.generate_private_key(ec.SECP256R1())
        said = PhoneHello(self._mode, verifying_key(own.public_key())).encode()
        limit_bytes = HELLO_BYTES if self._mode is Mode.PAIRED else MAX_HELLO_BYTES
        try:
            async with asyncio.timeout(LINK_HANDSHAKE_S):
                await self._records.send(said)
                heard = await self._records.receive(limit_bytes)
            hello = JackHello.decode(heard)
        except TimeoutError:
            raise JackClientError("the jack does not answer in time") from None
        except (LinkError, SessionError) as error:
            raise JackClientError(f"the jack cannot be reached: {error}") from error
        second = self._second(hello, own)
        self._session = Session.of_phone(agreed(own, hello.key), second, (said, heard))


def paired_channel(link: Link, link_key: bytes) -> LinkChannel:
    """To the jack of a pairing."""
    return LinkChannel(link, Mode.PAIRED, lambda _hello, _own: link_key)


def pairing_channel(link: Link, beacon_key: Callable[[str], VerifyingKey]) -> LinkChannel:
    """To a jack that is to be paired with.

    ``beacon_key``: verifies its identity statement and returns the beacon key in it.
    """

    def second(hello: JackHello, own: ec.EllipticCurvePrivateKey) -> bytes:
        try:
            return agreed(own, beacon_key(hello.identity or ""))
        except CodedError as error:
            raise JackClientError(f"this is not the jack on the label: {error.detail}") from None

    return LinkChannel(link, Mode.PAIRING, second)
