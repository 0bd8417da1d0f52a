"""Somebody at each lane who notes on its machine which car is there: the ground truth as marks.

What is written is what agents write for ``trial_started``, ``trial_marked`` and ``trial_stopped``
(docs/trace.md), in a trace of its own, so that it is on the clock of the lane's machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fieldkit.trace import FILE_NAME
from fieldkit.trials.machine import Clocked
from twochannel.trace import SCHEMA_VERSION, ClockTrust

NAME: Final = "attendant"
_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000


class Attendant:
    """Of one lane and one trial; ``folder`` gets the trace, and is made."""

    def __init__(self, trial: str, lane: str, machine: Clocked, folder: Path) -> None:
        self._trial, self._lane, self._machine = trial, lane, machine
        self.state = folder
        folder.mkdir(parents=True)

    def starts(self) -> None:
        """The trial begins."""
        self._note("trial_started")

    def stops(self) -> None:
        """The trial is over."""
        self._note("trial_stopped")

    def sees(self, jack: str, *, present: bool) -> None:
        """The car of that jack stands at the lane from now on, or has gone."""
        truth = {"kind": "at_lane", "lane": self._lane, "jack": jack, "present": present}
        text = f"{jack} {'at' if present else 'has left'} {self._lane}"
        self._note("trial_marked", {"text": text, "truth": truth})

    def _note(self, event: str, fields: Mapping[str, Any] | None = None) -> None:
        boot = self._machine.boots[-1]
        wall_ns = time.time_ns() + round(self._machine.wall_off_s * _NS_PER_S)
        line = {
            "v": SCHEMA_VERSION,
            "party": NAME,
            "event": event,
            "payment": None,
            "mono_ns": time.monotonic_ns() + boot.shift_ns,
            "wall_ms": wall_ns // _NS_PER_MS,
            "boot": boot.id,
            "clock": ClockTrust.SYSTEM.value,
            "trial": self._trial,
        }
        with (self.state / FILE_NAME).open("a", encoding="utf-8") as trace:
            trace.write(json.dumps(line | dict(fields or {})) + "\n")
