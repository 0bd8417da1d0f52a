"""The jack's clock: keeps ``clock_rules`` running on CLOCK_BOOTTIME and checkpointed to disk.

No other source of time is used. The system's wall clock may say anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cigarjack import clock_rules
from cigarjack.clock_rules import ClockState, Outstanding
from cigarjack.memory import Memory
from twochannel.protocol.statements import Time


def boottime_ms() -> int:
    """Milliseconds since this boot, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class JackClock:
    """Trusted time, or none. ``boottime``: milliseconds of CLOCK_BOOTTIME in ``boot_id``."""

    def __init__(self, memory: Memory, boot_id: str, boottime: Callable[[], int]) -> None:
        """Continue from the checkpoint. Raises StorageError."""
        self._memory = memory
        self._boottime = boottime
        self._state = clock_rules.restored(memory.clock(), boot_id)
        self._outstanding: Outstanding | None = None

    @property
    def trusted(self) -> bool:
        return self._state.offset_ms is not None

    def now_ms(self) -> int | None:
        """Unix milliseconds, or None without trust."""
        return self._state.now_ms(self._boottime())

    def now_s(self) -> int | None:
        """Unix seconds, or None without trust."""
        now_ms = self.now_ms()
        return None if now_ms is None else now_ms // 1000

    def until_s(self, time_s: int) -> float:
        """Seconds until the clock reaches ``time_s``. ValueError without trust."""
        return self._state.until_ms(time_s * 1000, self._boottime()) / 1000

    def hand_out(self, nonce: str) -> None:
        """From now on ``nonce`` is the one outstanding; the one before it is void."""
        self._outstanding = Outstanding(nonce, self._boottime())

    def accept(self, statement: Time) -> int:
        """Take the time from a verified statement; the uncertainty in milliseconds.

        Its nonce is used up, whatever comes of it. Raises CodedError, StorageError.
        """
        now_ms = self._boottime()
        round_trip_ms = clock_rules.check_nonce(statement, self._outstanding, now_ms)
        self._outstanding = None
        self._keep(clock_rules.synchronised(self._state, statement.time_ms, now_ms))
        return round_trip_ms

    def checkpoint(self) -> None:
        """Keep the present time on disk, so that no later boot goes back before it.

        Raises StorageError.
        """
        self._keep(clock_rules.checkpointed(self._state, self._boottime()))

    def forget(self) -> None:
        """Trust nothing that was told before; the caller's transaction forgets the checkpoint."""
        self._outstanding = None
        self._state = ClockState(self._state.boot_id)

    def _keep(self, state: ClockState) -> None:
        if state != self._state or state.offset_ms is not None:
            with self._memory.transaction():
                self._memory.store_clock(state)
        self._state = state
