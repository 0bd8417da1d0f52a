"""The trace of an agent: JSON lines that a field kit collects (docs/trace.md).

Each line: ``v`` schema version, ``party``, ``event``, ``payment`` (id or null), ``mono_ns``
(CLOCK_MONOTONIC), ``wall_ms`` (this machine's wall clock, right or wrong), ``boot`` (boot id) and
``clock`` (how far the wall clock is trusted), then fields of the event. Never keys, claim
secrets, auth codes or whole beacon codes.

A trace is for looking back: a ring of files (twochannel/ring.py). Where the disk is full lines are
lost, which the log tells, and the payment goes on. Whatever is told live listens to it, so that all
say the same.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from twochannel.ring import USUAL, Keep, Ring

_log = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
#: Two clocks read further apart than this were torn by what else the machine did: read them again.
_TORN_NS: Final = 1_000_000
_READINGS: Final = 5
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))

#: Is given the members of a line, in whatever thread notes an event. It must not wait.
Listener = Callable[[Mapping[str, object]], None]


class ClockTrust(StrEnum):
    """``system``: as the operating system has it. ``server``: corrected by the server's time.

    ``unsynchronised``: known to be meaningless (a jack before it has met its phone).
    """

    SYSTEM = "system"
    SERVER = "server"
    UNSYNCHRONISED = "unsynchronised"


def wall_ms() -> int:
    """Unix milliseconds of the system's wall clock."""
    return time.time_ns() // 1_000_000


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def software() -> dict[str, str]:
    """What runs here, for the first line of an agent: our version, Python's, the kernel's."""
    system = os.uname()
    return {
        "version": version("cigarjack"),
        "python": platform.python_version(),
        "kernel": system.release,
        "machine": system.machine,
    }


class Trace:
    """Appends events to a ring of files; each line is handed to the operating system at once."""

    def __init__(
        self,
        party: str,
        path: Path | None,
        *,
        boot: str,
        keep: Keep = USUAL,
        wall: Callable[[], int] = wall_ms,
        trust: Callable[[], ClockTrust] = lambda: ClockTrust.SYSTEM,
    ) -> None:
        """``path`` None: nothing is written. Its directory is made. Raises OSError."""
        self.party = party
        self._boot = boot
        self._wall = wall
        self._trust = trust
        self._ring = Ring(path, keep) if path else None
        self._listeners: list[Listener] = []
        #: Whether the last line is not, or not wholly, in the file; also one before a power cut.
        self._losing = path is not None and _ends_amid_a_line(path)

    def listen(self, listener: Listener) -> None:
        """``listener`` is told every event from now on, whether or not it is written."""
        self._listeners.append(listener)

    def event(self, event: str, payment: str | None = None, **fields: object) -> None:
        """Write one line. ``fields`` are JSON values; names end in their unit."""
        if self._ring is None and not self._listeners:
            return
        mono_ns, wall = self._clocks()
        members: dict[str, object] = {
            "v": SCHEMA_VERSION,
            "party": self.party,
            "event": event,
            "payment": payment,
            "mono_ns": mono_ns,
            "wall_ms": wall,
            "boot": self._boot,
            "clock": self._trust().value,
        }
        line = members | fields
        if self._ring is not None:
            self._append(self._ring, _ENCODER.encode(line) + "\n")
        for listener in self._listeners:
            self._tell(listener, line)

    def _tell(self, listener: Listener, line: Mapping[str, object]) -> None:
        """A payment that is noted here goes on, whatever becomes of those who look on."""
        try:
            listener(line)
        except Exception:
            _log.exception("trace_listener_failed", extra={"party": self.party})

    def _clocks(self) -> tuple[int, int]:
        """Monotonic nanoseconds and wall milliseconds of one moment: a step is told by the two."""
        for _ in range(_READINGS):
            mono_ns, wall = time.monotonic_ns(), self._wall()
            if time.monotonic_ns() - mono_ns < _TORN_NS:
                break
        return mono_ns, wall

    def _append(self, ring: Ring, line: str) -> None:
        """One write for each line, so that a killed agent leaves whole ones."""
        # What a full disk has cut short ends here, or it would spoil the next line too.
        data = (("\n" if self._losing else "") + line).encode()
        try:
            whole, reason = ring.write(data), "the disk is full"
        except OSError as error:
            whole, reason = False, str(error)
        if not whole and not self._losing:
            _log.error("trace_incomplete", extra={"party": self.party, "reason": reason})
        self._losing = not whole

    def close(self) -> None:
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _ends_amid_a_line(path: Path) -> bool:
    """Whether the file of a trace ends in something that is no end of a line."""
    if not path.is_file() or not (size := path.stat().st_size):
        return False
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read() != b"\n"
