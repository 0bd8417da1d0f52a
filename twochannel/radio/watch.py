"""Keeps a radio open for the agent, whatever happens to the adapter."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from twochannel.radio.port import Equipment, Health, Radio, RadioError

_log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.25
#: An adapter that is plugged back in is on the air again within 10 s: half of that to notice.
LAST_RETRY_S: Final = 5.0
_STEADY_S: Final = 30.0
#: The strongest rung: the agent let go of the radio and opened it again.
REOPENED: Final = "reopened"
#: Nothing was done.
BY_ITSELF: Final = "none"


class RadioLog(Protocol):
    """Is told how a radio is. The same may be told again."""

    def opened(self, equipment: Equipment) -> None:
        """It has been opened, and is made of this."""
        ...

    def lost(self, reason: str, since_s: float) -> None:
        """It cannot do its work, ``since_s`` (CLOCK_MONOTONIC)."""
        ...

    def well(self, rung: str) -> None:
        """It can. ``rung``: what was the strongest that had to be done for it."""
        ...


def keep_log(radio: Radio, log: RadioLog) -> None:
    """Tell ``log`` of a radio that has just been opened, and from now on."""

    def note(health: Health) -> None:
        if health.ok:
            log.well(health.rung or BY_ITSELF)
        else:
            log.lost(health.detail, health.since_s)

    if (equipment := radio.equipment) is not None:
        log.opened(equipment)
    radio.report(note)
    if radio.health.ok:
        log.well(REOPENED)


class RadioWatch:
    """Opens the radio, runs ``duties`` on it, and begins again when it fails.

    ``tried``: set after the first attempt.
    """

    def __init__(
        self,
        open_radio: Callable[[], Radio],
        duties: Callable[[Radio], Awaitable[None]],
        log: RadioLog,
    ) -> None:
        self._open_radio = open_radio
        self._duties = duties
        self._log = log
        self._radio: Radio | None = None
        self._failure = "not opened yet"
        self.tried = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why there is no radio now, or why it cannot do its work; None if it can."""
        if self._radio is None:
            return self._failure
        return self._radio.health.detail or None

    async def run(self) -> None:
        """Until cancelled. Errors other than RadioError are bugs and pass through."""
        loop = asyncio.get_running_loop()
        retry_s = FIRST_RETRY_S
        while True:
            began_s = loop.time()
            try:
                await self._serve()
            except RadioError as error:
                self._failure = str(error)
            self._log.lost(self._failure, time.monotonic())
            if loop.time() - began_s > _STEADY_S:
                retry_s = FIRST_RETRY_S
            _log.warning("radio_failed", extra={"reason": self._failure, "retry_s": retry_s})
            self.tried.set()
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def _serve(self) -> None:
        async with self._open_radio() as radio:
            self._radio = radio
            _log.info("radio_opened", extra={"radio": radio.name})
            keep_log(radio, self._log)
            try:
                await self._duties(radio)
            finally:
                self._radio = None


async def all_of(*duties: Awaitable[None]) -> None:
    """Run ``duties`` together until one fails; raise its error alone, the others cancelled."""
    tasks = [asyncio.ensure_future(duty) for duty in duties]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
