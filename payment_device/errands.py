"""Errands: something to settle with the server, tried until it is settled, whoever waits for it.

An errand outlives the request of the till that began it. What it learns is in the intents; those
who wait are only told that something has changed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from payment_device.intents import Intents
from payment_device.lane_radio import LaneRadio
from payment_device.receipts import ReceiptCheck
from server.client import ServerClient, ServerUnreachableError
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError
from twochannel.protocol.keys import Signer
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

#: Back-off between tries: quick at first, for a server that restarts is back in a second.
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
#: Then the server is asked again, however long its limit lasts: its operator may have lifted it.
_FORBEARANCE_S: Final = 30.0
_OF_TERMINAL: Final = frozenset({ErrorCode.TERMINAL_THROTTLED, ErrorCode.TOO_MANY_CODES})
#: The server could not say: the same statement again may succeed.
PASSING: Final = frozenset({ErrorCode.NOT_READY, ErrorCode.INTERNAL_ERROR})


class Forbearance:
    """What the server has asked this terminal not to do for a while. ``clock_s``: monotonic."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._code: ErrorCode | None = None
        self._ends_s = 0.0
        self._asks_again_s = 0.0

    def learn(self, error: CodedError) -> None:
        """Remember a limit that concerns the whole terminal, whichever car is at the lane."""
        if isinstance(error, LimitError) and error.code in _OF_TERMINAL:
            now_s = self._clock_s()
            self._code, self._ends_s = error.code, now_s + error.retry_after_s
            self._asks_again_s = min(self._ends_s, now_s + _FORBEARANCE_S)

    def check(self) -> None:
        """Another payment may be asked for. Raises LimitError."""
        now_s = self._clock_s()
        if self._code is not None and now_s < self._asks_again_s:
            raise LimitError(self._code, math.ceil(self._ends_s - now_s))


@dataclass(frozen=True, slots=True)
class Equipment:
    """What errands work with."""

    client: ServerClient
    intents: Intents
    signer: Signer
    receipts: ReceiptCheck
    radio: LaneRadio
    trace: Trace
    forbearance: Forbearance = field(default_factory=Forbearance)


class Errand(ABC):
    """One thing to settle. ``refusal``: why it ended without an outcome that can be believed."""

    def __init__(self, name: str, equipment: Equipment) -> None:
        self.name = name
        self.refusal: CodedError | None = None
        self._equipment = equipment
        self._changed = asyncio.Event()
        self._unreachable_since_s: float | None = None

    @abstractmethod
    async def step(self) -> bool:
        """One exchange with the server; True: settled.

        Raises ServerUnreachableError, CodedError, sqlite3.Error: try again later.
        """

    @property
    def unreachable_s(self) -> float:
        """For how long the server has not answered; 0 while it does."""
        since_s = self._unreachable_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    async def change(self) -> None:
        """Wait until something has changed since this call."""
        await self._changed.wait()

    def tell(self) -> None:
        """Wake all who wait."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Step until it is settled."""
        failures = 0
        settled = False
        while not settled:
            try:
                settled = await self.step()
                failures, self._unreachable_since_s = 0, None
            except (ServerUnreachableError, CodedError, sqlite3.Error) as error:
                # A refusal that the step did not expect, say of a server that is just starting:
                # no errand may end the terminal, and this one has no outcome yet.
                failures += 1
                await self._pause(failures, error)
            self.tell()

    async def _pause(self, failures: int, error: Exception) -> None:
        if failures == 1:
            self._unreachable_since_s = time.monotonic()
            _log.warning("errand_delayed", extra={"errand": self.name, "reason": str(error)})
        self.tell()
        longest_s = min(_FIRST_PAUSE_S * 2 ** (failures - 1), _LONGEST_PAUSE_S)
        after_s = error.retry_after_s if isinstance(error, LimitError) else 0
        await asyncio.sleep(max(longest_s * random.uniform(0.5, 1.0), after_s))  # noqa: S311


class Errands:
    """All errands under way, by name; each runs in ``tasks``, and a defect in one ends them all."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._under_way: dict[str, tuple[Errand, asyncio.Task[None]]] = {}

    def begin(self, errand: Errand) -> None:
        task = self._tasks.create_task(errand.run(), name=errand.name)
        self._under_way[errand.name] = (errand, task)
        task.add_done_callback(lambda _: self._under_way.pop(errand.name, None))

    def find(self, name: str) -> Errand | None:
        found = self._under_way.get(name)
        return found[0] if found else None

    def stop(self) -> None:
        """Leave everything as it is on disk; the next start sweeps it."""
        for _, task in self._under_way.values():
            task.cancel()
