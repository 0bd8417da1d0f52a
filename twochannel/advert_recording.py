"""The adverts that an agent hears, kept for looking back: a ring of btsnoop files.

Each run of an agent begins a piece of its own. What ties the records to the trace is told there
(``recording_begun``): a record's time is CLOCK_MONOTONIC plus the run's ``epoch_us``. Where the
disk is full adverts are lost, which the records after them tell (twochannel/radio/btsnoop.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from twochannel.radio import btsnoop
from twochannel.radio.port import Sighting
from twochannel.ring import Keep, Ring

_log = logging.getLogger(__name__)

FILE_NAME: Final = "adverts.btsnoop"
#: How often an agent tells anew where its adverts are, for rings of traces turn.
TOLD_EVERY_S: Final = 600.0
_NS_PER_US: Final = 1_000


def to_microseconds(sighting: Sighting) -> tuple[Sighting, int]:
    """The sighting at a whole microsecond, and which: a replay then has the very same numbers."""
    mono_us = round(sighting.heard_at_s * 1e6)
    return replace(sighting, heard_at_s=mono_us / 1e6), mono_us


@asynccontextmanager
async def told(tell: Callable[[], None], every_s: float = TOLD_EVERY_S) -> AsyncIterator[None]:
    """``tell`` where the adverts are, now and again, while the block runs."""

    async def tell_again() -> None:
        while True:
            await asyncio.sleep(every_s)
            tell()

    tell()
    telling = asyncio.create_task(tell_again(), name="recording")
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


class AdvertRecording:
    """One run's. ``epoch_us``: Unix microseconds for CLOCK_MONOTONIC 0, by this start's clock."""

    def __init__(self, path: Path, keep: Keep) -> None:
        """Raises OSError."""
        self._ring = Ring(path, keep, header=btsnoop.HEADER)
        self.epoch_us = (time.time_ns() - time.monotonic_ns()) // _NS_PER_US
        #: The number of its first piece.
        self.piece = self._ring.number
        self._taken = 0
        #: How many there are in a piece of this run.
        self._held: Counter[int] = Counter()
        self._losing = False

    def take(self, sighting: Sighting, mono_us: int) -> None:
        """Keep one advert, heard at ``mono_us``."""
        into = 0

        def made(piece: int) -> bytes:
            nonlocal into
            into = piece
            return btsnoop.encode(
                btsnoop.Record(
                    mono_us + self.epoch_us,
                    self._taken - self._held[piece],
                    sighting.address,
                    sighting.random_address,
                    sighting.service_uuid,
                    sighting.service_data,
                    sighting.rssi_dbm,
                )
            )

        try:
            self._ring.write_made(made)
        except OSError as error:
            self._lose(str(error))
        else:
            self._held[into] += 1
            self._losing = False
        self._taken += 1

    def _lose(self, reason: str) -> None:
        if not self._losing:
            _log.error("recording_incomplete", extra={"reason": reason})
        self._losing = True

    def close(self) -> None:
        self._ring.close()
