"""The terminal's radio: hears the jacks, and broadcasts the lane nonce of the open payment.

A radio that is lost is opened again for as long as the agent runs, and what was on the air is put
there again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from payment_device.answers import jacks_view
from payment_device.decision_trace import DecisionTrace, Inquiry
from payment_device.sightings import (
    NOWHERE_ELSE,
    Ambiguous,
    Choice,
    Chosen,
    Nearby,
    Sightings,
    handle_of,
)
from twochannel.advert_recording import AdvertRecording, to_microseconds
from twochannel.condition.radio import RadioCondition
from twochannel.protocol import beacon, lane
from twochannel.protocol.errors import CodedError, ErrorCode, FrameError
from twochannel.radio.port import Broadcast, Radio, RadioError, Sighting
from twochannel.radio.watch import keep_log
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

#: The least that Bluetooth 5.0 allows for non-connectable adverts (docs/protocol.md, Presence).
LANE_INTERVAL_MS: Final = 20
#: A change-over makes the choice ambiguous for a second: wait it out before anyone is told.
AMBIGUOUS_PATIENCE_S: Final = 1.5
_REOPEN_AFTER_S: Final = (0.5, 1.0, 2.0, 5.0)
#: Lines of ``code_heard`` a second: per code what a jack sends, and altogether what a disk bears.
_TRACED_PER_CODE: Final = 10
_TRACED_IN_ALL: Final = 200
#: Of a lane's digest in the trace, as the jack names it there (``cigarjack/lane_ear.py``).
_LANE_DIGITS: Final = 8
#: How often the trace repeats what is needed to read it: less than the smallest ring lasts.
_TOLD_HOW_S: Final = 600.0

#: Codes, and the monotonic time.
Elsewhere = Callable[[Sequence[bytes], float], Mapping[bytes, float]]


def nowhere(_codes: Sequence[bytes], _now_s: float) -> Mapping[bytes, float]:
    """For a lane that shares with nobody."""
    return NOWHERE_ELSE


class LaneRadio:
    """One adapter, always listening. Run ``run`` beside everything else."""

    def __init__(
        self,
        open_radio: Callable[[], Radio],
        sightings: Sightings,
        trace: Trace,
        listen_s: float,
        elsewhere: Elsewhere = nowhere,
        recording: AdvertRecording | None = None,
        condition: RadioCondition | None = None,
    ) -> None:
        """``listen_s``: how long a question waits for a jack to be heard.

        ``elsewhere``: how well other lanes hear these codes now (``Sightings.choose``).
        ``recording``: keeps every advert that the decision hears. ``condition``: of this radio.
        """
        self._open_radio = open_radio
        self._sightings = sightings
        self._trace = trace
        self._listen_s = listen_s
        self._elsewhere = elsewhere
        self._recording = recording
        self._condition = condition or RadioCondition(trace, "")
        self._decisions = DecisionTrace(trace)
        self._adverts = 0
        self._told_how_s = time.monotonic()
        self._radio: Radio | None = None
        self._failure = "not opened yet"
        self._on_air: tuple[str, bytes] | None = None
        self._heard = asyncio.Event()
        self._traced: Counter[bytes] = Counter()
        self._traced_second = 0
        self.opened = asyncio.Event()
        self.foreign_frames = 0

    async def run(self) -> None:
        """Listen for ever. Raises RadioError if the radio cannot be opened even once."""
        self._tell_how()
        failures = 0
        while True:
            try:
                async with self._open_radio() as radio:
                    failures = 0
                    await self._resume(radio)
                    await self._listen(radio)
            except RadioError as error:
                if not self.opened.is_set():
                    raise
                self._failure = str(error)
                self._condition.lost(self._failure, time.monotonic())
                _log.warning("radio_lost", extra={"reason": self._failure})
            finally:
                self._radio = None
            await asyncio.sleep(_REOPEN_AFTER_S[min(failures, len(_REOPEN_AFTER_S) - 1)])
            failures += 1

    def _tell_how(self) -> None:
        """By which rules is decided, and where the adverts are; again and again, for rings turn."""
        self._told_how_s = time.monotonic()
        self._decisions.rules(self._sightings.rules)
        if kept := self._recording:
            self._trace.event(
                "recording_begun", file="adverts", epoch_us=kept.epoch_us, piece=kept.piece
            )

    async def _resume(self, radio: Radio) -> None:
        if self._on_air is not None:
            await radio.advertiser.broadcast(_lane_frame(self._on_air[1]))
        self._radio = radio
        _log.info("radio_opened", extra={"radio": radio.name})
        keep_log(radio, self._condition)
        self.opened.set()

    async def _listen(self, radio: Radio) -> None:
        async for sighting in radio.scanner.sightings():
            self._condition.take(sighting)
            if sighting.service_uuid == beacon.SERVICE_UUID:
                self._hear(sighting)

    def _hear(self, sighting: Sighting) -> None:
        try:
            frame = beacon.BeaconFrame.decode(sighting.service_data)
        except FrameError:
            self.foreign_frames += 1
            return
        sighting, mono_us = to_microseconds(sighting)
        if self._recording is not None:
            self._recording.take(sighting, mono_us)
        self._sightings.hear(frame.code, sighting.rssi_dbm, sighting.heard_at_s)
        self._adverts += 1
        self._heard.set()
        if self._decisions.due(mono_us):
            self.look(asked="heard")
        if sighting.heard_at_s - self._told_how_s > _TOLD_HOW_S:
            self._tell_how()
        self._trace_heard(frame.code, sighting)

    def _trace_heard(self, code: bytes, sighting: Sighting) -> None:
        second = int(sighting.heard_at_s)
        if second != self._traced_second:
            self._traced.clear()
            self._traced_second = second
        if self._traced[code] < _TRACED_PER_CODE and self._traced.total() < _TRACED_IN_ALL:
            self._traced[code] += 1
            self._trace.event("code_heard", jack=handle_of(code), rssi_dbm=sighting.rssi_dbm)

    @property
    def problem(self) -> str | None:
        """Why there is no radio now, or why it cannot do its work; None if it can."""
        if self._radio is None:
            return self._failure
        return self._radio.health.detail or None

    @property
    def working(self) -> bool:
        """Whether the radio is open just now and can do its work."""
        return self.problem is None

    @property
    def silent_s(self) -> float | None:
        """Seconds since any advert was heard; None: none yet, or the radio is not open."""
        heard_at_s = self._radio.scanner.last_heard_at_s if self._radio else None
        return None if heard_at_s is None else time.monotonic() - heard_at_s

    def nearby(self) -> tuple[Nearby, ...]:
        """The jacks of the last seconds, strongest first."""
        return self._sightings.nearby(time.monotonic())

    def look(self, handle: str | None = None, *, asked: str = "shown") -> Choice:
        """Which jack is at the lane now; with ``handle``, whether the picked one is heard.

        ``asked``: by whom, for the trace.
        """
        inquiry, choice, codes = self._decide(asked, handle)
        self._decisions.note(inquiry, choice, codes)
        return choice

    def _decide(
        self, asked: str, handle: str | None, payment: str | None = None
    ) -> tuple[Inquiry, Choice, list[bytes]]:
        now_us = round(time.monotonic() * 1e6)
        now_s = now_us / 1e6
        codes = [jack.code for jack in self._sightings.nearby(now_s)]
        elsewhere: Mapping[bytes, float] = NOWHERE_ELSE
        if handle:
            choice = self._sightings.pick(handle, now_s)
        else:
            elsewhere = self._elsewhere(codes, now_s)
            choice = self._sightings.choose(now_s, elsewhere)
        return Inquiry(asked, now_us, self._adverts, handle, elsewhere, payment), choice, codes

    def jacks(self) -> dict[str, Any]:
        """Which jacks are heard now, for the till (``answers.jacks_view``)."""
        return jacks_view(self.look(), self.nearby(), time.monotonic())

    async def choose(
        self, handle: str | None = None, *, asked: str = "charge", payment: str | None = None
    ) -> Choice:
        """As ``look``, but give jacks time to be heard, and a change of codes time to pass.

        Raises CodedError (``not_ready``) if there is no radio to hear them with.
        """
        asked_s = time.monotonic()
        while True:
            inquiry, choice, codes = self._decide(asked, handle, payment)
            patience_s = AMBIGUOUS_PATIENCE_S if isinstance(choice, Ambiguous) else self._listen_s
            left_s = asked_s + patience_s - time.monotonic()
            final = isinstance(choice, Chosen) or left_s <= 0
            self._decisions.note(inquiry, choice, codes, final=final)
            if final:
                break
            await self._next_advert(left_s)
        if self._radio is None and not isinstance(choice, Chosen):
            raise _no_radio()
        return choice

    async def _next_advert(self, timeout_s: float) -> None:
        self._heard.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
        except TimeoutError:
            return

    async def broadcast(self, payment: str, nonce: bytes) -> None:
        """Put the lane nonce of ``payment`` on the air; returns once the controller has it.

        Raises CodedError (``not_ready``) without a radio.
        """
        self._on_air = (payment, nonce)
        if self._radio is None:
            raise _no_radio()
        try:
            await self._radio.advertiser.broadcast(_lane_frame(nonce))
        except RadioError as error:
            raise CodedError(ErrorCode.NOT_READY, str(error)) from None
        digest = lane.lane_digest(nonce)
        self._trace.event("lane_broadcast", payment, lane=digest[:_LANE_DIGITS])

    async def silence(self, payment: str) -> None:
        """Take the nonce of ``payment`` off the air, if it is there."""
        if self._on_air is None or self._on_air[0] != payment:
            return
        self._on_air = None
        self._trace.event("lane_silenced", payment)
        if self._radio is None:
            return
        try:
            await self._radio.advertiser.silence()
        except RadioError as error:
            _log.warning("lane_not_silenced", extra={"payment": payment, "reason": str(error)})


def _lane_frame(nonce: bytes) -> Broadcast:
    frame = lane.LaneFrame(nonce).encode()
    return Broadcast(lane.SERVICE_UUID, frame, LANE_INTERVAL_MS)


def _no_radio() -> CodedError:
    return CodedError(
        ErrorCode.NOT_READY, "the radio is lost; it is opened again as soon as it is back"
    )
