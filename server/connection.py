"""A device's connection to its pinned server: statements, proofs, events, and the server's time.

What lies under the published client (server/client.py), which says what the errors mean.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
from uuid6 import uuid7

from server.contact import (
    JWT,
    ServerPin,
    ServerUnreachableError,
    raise_problem,
    steps_of,
    why,
)
from twochannel import tls
from twochannel.protocol.envelope import Statement, sign
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError
from twochannel.protocol.keys import Signer
from twochannel.protocol.limits import MAX_WAIT_S, PROOF_LIFETIME_S, REQUEST_LIFETIME_S
from twochannel.protocol.statements import Proof, Timed

_log = logging.getLogger(__name__)
T = TypeVar("T", bound=Timed)
#: Answers that never came within this time are taken as lost.
_TIMEOUT_S = 10.0
#: Pings come every 15 s; three missing ones mean that the stream is dead.
_STREAM_TIMEOUT_S = 45.0
_WELL_KNOWN = "/.well-known/cigarjack"


def _boottime_ms() -> int:
    """Milliseconds since this boot, sleep included where the system counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event: its id for ``Last-Event-ID``, its kind, its JSON."""

    id: str
    kind: str
    data: dict[str, Any]


class ServerConnection:
    """One device's connection to its pinned server: kept alive, and aware of the server's time.

    ``new_id`` gives UUIDs for proofs; ``wall_ms`` is this machine's clock, right or wrong, which
    counts until the server has told its time. ``steady_ms``: a clock that nobody sets; by it the
    server's time goes on from there.
    ``keep_pin`` is given the pin anew when the server has announced another key: store it.
    """

    def __init__(
        self,
        pin: ServerPin,
        signer: Signer,
        *,
        new_id: Callable[[], str] = lambda: str(uuid7()),
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        steady_ms: Callable[[], int] = _boottime_ms,
        keep_pin: Callable[[ServerPin], None] = lambda _pin: None,
    ) -> None:
        self.pin = pin
        self.signer = signer
        self._new_id = new_id
        self._wall_ms = wall_ms
        self._steady_ms = steady_ms
        self._keep_pin = keep_pin
        self._successions = 0
        self._offset_ms: int | None = None
        self._context: ssl.SSLContext = tls.client_context(pin.certificate)
        self._http = httpx.AsyncClient(
            base_url=pin.url,
            verify=self._context,
            timeout=_TIMEOUT_S,
            trust_env=False,
            limits=httpx.Limits(keepalive_expiry=60.0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._http.aclose()

    @property
    def synchronised(self) -> bool:
        """Whether an answer of the server has told its time yet."""
        return self._offset_ms is not None

    def now_ms(self) -> int:
        """The server's time as far as this device knows it, Unix milliseconds."""
        if self._offset_ms is None:
            return self._wall_ms()
        return self._steady_ms() + self._offset_ms

    def now_s(self) -> int:
        """The server's time as far as this device knows it, Unix seconds."""
        return self.now_ms() // 1000

    def draft(self, model: type[T], **claims: object) -> T:
        """A statement of this device's to the server, made now: ``iss``, ``aud``, ``iat``, ``exp``
        and a ``jti`` of its own are filled in unless they are among ``claims``.

        Raises StatementError (``claim_invalid``).
        """
        now_s = self.now_s()
        common: dict[str, object] = {
            "iss": self.signer.key.kid,
            "aud": self.pin.server,
            "jti": claims.get("jti") or self._new_id(),
            "iat": now_s,
            "exp": now_s + REQUEST_LIFETIME_S,
        }
        return model.from_claims(common | claims)

    async def submit(
        self, path: str, build: Callable[[int], str], *, wait_s: int = 0
    ) -> dict[str, Any]:
        """Send the statement that ``build(now_s)`` makes.

        A ``clock_skew`` answer corrects the offset and the statement is built once more; the
        caller's ``build`` keeps its ids. Persist what ``build`` returns before returning it.
        """
        try:
            return await self.send(path, build(self.now_s()), wait_s=wait_s)
        except CodedError as error:
            if error.code is not ErrorCode.CLOCK_SKEW:
                raise
        return await self.send(path, build(self.now_s()), wait_s=wait_s)

    async def send(self, path: str, compact: str, *, wait_s: int = 0) -> dict[str, Any]:
        """POST one statement; return the JSON answer."""
        headers = {"content-type": JWT} | _prefer(wait_s)
        answer = await self._request("POST", path, wait_s, headers=headers, content=compact)
        return _members(answer)

    async def get(
        self, path: str, *, query: dict[str, str] | None = None, wait_s: int = 0
    ) -> dict[str, Any]:
        """GET with a proof of this device's key; return the JSON answer."""
        target = path + (f"?{urlencode(query)}" if query else "")
        return _members(await self._proven("GET", target, wait_s=wait_s))

    async def time_statement(self, jack: str, nonce: str) -> str:
        """A ``time+jwt`` for the jack that handed out ``nonce``."""
        body = json.dumps({"jack": jack, "nonce": nonce})
        return (await self._proven("POST", "/v1/time", body=body)).text

    async def coupling_challenge(self, method: str, jack: str) -> str:
        """What ``jack`` must answer for a payment method to be coupled to it, compact."""
        body = json.dumps({"method": method, "jack": jack})
        return (await self._proven("POST", "/v1/coupling-challenges", body=body)).text

    async def synchronise(self) -> None:
        """Learn the server's time, and open the connection that payments will use."""
        await self._request("GET", _WELL_KNOWN, 0)

    async def clock_offset_ms(self) -> int:
        """Ask for the server's time; by how much it is ahead of this machine's.

        Raises CodedError, and ServerUnreachableError also for an answer without a time.
        """
        await self.synchronise()
        if not self.synchronised:
            raise ServerUnreachableError("the server's answer tells no time")
        return self.now_ms() - self._wall_ms()

    async def events(self, last_event_id: str | None = None) -> AsyncIterator[ServerEvent]:
        """The phone's event stream, reconnecting for ever with back-off and ``Last-Event-ID``.

        Ends only when it is cancelled or the server refuses the device for good (CodedError).
        A reconnection is announced by an event of kind ``connected`` with empty data, a loss by
        one of kind ``lost``.
        """
        failures = 0
        while True:
            after_s = 0
            try:
                async for event in self._stream(last_event_id):
                    failures = 0
                    last_event_id = event.id or last_event_id
                    yield event
            except ServerUnreachableError as error:
                _log.info("event_stream_lost", extra={"reason": str(error)})
            except CodedError as error:
                passing = error.code in (ErrorCode.CLOCK_SKEW, ErrorCode.NOT_READY)
                if not passing and not isinstance(error, LimitError):
                    raise
                after_s = error.retry_after_s if isinstance(error, LimitError) else 0
            yield ServerEvent("", "lost", {})
            # Spread over time, so that a server that comes back is not met by all at once.
            delay_s = min(0.2 * 2**failures, 15.0) * random.uniform(0.5, 1.0)  # noqa: S311
            await asyncio.sleep(max(delay_s, after_s))
            failures += 1

    async def _stream(self, last_event_id: str | None) -> AsyncIterator[ServerEvent]:
        from httpx_sse import EventSource, SSEError

        path = "/v1/events"
        headers = self._proof("GET", path) | {"accept": "text/event-stream"}
        if last_event_id:
            headers["last-event-id"] = last_event_id
        timeout = httpx.Timeout(_TIMEOUT_S, read=_STREAM_TIMEOUT_S)
        try:
            async with (
                tls.no_connection_left_behind() as extensions,
                self._http.stream(
                    "GET", path, headers=headers, timeout=timeout, extensions=extensions
                ) as answer,
            ):
                self._learn_time(answer)
                await self._learn_keys(answer)
                if answer.status_code >= 400:
                    await answer.aread()
                    raise_problem(answer)
                yield ServerEvent("", "connected", {})
                async for event in EventSource(answer).aiter_sse():
                    # A ping is a comment. Once it saw an id, httpx-sse makes an empty event of it.
                    if event.event == "successions":
                        told = _event_data(event.data).get("successions")
                        await self._catch_up(told if isinstance(told, int) else 0)
                    elif event.data:
                        yield ServerEvent(event.id, event.event, _event_data(event.data))
        except (httpx.HTTPError, SSEError) as error:
            raise ServerUnreachableError(
                f"the event stream broke: {type(error).__name__}"
            ) from None

    async def _proven(
        self, method: str, target: str, *, body: str | None = None, wait_s: int = 0
    ) -> httpx.Response:
        kind = {"content-type": "application/json"} if body is not None else {}
        for attempt in (1, 2):
            headers = self._proof(method, target) | kind | _prefer(wait_s)
            try:
                return await self._request(method, target, wait_s, headers=headers, content=body)
            except CodedError as error:
                if error.code is not ErrorCode.CLOCK_SKEW or attempt == 2:
                    raise
        raise AssertionError("the loop above returns or raises")

    def _proof(self, method: str, target: str) -> dict[str, str]:
        now_s = self.now_s()
        proof = Proof(
            iss=self.signer.key.kid,
            aud=self.pin.server,
            jti=self._new_id(),
            iat=now_s,
            exp=now_s + PROOF_LIFETIME_S,
            htm=method,
            htu=target,
        )
        return {"authorization": f"Bearer {sign(proof, self.signer)}"}

    async def _request(
        self,
        method: str,
        target: str,
        wait_s: int,
        *,
        headers: dict[str, str] | None = None,
        content: str | None = None,
    ) -> httpx.Response:
        timeout = httpx.Timeout(_TIMEOUT_S, read=_TIMEOUT_S + wait_s)
        try:
            async with tls.no_connection_left_behind() as extensions:
                answer = await self._http.request(
                    method,
                    target,
                    headers=headers,
                    content=content,
                    timeout=timeout,
                    extensions=extensions,
                )
        except httpx.HTTPError as error:
            host = urlsplit(self.pin.url).netloc
            raise ServerUnreachableError(
                f"no answer from the server at {host} ({why(error)}); "
                "check the network and that the server runs"
            ) from None
        self._learn_time(answer)
        await self._learn_keys(answer)
        if answer.status_code >= 400:
            raise_problem(answer)
        return answer

    async def _learn_keys(self, answer: httpx.Response) -> None:
        """Ask for the server's new key when an answer tells that there is one, and pin it too."""
        told = _number(answer.headers.get("cigarjack-successions", "")) or 0
        if told > self._successions:
            await self._catch_up(told)

    async def _catch_up(self, told: int) -> None:
        """Catch up with the server's keys; ``told``: how many successions there were.

        What this device believes changes only by the word of a key that it believes already.
        """
        # A lineage that leads nowhere is not asked for again by this connection.
        self._successions = told
        try:
            document = _members(await self._request("GET", _WELL_KNOWN, 0))
            keys = self.pin.keys.caught_up(steps_of(document))
        except ServerUnreachableError:
            self._successions = 0
            return
        except CodedError as error:
            _log.warning("server_keys_not_learned", extra={"reason": str(error)})
            return
        if keys.text != self.pin.lineage:
            self.pin = replace(self.pin, lineage=keys.text)
            _log.info("server_key_learned", extra={"key": keys.newest.key.kid})
            try:
                self._keep_pin(self.pin)
            except OSError as error:
                # It holds while this runs, and is learnt again after a restart.
                _log.error("server_key_not_kept", extra={"reason": str(error)})

    def _learn_time(self, answer: httpx.Response) -> None:
        told_ms = _number(answer.headers.get("cigarjack-time", ""))
        if told_ms is not None:
            self._offset_ms = told_ms - self._steady_ms()


def statement_builder(
    make: Callable[[int], Statement], signer: Signer, keep: Callable[[str], None]
) -> Callable[[int], str]:
    """For ``ServerConnection.submit``: make, sign, and ``keep`` (persist) before it is sent."""

    def build(now_s: int) -> str:
        compact = sign(make(now_s), signer)
        keep(compact)
        return compact

    return build


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _prefer(wait_s: int) -> dict[str, str]:
    return {"prefer": f"wait={min(wait_s, MAX_WAIT_S)}"} if wait_s > 0 else {}


def _event_data(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        raise ServerUnreachableError("an event cannot be read") from None
    if not isinstance(data, dict):
        raise ServerUnreachableError("an event's data is not a JSON object")
    return data


def _members(answer: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object. One that cannot be read says as little as none at all."""
    try:
        members = answer.json()
    except ValueError:
        raise ServerUnreachableError("the server's answer cannot be read") from None
    if not isinstance(members, dict):
        raise ServerUnreachableError("the server's answer is not a JSON object")
    return members
