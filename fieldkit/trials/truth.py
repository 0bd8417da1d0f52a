"""What really happened in a virtual trial, told by who made it happen. Pure but for its clocks.

True time is Unix microseconds: the host's wall clock when the trial began, and CLOCK_MONOTONIC
from there on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fieldkit.trials.machine import Clocked

_NS_PER_US = 1_000


@dataclass(slots=True)
class Fault:
    """``to_us`` None: it has not ended. ``fields``: what belongs to its kind."""

    name: str
    machine: str
    from_us: int
    to_us: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Stay:
    """A car at a lane. ``jack``: its jack's agent."""

    lane: str
    car: str
    jack: str
    from_us: int
    to_us: int | None = None


class Truth:
    """Grows while a trial is played."""

    def __init__(self) -> None:
        self._zero_us = (time.time_ns() - time.monotonic_ns()) // _NS_PER_US
        self.faults: list[Fault] = []
        self.stays: list[Stay] = []
        self.payments: list[dict[str, Any]] = []

    def now_us(self) -> int:
        """True time now."""
        return self.at_us(time.monotonic_ns())

    def at_us(self, host_ns: int) -> int:
        """True time when the host's CLOCK_MONOTONIC shows ``host_ns``."""
        return self._zero_us + host_ns // _NS_PER_US

    def began(self, name: str, machine: str, **fields: Any) -> Fault:
        """A fault begins now."""
        fault = Fault(name, machine, self.now_us(), fields=fields)
        self.faults.append(fault)
        return fault

    def ended(self, fault: Fault) -> None:
        fault.to_us = self.now_us()

    def arrived(self, lane: str, car: str, jack: str) -> None:
        """The car stands at the lane from now on."""
        self.stays.append(Stay(lane, car, jack, self.now_us()))

    def left(self, car: str) -> Stay | None:
        """The car is at no lane from now on; where it was."""
        for stay in self.stays:
            if stay.car == car and stay.to_us is None:
                stay.to_us = self.now_us()
                return stay
        return None

    def troubled(self, car: str, since_us: int) -> bool:
        """Whether something was wrong with the car then or later."""
        return any(
            fault.fields.get("car") == car and (fault.to_us is None or fault.to_us >= since_us)
            for fault in self.faults
            if fault.name != "clock_in_1970"
        )

    def standing_at(self, lane: str) -> str | None:
        """The jack of the car that has come last of those at the lane."""
        jacks = [stay.jack for stay in self.stays if stay.lane == lane and stay.to_us is None]
        return jacks[-1] if jacks else None

    def paid(self, payment: str, car: str, lane: str, owner: str) -> None:
        """A payment is over."""
        self.payments.append({"payment": payment, "car": car, "lane": lane, "owner": owner})

    def forget(self) -> None:
        """Let go of what is over."""
        self.faults = [fault for fault in self.faults if fault.to_us is None]
        self.stays = [stay for stay in self.stays if stay.to_us is None]
        self.payments.clear()

    def to_json(self, machines: Iterable[Clocked]) -> dict[str, Any]:
        """As ``truth`` of the archive's trial.json (docs/field-trials.md)."""
        now_us = self.now_us()
        return {
            "clock_offsets_us": {one.name: list(self._readings(one)) for one in machines},
            "faults": [
                {
                    "name": fault.name,
                    "machine": fault.machine,
                    "from_true_us": fault.from_us,
                    "to_true_us": now_us if fault.to_us is None else fault.to_us,
                    **fault.fields,
                }
                for fault in self.faults
            ],
            "at_lane": [
                {
                    "lane": stay.lane,
                    "car": stay.car,
                    "jack": stay.jack,
                    "from_true_us": stay.from_us,
                    "to_true_us": now_us if stay.to_us is None else stay.to_us,
                }
                for stay in self.stays
            ],
            "payments": self.payments,
        }

    def _readings(self, machine: Clocked) -> Iterable[list[Any]]:
        """One reading of each boot, [its CLOCK_MONOTONIC, true time, boot id], microseconds."""
        for boot in machine.boots:
            mono_us = (boot.began_ns + boot.shift_ns) // _NS_PER_US
            yield [mono_us, self.at_us(boot.began_ns), boot.id]
