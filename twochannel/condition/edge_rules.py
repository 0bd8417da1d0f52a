"""PURE. When a change of the machine is worth a line: clock, voltage, heat."""

from __future__ import annotations

from typing import Final

#: As in docs/trace.md. Time daemons that only slew move both clocks.
STEP_FROM_MS: Final = 50
#: A Raspberry Pi is slowed down at 80 °C, some at 60 °C; below there is nothing to tell.
HEAT_FROM_CELSIUS: Final = 60
HEAT_EVERY_CELSIUS: Final = 5
#: On the way down, so that a temperature at the edge is not told again and again.
_COOLER_BY_CELSIUS: Final = 2.0
_NS_PER_MS: Final = 1_000_000


class ClockSteps:
    """Tells when the wall clock was set: it moved against the clock that nobody sets."""

    def __init__(self) -> None:
        self._apart_ns: int | None = None

    def by_ms(self, wall_ns: int, boot_ns: int) -> int | None:
        """By how much since the last call, forward or back; None if it was not set.

        ``boot_ns``: CLOCK_BOOTTIME, which goes on while the machine sleeps.
        """
        apart_ns = wall_ns - boot_ns
        before_ns, self._apart_ns = self._apart_ns, apart_ns
        moved_ms = 0 if before_ns is None else round((apart_ns - before_ns) / _NS_PER_MS)
        return moved_ms if abs(moved_ms) >= STEP_FROM_MS else None


class Heat:
    """Tells when it got a step hotter or cooler, or was throttled, or is no more."""

    def __init__(self) -> None:
        self._step = 0
        self._throttled = False

    def changed(self, celsius: float, *, throttled: bool) -> bool:
        """Whether this is worth a line."""
        step = _heat_step(celsius)
        if step < self._step:
            step = min(self._step, _heat_step(celsius + _COOLER_BY_CELSIUS))
        same = step == self._step and throttled is self._throttled
        self._step, self._throttled = step, throttled
        return not same


def _heat_step(celsius: float) -> int:
    """0 below 60 °C, 1 from there, 2 from 65 and so on."""
    return max(0, int((celsius - HEAT_FROM_CELSIUS) // HEAT_EVERY_CELSIUS) + 1)
