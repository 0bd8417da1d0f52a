"""Looks at the agent's machine once a second, and notes in its trace what has changed.

One task and one wake-up a second; nothing that is read here waits for anybody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from twochannel.condition import readings
from twochannel.condition.edge_rules import ClockSteps, Heat
from twochannel.condition.radio import RadioCondition
from twochannel.doctor.machine import Roots
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
#: Looks from one ``health`` to the next, and from one look at the temperature to the next.
HEALTH_EVERY: Final = 60
_HEAT_EVERY: Final = 5
#: What those who read the log want to know without looking for it.
_LOGGED: Final = frozenset({"clock_stepped", "power", "temperature"})
_MEMBERS: Final = frozenset({"v", "event", "payment", "mono_ns", "wall_ms", "boot", "clock"})


class ConditionWatch:
    """The condition of one agent. ``radio``: of its radio, if it has one."""

    def __init__(
        self,
        trace: Trace,
        folder: Path,
        radio: RadioCondition | None = None,
        *,
        roots: Roots = Roots(),  # noqa: B008
        clocks: Callable[[], tuple[int, int] | None] = readings.clocks,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        """``folder``: the agent's state."""
        self._trace = trace
        self._folder = folder
        self._radio = radio
        self._roots = roots
        self._clocks = clocks
        self._every_s = every_s
        self._looks = 0
        self._sensors = readings.Sensors(roots)
        self._steps = ClockSteps()
        self._heat = Heat()
        self._celsius: float | None = None
        self._throttled = False
        self._under_voltage: bool | None = None
        trace.listen(_tell_log)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look while the block runs."""
        task = asyncio.create_task(self._look_for_ever(), name="condition")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self._every_s)

    def look(self) -> None:
        """Once, as every second."""
        self._look_at_clock()
        self._look_at_voltage()
        if self._looks % _HEAT_EVERY == 0:
            self._look_at_heat()
        if self._looks % HEALTH_EVERY == 0:
            self._note_health()
            self._sensors.find()
        self._looks += 1

    def _look_at_clock(self) -> None:
        read = self._clocks()
        by_ms = self._steps.by_ms(*read) if read else None
        if by_ms is not None:
            self._trace.event("clock_stepped", by_ms=by_ms)

    def _look_at_voltage(self) -> None:
        before, self._under_voltage = self._under_voltage, self._sensors.under_voltage()
        if bool(before) is not bool(self._under_voltage):
            self._trace.event("power", under_voltage=bool(self._under_voltage))

    def _look_at_heat(self) -> None:
        self._celsius = self._sensors.celsius()
        self._throttled = self._sensors.throttled()
        known = self._celsius is not None or self._throttled
        if known and self._heat.changed(self._celsius or 0.0, throttled=self._throttled):
            self._trace.event("temperature", celsius=self._celsius, throttled=self._throttled)

    def _note_health(self) -> None:
        fields: dict[str, object] = {
            "clock_synchronised": readings.clock_synchronised(),
            "clock_source": readings.clock_source_name(self._roots),
            "under_voltage": self._under_voltage,
            "celsius": self._celsius,
            "throttled": self._throttled,
            "rss_mib": readings.resident_mib(self._roots),
            "descriptors": readings.descriptors(self._roots),
            "disk_free_mib": readings.free_mib(self._folder),
        }
        if self._radio is not None:
            heard = self._radio.hearing.summed(time.monotonic())
            fields |= {
                "radio": self._radio.name,
                "radio_ok": self._radio.ok,
                "adverts_per_s": heard.adverts_per_s,
                "last_advert_ms": heard.last_advert_ms,
                "rssi_levels": heard.rssi_levels,
                "rssi_step_db": heard.rssi_step_db,
                "blind_ms": heard.blind_ms,
            }
        self._trace.event("health", None, **fields)


def _tell_log(line: Mapping[str, object]) -> None:
    name = str(line["event"])
    if name in _LOGGED:
        _log.warning(name, extra={k: v for k, v in line.items() if k not in _MEMBERS})
