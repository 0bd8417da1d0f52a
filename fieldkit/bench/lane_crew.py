"""One lane of a server under load: a terminal, a car's jack and its owner's phone, in this process.

Terminal and phone talk to the real server over their own connections, as the published client
does it; the phone learns of challenges from its event stream. Jack and radio are not in it: what
they cost, the server does not pay.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import uuid6
from cryptography.hazmat.primitives.asymmetric import ec

from fieldkit.bench.virtual_jack import VirtualJack
from server.client import EnrolmentCode, ServerClient, ServerPin, meet, path_of
from twochannel.keystore.file import FileAgreement, FileSigner
from twochannel.protocol import beacon
from twochannel.protocol.envelope import Statement, digest, sign, unverified_claims
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.lane import NONCE_LENGTH, lane_digest
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import (
    Challenge,
    Confirmation,
    DecidedBy,
    Decision,
    Enrolment,
    Identity,
    Method,
    PairingAcceptance,
    PaymentRequest,
    Role,
    SightingReport,
)
from twochannel.protocol.wire import base64url
from twochannel.trace import wall_ms

#: A server that has not answered by then has lost the payment.
_WAIT_S: Final = 30
_TEST_CARD: Final = "tok_success"
_AMOUNT: Final = Amount(value=450, currency="EUR")
_NS_PER_MS: Final = 1_000_000


class LaneError(Exception):
    """A payment ended before it got as far as it must."""


@dataclass(frozen=True, slots=True)
class LanePayment:
    """How one payment ended, and its wall milliseconds as its parties saw them.

    ``payment_ms``: the terminal, from its request to the outcome with the receipt.
    ``challenge_ms``: from that request to the challenge on the phone's stream.
    ``confirmation_ms``: the phone, from its confirmation to the answer.
    """

    status: str
    payment_ms: float
    challenge_ms: float
    confirmation_ms: float


def _signer() -> FileSigner:
    return FileSigner(ec.generate_private_key(ec.SECP256R1()))


def _new_id() -> str:
    return str(uuid6.uuid7())


class Device:
    """A key and a connection: what terminal and phone have in common."""

    def __init__(self, pin: ServerPin, signer: FileSigner) -> None:
        self.signer = signer
        self.client = ServerClient(pin, signer, new_id=_new_id, wall_ms=wall_ms)

    async def send(self, statement: Statement, wait_s: int = 0) -> dict[str, Any]:
        """Sign and send. Raises CodedError, ServerUnreachableError."""
        compact = sign(statement, self.signer)
        return await self.client.send(path_of(statement), compact, wait_s=wait_s)

    async def enrol(self, role: Role, code: str) -> dict[str, Any]:
        """Become known to the server."""
        await self.client.synchronise()
        key = self.signer.key.jwk
        return await self.send(self.client.draft(Enrolment, role=role, key=key, code=code))


class LaneCrew:
    """``async with await LaneCrew.hire(url, codes) as crew`` pays again and again.

    A lane has one open payment at a time, as terminals and jacks do.
    """

    def __init__(self, pin: ServerPin, phones_url: str) -> None:
        self._terminal = Device(pin, _signer())
        self._phone = Device(replace(pin, url=phones_url), _signer())
        beacon_key = FileAgreement(ec.generate_private_key(ec.SECP256R1()))
        self._jack = VirtualJack(_signer(), beacon_key)
        self._pin = pin
        self._identity_key = self._jack.identity_key(_beacon_key(pin))
        self._lane = ""
        self._method = ""
        self._challenges: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._open = contextlib.AsyncExitStack()

    @property
    def server(self) -> str:
        """The id of its server."""
        return self._pin.server

    @classmethod
    async def hire(
        cls, url: str, terminal_code: str, phone_code: str, phones_url: str | None = None
    ) -> Self:
        """Enrol terminal and phone with the operator's codes, pair the jack, add a card.

        ``phones_url``: of another server over the same database, where the phone asks.
        """
        crew = cls(await meet(url, EnrolmentCode.parse(phone_code)), phones_url or url)
        terminal, phone = crew._terminal, crew._phone
        enrolled = await terminal.enrol(Role.TERMINAL, EnrolmentCode.parse(terminal_code).code)
        crew._lane = str(enrolled["lane"])
        await phone.enrol(Role.PHONE, EnrolmentCode.parse(phone_code).code)
        await crew._pair()
        card = phone.client.draft(Method, token=_TEST_CARD, label="Bench card")
        crew._method = str((await phone.send(card))["id"])
        return crew

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._terminal.client)
        await self._open.enter_async_context(self._phone.client)
        connected = asyncio.Event()
        listening = asyncio.create_task(self._listen(connected), name="phone stream")
        self._open.push_async_callback(_cancel, listening)
        await first(listening, connected.wait())
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._open.aclose()

    async def pay(self) -> LanePayment:
        """One whole payment.

        Raises CodedError, ServerUnreachableError, LaneError or TimeoutError.
        """
        nonce = secrets.token_bytes(NONCE_LENGTH)
        request = self._request(nonce)
        started_ns = time.perf_counter_ns()
        requested = asyncio.create_task(
            self._terminal.send(request, wait_s=_WAIT_S), name="request"
        )
        async with asyncio.timeout(_WAIT_S):
            try:
                compact = await first(requested, self._challenge_of(request.jti))
                challenged_ns = time.perf_counter_ns()
                confirmation = self._confirmation(compact, base64url(nonce))
                confirmed_ns = time.perf_counter_ns()
                await self._phone.send(confirmation)
                answered_ns = time.perf_counter_ns()
                payment = await requested
            finally:
                await _cancel(requested)
        return LanePayment(
            status=str(payment["status"]),
            payment_ms=(time.perf_counter_ns() - started_ns) / _NS_PER_MS,
            challenge_ms=(challenged_ns - started_ns) / _NS_PER_MS,
            confirmation_ms=(answered_ns - confirmed_ns) / _NS_PER_MS,
        )

    async def _pair(self) -> None:
        phone = self._phone
        pairing = self._jack.pairing(self._pin.server, phone.signer.key.kid, (_new_id(), _new_id()))
        await phone.send(phone.client.draft(PairingAcceptance, sub=self._jack.id, pairing=pairing))

    async def _listen(self, connected: asyncio.Event) -> None:
        async for event in self._phone.client.events():
            if event.kind == "connected":
                connected.set()
            elif event.kind == "challenge":
                payment, compact = event.data["payment"], event.data["challenge"]
                self._challenges.put_nowait((str(payment["id"]), str(compact)))

    async def _challenge_of(self, payment: str) -> str:
        """The challenge of ``payment``; what is left of a payment that failed is dropped."""
        while True:
            challenged, compact = await self._challenges.get()
            if challenged == payment:
                return compact

    def _request(self, nonce: bytes) -> PaymentRequest:
        payment, terminal = _new_id(), self._terminal
        exponent = self._pin.rotation_exponent
        code = beacon.code_at(self._identity_key, terminal.client.now_s(), exponent)
        return terminal.client.draft(
            PaymentRequest,
            jti=payment,
            sub=payment,
            code=code.hex(),
            amount=_AMOUNT,
            capture=CaptureMode.AUTOMATIC,
            lane=self._lane,
            lane_digest=lane_digest(nonce),
            reference=payment,
            sighting=SightingReport(rssi_dbm=-60, heard_ms_ago=50, other_jacks=0),
        )

    def _confirmation(self, compact: str, lane_nonce: str) -> Confirmation:
        challenge = self._pin.keys.verify(compact, Challenge)
        return self._phone.client.draft(
            Confirmation,
            sub=challenge.sub,
            prev=digest(compact),
            decision=Decision.APPROVE,
            decided_by=DecidedBy.POLICY,
            auth_code=self._jack.auth_code(challenge, compact, lane_nonce, _new_id()),
            payment_method=self._method,
        )


def _beacon_key(pin: ServerPin) -> VerifyingKey:
    # Verified when it was pinned.
    return VerifyingKey.from_jwk(
        Identity.from_claims(unverified_claims(pin.keys.newest.identity)).beacon_key
    )


async def first(worker: asyncio.Task[Any], awaited: Coroutine[Any, Any, Any]) -> Any:
    """What ``awaited`` gives, unless ``worker`` fails or ends before: then what it raised."""
    waiting = asyncio.ensure_future(awaited)
    try:
        await asyncio.wait({worker, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        raise worker.exception() or LaneError(f"the {worker.get_name()} ended too early")
    finally:
        waiting.cancel()


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
