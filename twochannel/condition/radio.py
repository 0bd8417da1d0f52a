"""How a radio is, for the trace: what it hears, and its losses with what ended them."""

from __future__ import annotations

import time

from twochannel.condition.hearing import Hearing
from twochannel.radio.port import Equipment, Sighting
from twochannel.trace import Trace


class RadioCondition:
    """Of the radio called ``name``. Implements ``twochannel.radio.watch.RadioLog``."""

    def __init__(self, trace: Trace, name: str) -> None:
        self.name = name
        self.hearing = Hearing(time.monotonic())
        #: Whether it can do its work now; not before it has been opened.
        self.ok = False
        self._trace = trace
        self._lost_at_s: float | None = None

    def take(self, sighting: Sighting) -> None:
        """It has heard this."""
        self.hearing.heard(sighting.rssi_dbm, sighting.heard_at_s)

    def opened(self, equipment: Equipment) -> None:
        """See ``RadioLog``."""
        self._trace.event(
            "radio_opened",
            radio=self.name,
            adapter=equipment.adapter,
            address=equipment.address,
            bluez=equipment.bluez,
        )

    def lost(self, reason: str, since_s: float) -> None:
        """See ``RadioLog``. Of one loss the first reason is noted, which caused the others."""
        self.ok = False
        if self._lost_at_s is None:
            self._lost_at_s = since_s
            self._trace.event("radio_lost", radio=self.name, reason=reason)

    def well(self, rung: str) -> None:
        """See ``RadioLog``."""
        self.ok = True
        if self._lost_at_s is not None:
            blind_ms = round((time.monotonic() - self._lost_at_s) * 1000)
            self._lost_at_s = None
            self._trace.event("radio_recovered", radio=self.name, rung=rung, blind_ms=blind_ms)
