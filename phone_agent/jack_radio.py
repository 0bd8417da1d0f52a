"""The phone's Bluetooth: calls its jack, hears who invites, and asks over GATT.

What is heard is a hint: anybody may send a recorded invitation again. Who is there, the session
shows, and whoever is not the jack costs one try; the next goes to another address.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

from cigarjack.client import JackClient, JackClientError, JackPin, gatt_channel
from twochannel.advert_recording import AdvertRecording, to_microseconds
from twochannel.condition.radio import RadioCondition
from twochannel.protocol.errors import FrameError
from twochannel.protocol.invitation import (
    CALL_SALT_BYTES,
    CALL_UUID,
    INVITATION_UUID,
    Call,
    Invitation,
    call_key,
    invitation_key,
    pairing_invitation_key,
)
from twochannel.protocol.limits import CALLED_S
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Link, LinkError, Radio, RadioError, Sighting
from twochannel.radio.watch import RadioWatch
from twochannel.trace import Trace

_log = logging.getLogger(__name__)
T = TypeVar("T")

#: The least for non-connectable adverts, like the lane frame's: the jack shall hear it at once.
_CALL_INTERVAL_MS: Final = 20
#: One conversation, once connected: handshake, and an auth code for which the jack waits 2 s.
CONVERSATION_S: Final = 12.0
#: All tries of one request together: two that come to nothing.
_ATTEMPT_S: Final = 40.0
#: An answer over GATT: 2 KB at 20 bytes a packet, and the 2 s of the lane.
_ANSWER_S: Final = 8.0
#: After this time an address that has failed may be tried again.
_LEFT_ALONE_S: Final = 2.0
#: A jack that invites is heard again within this time.
_HEARD_AGAIN_S: Final = 1.0


class JackRadio:
    """``condition``: of the radio. ``now_s``: the server's time. Give ``run`` a task."""

    def __init__(
        self,
        condition: RadioCondition,
        now_s: Callable[[], int],
        recording: AdvertRecording | None = None,
    ) -> None:
        """``recording``: keeps every invitation.

        Raises RadioError for a name that no backend serves.
        """
        name = condition.name
        open_radio(name)
        self.condition = condition
        self._watch = RadioWatch(lambda: open_radio(name), self._listen, condition)
        self._now_s = now_s
        self._recording = recording
        self._radio: Radio | None = None
        self._alone = asyncio.Lock()
        self._waiting: dict[asyncio.Future[Sighting], Callable[[Invitation], bool]] = {}
        self._last_call_s = 0
        self._called_at_s: dict[str, float] = {}
        #: By jack, the level of the invitation that led to it last.
        self.levels_dbm: dict[str, int] = {}
        #: Until when nobody is met at an address.
        self._left_alone_s: dict[str, float] = {}

    @property
    def problem(self) -> str | None:
        """Why nothing can be asked over GATT now, or None."""
        return self._watch.problem

    async def run(self) -> None:
        """Keep the radio open and listen, until cancelled."""
        await self._watch.run()

    async def _listen(self, radio: Radio) -> None:
        self._radio = radio
        try:
            async for sighting in radio.scanner.sightings():
                self.condition.take(sighting)
                if sighting.service_uuid == INVITATION_UUID:
                    self._take(sighting)
        finally:
            self._radio = None

    def _take(self, sighting: Sighting) -> None:
        try:
            invitation = Invitation.decode(sighting.service_data)
        except FrameError:
            return
        if self._recording is not None:
            self._recording.take(*to_microseconds(sighting))
        if time.monotonic() < self._left_alone_s.get(sighting.address, 0.0):
            return
        for future, wanted in tuple(self._waiting.items()):
            if not future.done() and wanted(invitation):
                future.set_result(sighting)

    async def invited(self, *keys: bytes, when: Callable[[], bool] = lambda: True) -> Sighting:
        """The next invitation under one of ``keys``, from an address that has not just failed."""

        def wanted(invitation: Invitation) -> bool:
            return any(invitation.is_under(key) for key in keys) and when()

        heard: asyncio.Future[Sighting] = asyncio.get_running_loop().create_future()
        self._waiting[heard] = wanted
        try:
            return await heard
        finally:
            del self._waiting[heard]

    async def uncalled(self, pin: JackPin) -> Sighting:
        """The jack invites, though it was not called: it does not know the time."""
        key = invitation_key(pin.link_key)
        return await self.invited(key, when=lambda: not self._called_lately(pin.jack))

    def _called_lately(self, jack: str) -> bool:
        called_at_s = self._called_at_s.get(jack)
        return called_at_s is not None and time.monotonic() < called_at_s + 2 * CALLED_S

    async def call(self, pin: JackPin, ask: Callable[[JackClient], Awaitable[T]]) -> T:
        """Call the jack, and ask it once it takes a connection. Raises JackClientError, CodedError.

        Whoever invites and is not the jack is left for another.
        """
        async with self._alone:
            try:
                async with asyncio.timeout(_ATTEMPT_S):
                    return await self._call(pin, ask)
            except TimeoutError:
                raise JackClientError("the jack is not heard over Bluetooth") from None
            except RadioError as error:
                raise JackClientError(f"the phone's Bluetooth does not work: {error}") from error

    async def _call(self, pin: JackPin, ask: Callable[[JackClient], Awaitable[T]]) -> T:
        while True:
            sighting = await self._answered(pin)
            try:
                return await self._converse(sighting, pin, ask)
            except (JackClientError, TimeoutError) as error:
                _log.info("invitation_failed", extra={"jack": pin.jack, "reason": str(error)})

    async def visit(self, pin: JackPin, ask: Callable[[JackClient], Awaitable[T]]) -> T:
        """Ask a jack that invites without having been called. Raises as ``call`` does."""
        try:
            async with asyncio.timeout(_HEARD_AGAIN_S):
                sighting = await self.uncalled(pin)
            async with self._alone:
                return await self._converse(sighting, pin, ask)
        except TimeoutError:
            raise JackClientError("the jack does not answer over Bluetooth") from None

    @asynccontextmanager
    async def link(self, sighting: Sighting) -> AsyncIterator[Link]:
        """A link to whoever invited. Raises JackClientError, in the block too when it is lost.

        If the block fails, the address is left alone for a while: another one may be the jack's.
        """
        try:
            async with self._opened().central.connected(sighting) as link:
                yield link
        except BaseException as error:
            self._leave_alone(sighting.address)
            if isinstance(error, LinkError):
                raise JackClientError(f"no connection over Bluetooth: {error}") from error
            if isinstance(error, RadioError):
                raise JackClientError(f"the phone's Bluetooth does not work: {error}") from error
            raise

    def _leave_alone(self, address: str) -> None:
        now_s = time.monotonic()
        kept = {who: until_s for who, until_s in self._left_alone_s.items() if until_s > now_s}
        self._left_alone_s = kept | {address: now_s + _LEFT_ALONE_S}

    def _opened(self) -> Radio:
        if self._radio is None:
            raise JackClientError(f"the phone has no Bluetooth now: {self.problem}")
        return self._radio

    async def _answered(self, pin: JackPin) -> Sighting:
        """Call until the jack, or somebody who seems to be it, invites."""
        radio = self._opened()
        keys = invitation_key(pin.link_key), pairing_invitation_key(pin.jack)
        while True:
            await radio.advertiser.broadcast(self._broadcast(pin))
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CALLED_S):
                        return await self.invited(*keys)
            finally:
                await radio.advertiser.silence()

    def _broadcast(self, pin: JackPin) -> Broadcast:
        # A second call within a second must be newer too.
        self._last_call_s = max(self._now_s(), self._last_call_s + 1)
        self._called_at_s[pin.jack] = time.monotonic()
        salt = secrets.token_bytes(CALL_SALT_BYTES)
        call = Call.made(call_key(pin.link_key), self._last_call_s, salt)
        return Broadcast(CALL_UUID, call.encode(), _CALL_INTERVAL_MS)

    async def _converse(
        self, sighting: Sighting, pin: JackPin, ask: Callable[[JackClient], Awaitable[T]]
    ) -> T:
        async with (
            self.link(sighting) as link,
            asyncio.timeout(CONVERSATION_S),
            JackClient(gatt_channel(link, pin), pin, timeout_s=_ANSWER_S) as client,
        ):
            answer = await ask(client)
        self.levels_dbm[pin.jack] = sighting.rssi_dbm
        return answer


@asynccontextmanager
async def listening(
    condition: RadioCondition | None,
    now_s: Callable[[], int],
    recording: AdvertRecording | None = None,
) -> AsyncIterator[JackRadio | None]:
    """The radio of that name, kept open while the block runs; None if there is none.

    Raises RadioError for a name that no backend serves.
    """
    if condition is None:
        yield None
        return
    radio = JackRadio(condition, now_s, recording)
    running = asyncio.create_task(radio.run(), name="radio")
    try:
        yield radio
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def unnoted(name: str | None) -> RadioCondition | None:
    """Of a radio whose condition is noted nowhere."""
    return RadioCondition(Trace("phone", None, boot=""), name) if name else None
