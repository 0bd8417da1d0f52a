"""What systemd is told of an agent: that it is ready, how it is, and that it lives (sd_notify(3)).

An agent that cannot do its work says so at once, and until it steadily can again. If that lasts, it
is no longer called alive, and systemd starts it anew. Where there is no systemd, nobody is told
anything.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

_log = logging.getLogger(__name__)

#: As long as a radio tries to mend itself (``twochannel.radio.bluez_recovery``).
PATIENCE_S: Final = 60.0
#: A radio that has just been opened anew is well until what is asked of it is refused, or has had
#: no answer for 5 s (``twochannel.radio.bluez_bus``). At most that part of the patience.
_MENDED_AFTER_S: Final = 6.0
_MENDED_AFTER_PART: Final = 0.1
#: sd_watchdog_enabled(3) asks for half of the time; a third bears one that is late.
_SIGNS_PER_TIMEOUT: Final = 3
#: What is wrong is told soon; signs of life come less often, for each wakes systemd.
_LOOK_EVERY_S: Final = 1.0
#: A start that goes on asks for this much more, again and again (EXTEND_TIMEOUT_USEC).
_MORE_TIME_S: Final = 30
#: Whoever watches the log is told how far a long start is.
_TOLD_EVERY_S: Final = 5.0


class Patience:
    """How long an agent that cannot do its work is still called alive. Pure.

    A moment without a problem does not begin it anew, nor does it end it.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._mended_after_s = min(_MENDED_AFTER_S, _MENDED_AFTER_PART * limit_s)
        self._unwell_since_s: float | None = None
        self._well_since_s: float | None = None
        self._started = False
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """What is told to be wrong: the last, until that is mended; at a start until it is over."""
        return self._trouble

    def lasts(self, problem: str | None, now_s: float) -> bool:
        """Whether it is called alive at ``now_s``. ``problem``: what is wrong; None: nothing."""
        if problem is None:
            return self._lasts_well(now_s)
        self._trouble = problem
        self._well_since_s = None
        if self._unwell_since_s is None:
            self._unwell_since_s = now_s
        return now_s - self._unwell_since_s < self._limit_s

    def _lasts_well(self, now_s: float) -> bool:
        if self._well_since_s is None:
            self._well_since_s = now_s
        if not self._started:
            self._started, self._trouble = True, None
        if now_s - self._well_since_s >= self._mended_after_s:
            self._unwell_since_s = self._trouble = None
        if self._unwell_since_s is None:
            return True
        return self._well_since_s - self._unwell_since_s < self._limit_s


class Supervisor:
    """systemd, if ``environment`` says that it started this process and wants to be told."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _socket_address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environment)

    @property
    def listens(self) -> bool:
        return self._address is not None

    @property
    def sign_every_s(self) -> float:
        """The pause between two signs of life; infinite if none is wanted."""
        return self._watchdog_s / _SIGNS_PER_TIMEOUT

    def tell(self, *assignments: str) -> None:
        """One message of lines like ``READY=1``. Never waits: an agent goes on untold."""
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            _log.warning("supervisor_not_told", extra={"reason": str(error)})


@asynccontextmanager
async def starting(
    state: Callable[[], str], supervisor: Supervisor | None = None
) -> AsyncIterator[None]:
    """Ask for more time to get ready, while the block runs and its event loop turns.

    ``state``: how far it is, in a sentence; told to systemd, and in the log every five seconds.
    """
    telling = _tell_how_far(supervisor or Supervisor(os.environ), state)
    task = asyncio.create_task(telling, name="starting")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _tell_how_far(supervisor: Supervisor, state: Callable[[], str]) -> None:
    told_at_s = time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        supervisor.tell(f"EXTEND_TIMEOUT_USEC={_MORE_TIME_S * 1_000_000}", f"STATUS={state()}")
        if time.monotonic() - told_at_s >= _TOLD_EVERY_S:
            _log.info("starting", extra={"state": state()})
            told_at_s = time.monotonic()


@asynccontextmanager
async def supervised(
    state: Callable[[], str],
    problem: Callable[[], str | None] = lambda: None,
    patience_s: float = PATIENCE_S,
    supervisor: Supervisor | None = None,
) -> AsyncIterator[None]:
    """Call the agent ready, and alive while the block runs and its event loop turns.

    ``state``: what it does, in a sentence. ``problem``: the sentence that is told instead while it
    cannot do its work, and for some seconds longer; None if it can. ``patience_s``: how long it is
    called alive with a problem.
    """
    supervisor = supervisor or Supervisor(os.environ)
    if not supervisor.listens:
        yield
        return
    supervisor.tell("READY=1")
    telling = _tell_for_ever(supervisor, state, problem, Patience(patience_s))
    task = asyncio.create_task(telling, name="supervisor")
    try:
        yield
    finally:
        supervisor.tell("STOPPING=1", "STATUS=Stopping.")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _tell_for_ever(
    supervisor: Supervisor,
    state: Callable[[], str],
    problem: Callable[[], str | None],
    patience: Patience,
) -> None:
    told, alive, sign_at_s = "", True, 0.0
    while True:
        now_s = time.monotonic()
        was_alive, alive = alive, patience.lasts(problem(), now_s)
        sentence = " ".join((patience.trouble or state()).split())
        if sentence != told:
            supervisor.tell(f"STATUS={sentence}")
            told = sentence
        if was_alive and not alive:
            _log.error("patience_ended", extra={"reason": sentence})
        if alive and now_s >= sign_at_s:
            supervisor.tell("WATCHDOG=1")
            sign_at_s = now_s + supervisor.sign_every_s
        await asyncio.sleep(min(supervisor.sign_every_s, _LOOK_EVERY_S))


def _socket_address(name: str) -> str | None:
    """A path, or an abstract socket, whose first byte the environment cannot hold."""
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else None


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """The time after which systemd gives this very process up; infinite if it does not."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return math.inf
    limit_us = environment.get("WATCHDOG_USEC", "")
    return int(limit_us) / 1e6 if limit_us.isdigit() and int(limit_us) else math.inf
