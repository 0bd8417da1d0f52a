"""SHELL. The jack's track: what gpsd tells of where the car is, noted in the trace (``position``).

Off unless ``gpsd`` is set. Nothing of the method depends on it: gpsd may be missing, end and come
back; a line of the log tells each time that it is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Final

from cigarjack.track_rules import Spacing, fix_of
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

RETRY_S: Final = 5.0
#: gpsd_json(5): from now on every report, as a line of JSON.
_WATCH: Final = b'?WATCH={"enable":true,"json":true};\n'
#: What gpsd says first, to everybody.
_GREETING: Final = b'{"class":"VERSION"'


class GpsTrack:
    """Follows one gpsd for as long as ``follow`` runs."""

    def __init__(self, address: str, trace: Trace, *, retry_s: float = RETRY_S) -> None:
        """``address``: ``host:port``."""
        self._address = address
        self._trace = trace
        self._retry_s = retry_s
        self._spacing = Spacing()
        self._told = False

    async def follow(self) -> None:
        """Note where the car is, until cancelled."""
        while True:
            try:
                reason = await self._listen()
            except (OSError, ValueError) as error:  # ValueError: a line without end
                reason = str(error)
            if not self._told:
                _log.warning("gpsd_missing", extra={"gpsd": self._address, "reason": reason})
            self._told = True
            await asyncio.sleep(self._retry_s)

    async def _listen(self) -> str:
        """Until the connection ends; why it did. Raises OSError, ValueError."""
        host, _, port = self._address.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        with contextlib.closing(writer):
            if not (await reader.readline()).startswith(_GREETING):
                return "who answers there is no gpsd"
            _log.info("gpsd_found", extra={"gpsd": self._address})
            self._told = False
            writer.write(_WATCH)
            async for line in reader:
                self._take(line)
        return "it has closed the connection"

    def _take(self, line: bytes) -> None:
        fix = fix_of(line)
        if fix is not None and self._spacing.due(fix, time.monotonic()):
            fields = fix.members
            self._trace.event("position", None, **fields)


@contextlib.asynccontextmanager
async def tracking(address: str, trace: Trace) -> AsyncIterator[None]:
    """Follow the gpsd at ``address`` while the block runs; an empty one is none."""
    if not address:
        yield
        return
    task = asyncio.create_task(GpsTrack(address, trace).follow(), name="gps")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
