"""PURE. What the jack knows about the time (docs/protocol.md, Time).

Trusted time is CLOCK_BOOTTIME plus an offset that a signed time statement gave. The statement
carries the server's time at its answer, which lies between the moment at which the jack handed
its nonce out and the moment at which the statement arrived. Taken as the time of arrival it makes
the jack late by at most the journey back, and never early.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from cigarjack.pairing_rules import Owner
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.limits import MAX_CLOCK_SKEW_S, MAX_TIME_ROUND_TRIP_S
from twochannel.protocol.statements import Time

#: A running clock that the server finds ahead by no more than this stands still until true time
#: has caught up. A crystal of 100 ppm takes a week to get there.
MAX_STEP_BACK_MS: Final = MAX_CLOCK_SKEW_S * 1000
MAX_ROUND_TRIP_MS: Final = int(MAX_TIME_ROUND_TRIP_S * 1000)


@dataclass(frozen=True, slots=True)
class ClockState:
    """``floor_ms``: Unix time below which the clock never goes; it outlives boots.

    ``offset_ms``: Unix time minus CLOCK_BOOTTIME, in the boot ``boot_id``; None without trust.
    """

    boot_id: str
    floor_ms: int = 0
    offset_ms: int | None = None

    def now_ms(self, boottime_ms: int) -> int | None:
        """Trusted Unix milliseconds, or None."""
        if self.offset_ms is None:
            return None
        return max(self.floor_ms, boottime_ms + self.offset_ms)

    def until_ms(self, time_ms: int, boottime_ms: int) -> int:
        """Milliseconds until the clock shows more than its floor and reaches ``time_ms``."""
        if self.offset_ms is None:
            raise ValueError("without trusted time nothing can be awaited")
        return max(0, time_ms - self.offset_ms - boottime_ms)


@dataclass(frozen=True, slots=True)
class Outstanding:
    """The nonce that the jack handed out last, and when (CLOCK_BOOTTIME)."""

    nonce: str
    handed_out_ms: int


def restored(checkpoint: ClockState | None, boot_id: str) -> ClockState:
    """The state after a start: trusted only if the checkpoint is of this very boot."""
    if checkpoint is None:
        return ClockState(boot_id)
    if checkpoint.boot_id != boot_id:
        return ClockState(boot_id, checkpoint.floor_ms)
    return checkpoint


def checkpointed(state: ClockState, boottime_ms: int) -> ClockState:
    """The state to keep on disk now: its floor is the time it shows."""
    now_ms = state.now_ms(boottime_ms)
    return state if now_ms is None else replace(state, floor_ms=now_ms)


def read_time(compact: str, jack: str, owner: Owner, now_s: int | None) -> Time:
    """Verify that the pinned server tells this jack the time. Raises StatementError.

    ``now_s``: trusted time, or None.
    """
    return owner.server().verify(compact, Time, jack, now_s)


def check_nonce(statement: Time, outstanding: Outstanding | None, boottime_ms: int) -> int:
    """The milliseconds since the statement's nonce was handed out. Raises CodedError."""
    if outstanding is None or statement.nonce != outstanding.nonce:
        raise CodedError(ErrorCode.NONCE_UNKNOWN)
    elapsed_ms = boottime_ms - outstanding.handed_out_ms
    if not 0 <= elapsed_ms <= MAX_ROUND_TRIP_MS:
        raise CodedError(ErrorCode.NONCE_UNKNOWN, "the time nonce is too old")
    return elapsed_ms


def synchronised(state: ClockState, time_ms: int, boottime_ms: int) -> ClockState:
    """The state after a statement of ``time_ms`` that arrives at ``boottime_ms``.

    Raises CodedError (``time_refused``) for a time before the floor, but for the small step back
    of a running clock: that clock is held at its floor.
    """
    held = checkpointed(state, boottime_ms)
    slack_ms = 0 if state.offset_ms is None else MAX_STEP_BACK_MS
    if time_ms < held.floor_ms - slack_ms:
        raise CodedError(ErrorCode.TIME_REFUSED, "the time is before one that was known already")
    return replace(held, floor_ms=max(held.floor_ms, time_ms), offset_ms=time_ms - boottime_ms)
