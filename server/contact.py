"""First contact with a server: read its identity, check it against the enrolment code, pin it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import httpx

from twochannel import tls
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError, StatementError
from twochannel.protocol.limits import MAX_BODY_BYTES
from twochannel.protocol.statements import Identity
from twochannel.protocol.succession import Lineage, lineage_from, read_lineage
from twochannel.protocol.wire import base64url, from_base64url, parse_object

JWT = "application/jwt"
_TIMEOUT_S = 10.0
_ENROLMENT_CODE = re.compile(r"CE1:([A-Za-z0-9_-]{43}):([A-Za-z0-9_-]{22})")


class ServerUnreachableError(Exception):
    """No answer came. Whether the message arrived is not known: send the same bytes again."""


@dataclass(frozen=True, slots=True)
class EnrolmentCode:
    """What the operator hands out: the server's key thumbprint and a one-time code."""

    thumbprint: str
    code: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``CE1:<thumbprint>:<code>``. Raises CodedError (``enrolment_code_refused``)."""
        match = _ENROLMENT_CODE.fullmatch(text.strip())
        if match is None:
            raise CodedError(
                ErrorCode.ENROLMENT_CODE_REFUSED,
                "an enrolment code reads CE1:<43 characters>:<22 characters>; copy it whole",
            )
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"CE1:{self.thumbprint}:{self.code}"


@dataclass(frozen=True, slots=True)
class ServerPin:
    """What a device remembers of its server from enrolment on.

    ``certificate``: DER. ``lineage``: the identity statement that was pinned, and each succession
    since, joined by ``~``. ``rotation_exponent``: of the beacon.
    """

    url: str
    server: str
    certificate: bytes
    lineage: str
    rotation_exponent: int

    @property
    def keys(self) -> Lineage:
        """What the server signs with. Raises StatementError if the pin is damaged."""
        return read_lineage(self.lineage)

    @property
    def successions(self) -> int:
        """How many of them this device has taken since it pinned the server."""
        return len(self.keys.keys) - 1

    def identity_at(self, now_s: int) -> str:
        """The identity statement (compact) of the key in force, which a phone hands to its jack."""
        return self.keys.signing(now_s).identity

    def to_json(self) -> str:
        """For the device's own store."""
        return json.dumps(
            {
                "url": self.url,
                "server": self.server,
                "certificate": base64url(self.certificate),
                "identity": self.lineage,
                "rotation_exponent": self.rotation_exponent,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. Raises StatementError if it is damaged."""
        members = parse_object(text.encode())
        try:
            return cls(
                url=str(members["url"]),
                server=str(members["server"]),
                certificate=from_base64url(str(members["certificate"])),
                lineage=str(members["identity"]),
                rotation_exponent=int(str(members["rotation_exponent"])),
            )
        except (KeyError, ValueError):
            raise StatementError(
                ErrorCode.MESSAGE_MALFORMED, "the stored server pin is damaged; enrol again"
            ) from None


def steps_of(document: dict[str, object]) -> tuple[str, ...]:
    """The lineage that a well-known document tells; of a server before lineages its identity."""
    told = document.get("lineage", [document.get("identity", "")])
    return tuple(map(str, told)) if isinstance(told, list) else ()


def _verify_lineage(steps: tuple[str, ...], code: EnrolmentCode) -> Lineage:
    """The server whose key the code names, from that key on. Raises StatementError."""
    try:
        return lineage_from(code.thumbprint, steps)
    except StatementError as error:
        if error.code is not ErrorCode.KEY_UNKNOWN:
            raise
        detail = "this is another server than the one that made the code; check the address"
        raise StatementError(ErrorCode.KEY_UNKNOWN, detail) from None


async def meet(url: str, code: EnrolmentCode) -> ServerPin:
    """Read the well-known document of the server at ``url`` and pin what it proves.

    Nothing secret is sent. Raises ServerUnreachableError, or CodedError when this is not the server
    that made the enrolment code.
    """
    if not url.startswith("https://"):
        raise ServerUnreachableError(f"{url} is no server's address; write it as https://HOST:PORT")
    async with httpx.AsyncClient(
        base_url=url, verify=tls.first_contact_context(), timeout=_TIMEOUT_S, trust_env=False
    ) as http:
        try:
            async with http.stream("GET", "/.well-known/cigarjack") as answer:
                certificate = _peer_certificate(answer)
                content = await _bounded(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerUnreachableError(
                f"no server answers at {url} ({why(error)}); check the address and that it runs"
            ) from None
    if answer.status_code >= 400:
        raise_problem(httpx.Response(answer.status_code, content=content))
    return _pin(url.rstrip("/"), parse_object(content), code, certificate)


def why(error: Exception) -> str:
    """What a network error says of itself, or at least its kind."""
    return str(error) or type(error).__name__


async def _bounded(answer: httpx.Response) -> bytes:
    """The body. Who answers is not known yet, and must not fill the memory of a device."""
    content = bytearray()
    async for piece in answer.aiter_raw():
        content += piece
        if len(content) > MAX_BODY_BYTES:
            raise ServerUnreachableError("what answers there is no server of ours: it never ends")
    return bytes(content)


def _peer_certificate(answer: httpx.Response) -> bytes:
    stream = answer.extensions["network_stream"]
    connection = stream.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True) if connection else None
    if certificate is None:
        raise CodedError(ErrorCode.KEY_UNKNOWN, "the server must be reached by https")
    return bytes(certificate)


def _pin(
    url: str, document: dict[str, object], code: EnrolmentCode, certificate: bytes
) -> ServerPin:
    lineage = _verify_lineage(steps_of(document), code)
    # Verified with the lineage.
    identity = Identity.from_claims(unverified_claims(lineage.newest.identity))
    if identity.tls_sha256 != tls.fingerprint(certificate):
        raise CodedError(
            ErrorCode.KEY_UNKNOWN,
            "the connection does not end at the server that made the enrolment code",
        )
    if identity.rotation_exponent is None:
        raise StatementError(ErrorCode.CLAIM_INVALID, "the identity has no rotation exponent")
    return ServerPin(
        url=url,
        server=lineage.server,
        certificate=certificate,
        lineage=lineage.text,
        rotation_exponent=identity.rotation_exponent,
    )


def raise_problem(answer: httpx.Response) -> NoReturn:
    """Turn a problem document into CodedError; anything else into ServerUnreachableError.

    One that says when to come back (RFC 9110, ``Retry-After`` in seconds) becomes LimitError.
    """
    try:
        document: Any = answer.json()
        code = ErrorCode(document["code"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise ServerUnreachableError(
            f"the server answered {answer.status_code} without a code that this version knows"
        ) from None
    detail, after = str(document.get("detail", "")), answer.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,6}", after, re.ASCII):
        raise LimitError(code, int(after), detail)
    raise CodedError(code, detail)
