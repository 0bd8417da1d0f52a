"""What the BlueZ radio does next to be on the air and to hear, and whether it is well.

Pure: what is seen of the machine, and the time, are arguments. It is a ladder: what is missing
is asked for again with growing pauses, and silence is met with ever stronger means.

    silent for    5 s   restart discovery
                 15 s   switch the adapter off and on
                 60 s   say so: the radio is no longer well
        every   300 s   switch the adapter off and on once more

A quiet place is silent too. There the ladder must not keep the beacon off the air, so its last
rung is climbed rarely.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from twochannel.radio.bluez_refusals import NO_SERVICE

RESTART_DISCOVERY_AFTER_S: Final = 5.0
POWER_CYCLE_AFTER_S: Final = 15.0
UNHEALTHY_AFTER_S: Final = 60.0
POWER_CYCLE_EVERY_S: Final = 300.0
#: Recovery is promised within 10 s of a cause's end, so that no pause may be near that.
RETRY_AFTER_S: Final = (1.0, 2.0, 4.0)
#: A discovery that cannot be started for longer than another one lasts in the kernel (10.24 s) is
#: stuck in bluetoothd (github.com/bluez/bluez/issues/807): five attempts, 11 s.
STUCK_AFTER_FAILURES: Final = 5

NO_ADAPTER: Final = "finds no such adapter: plug it in, or see `bluetoothctl list` for its address"
SILENT: Final = (
    f"has heard nothing for {UNHEALTHY_AFTER_S:.0f} s: unless the place is that quiet, "
    "the adapter is deaf; unplug it and plug it in again"
)


class Step(StrEnum):
    """One thing to do, from the weakest to the strongest."""

    NONE = "none"
    ADVERTISE = "advertise"
    OFFER = "offer"
    LISTEN = "listen"
    LISTEN_ANEW = "listen_anew"
    POWER_ON = "power_on"
    POWER_CYCLE = "power_cycle"


_STRENGTH: Final = tuple(Step)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is seen of the machine at one moment.

    ``left_over``: an earlier bluetoothd has died and the kernel still does what that one wanted.
    ``listening``: discovery was started and holds. ``on_air``: what is wanted on the air is
    there, or nothing is wanted. ``offered``: so is the GATT service. ``heard_at_s``: when any
    advert was heard last.
    """

    service: bool
    adapter: bool
    powered: bool
    left_over: bool
    listening: bool
    on_air: bool
    offered: bool
    heard_at_s: float | None


@dataclass(slots=True)
class _Setback:
    """A step that failed: how often in a row, why, and when it may be tried again."""

    failures: int
    reason: str
    retry_at_s: float


class Recovery:
    """Ask ``next_step``, do it, and tell ``done`` or ``failed``. Times: CLOCK_MONOTONIC seconds.

    ``trouble``: what is wrong now, as the end of a sentence that begins with the radio; "" if it
    is well. ``strongest``: of what was done since ``settle``.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self.strongest = Step.NONE
        self._setbacks: dict[Step, _Setback] = {}
        self._quiet_since_s: float | None = None
        self._rung = 0
        self._cycled_at_s: float | None = None

    def next_step(self, condition: Condition, now_s: float) -> Step:
        """What to do now."""
        silent_s = self._silent_s(condition, now_s)
        needed = tuple(self._needed(condition, silent_s, now_s))
        for step in tuple(self._setbacks):
            if step not in needed:
                del self._setbacks[step]
        self.trouble = self._trouble(condition, silent_s)
        return next((step for step in needed if self._may_try(step, now_s)), Step.NONE)

    def done(self, step: Step, now_s: float) -> None:
        """``step`` was done."""
        self._setbacks.pop(step, None)
        self.strongest = max(self.strongest, step, key=_STRENGTH.index)
        if step in (Step.LISTEN_ANEW, Step.POWER_CYCLE):
            self._rung += 1
        if step is Step.POWER_CYCLE:
            self._cycled_at_s = now_s
            self._setbacks.clear()

    def failed(self, step: Step, reason: str, now_s: float) -> None:
        """``step`` could not be done. ``reason``: as ``trouble``; "" if it was only put off."""
        setback = self._setbacks.setdefault(step, _Setback(0, reason, now_s))
        pause_s = RETRY_AFTER_S[min(setback.failures, len(RETRY_AFTER_S) - 1)]
        setback.failures += 1
        setback.reason = reason
        setback.retry_at_s = now_s + pause_s
        self.trouble = self.trouble or reason

    def settle(self) -> None:
        """It is well, and unless it is silent again, what was done until now is over."""
        if self._rung == 0:
            self.strongest = Step.NONE

    def trouble_since_s(self, now_s: float) -> float:
        """Since when ``trouble`` lasts, if it was found at ``now_s``: silence is found late."""
        if self.trouble == SILENT and self._quiet_since_s is not None:
            return self._quiet_since_s
        return now_s

    def _needed(self, condition: Condition, silent_s: float, now_s: float) -> Iterator[Step]:
        if not (condition.service and condition.adapter):
            return
        if not condition.powered:
            yield Step.POWER_ON
            return
        if condition.left_over:
            # A scan that nobody ends for 10 s, in which no address can change.
            yield Step.POWER_CYCLE
        elif self._discovery_is_stuck(now_s):
            yield Step.POWER_CYCLE
        # The service before the advert that invites to it.
        if not condition.offered:
            yield Step.OFFER
        # Advertising first: later it would have to interrupt the scan.
        if not condition.on_air:
            yield Step.ADVERTISE
        if not condition.listening:
            yield Step.LISTEN
        elif silent_s >= self._next_rung_s():
            yield Step.POWER_CYCLE if self._rung else Step.LISTEN_ANEW

    def _may_try(self, step: Step, now_s: float) -> bool:
        setback = self._setbacks.get(step)
        return setback is None or setback.retry_at_s <= now_s

    def _discovery_is_stuck(self, now_s: float) -> bool:
        setback = self._setbacks.get(Step.LISTEN)
        if setback is None or setback.failures < STUCK_AFTER_FAILURES:
            return False
        return self._cycled_at_s is None or now_s - self._cycled_at_s >= POWER_CYCLE_EVERY_S

    def _next_rung_s(self) -> float:
        if self._rung == 0:
            return RESTART_DISCOVERY_AFTER_S
        return POWER_CYCLE_AFTER_S + (self._rung - 1) * POWER_CYCLE_EVERY_S

    def _silent_s(self, condition: Condition, now_s: float) -> float:
        """How long nothing was heard although something could have been."""
        if not (condition.service and condition.adapter and condition.powered):
            self._quiet_since_s, self._rung = None, 0
            return 0.0
        if self._quiet_since_s is None:
            self._quiet_since_s = now_s
        if condition.heard_at_s is not None and condition.heard_at_s > self._quiet_since_s:
            self._quiet_since_s, self._rung = condition.heard_at_s, 0
        return now_s - self._quiet_since_s

    def _trouble(self, condition: Condition, silent_s: float) -> str:
        if not condition.service:
            return NO_SERVICE
        if not condition.adapter:
            return NO_ADAPTER
        reasons = (setback.reason for setback in self._setbacks.values() if setback.reason)
        silence = SILENT if silent_s >= UNHEALTHY_AFTER_S else ""
        return next(reasons, silence)
