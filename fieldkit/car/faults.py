"""What may happen to the radios of running agents, with a payment before, during and after it.

Each fault strikes while the phone asks its owner about a payment. It is noticed, the owner
approves, the payment must be captured all the same; then the fault is mended, and the next beacon
that the terminal hears ends the time of recovery. From then on it must go on hearing them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Final

from fieldkit import journeys
from fieldkit.car.daemon import run
from fieldkit.car.streets import SPARE, Streets
from fieldkit.process import StageError
from fieldkit.processor_books import Charge
from fieldkit.stage import Stage
from fieldkit.trace import TraceError
from twochannel.control import ControlError
from twochannel.protocol.errors import CodedError

_POLL_S: Final = 0.2
_DEADLINE_S: Final = 30.0
_NS_PER_S: Final = 1_000_000_000
#: Three turns of the 2 s that the kernel gives an advert of several.
_STEADY_S: Final = 6.0
#: Half such a turn. Beacons come ten times a second.
_SILENCE_S: Final = 1.0
#: Promised of every radio, from the end of the cause (``twochannel.radio.bluez_recovery``).
RECOVERY_LIMIT_S: Final = 10.0
_FAILURES: Final = (StageError, TraceError, TimeoutError, ControlError, CodedError)
#: Approved by the phone alone, which takes presence: jack and terminal hear each other.
_SMALL: Final = ("4.50", 450)
#: Above the owner's limit: the phone asks.
_LARGE: Final = ("45.00", 4500)


@dataclass(frozen=True, slots=True)
class Fault:
    """``strike`` leaves the jack without its radio; ``mend`` ends what was wrong."""

    name: str
    title: str
    strike: Callable[[], Awaitable[object]] = field(repr=False)
    mend: Callable[[], Awaitable[object]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FaultResult:
    """How it went. ``before``, ``during``, ``after``: how each payment ended; empty: it did not.

    ``recovery_s``: from the mending to the next beacon that the terminal heard. ``silent_s``: the
    longest time without one in the 6 s that followed. ``failure``: what kept it from its end.
    """

    name: str
    title: str
    before: str = ""
    during: str = ""
    after: str = ""
    recovery_s: float | None = None
    silent_s: float | None = None
    failure: str = ""

    @property
    def ok(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> str:
        """What was not as it must be; empty if nothing."""
        if self.failure or self.recovery_s is None or self.recovery_s <= RECOVERY_LIMIT_S:
            return self.failure
        return f"recovery took {self.recovery_s} s, and may take {RECOVERY_LIMIT_S:.0f} s"

    def to_json(self) -> dict[str, Any]:
        """``failure`` is whatever was wrong."""
        return asdict(self) | {"ok": self.ok, "failure": self.wrong}


async def perform(stage: Stage, fault: Fault) -> FaultResult:
    """Let ``fault`` happen at the first lane; what came of it."""
    found: dict[str, Any] = {}
    try:
        await _go_through(stage, fault, found)
    except _FAILURES as error:
        found["failure"] = str(error) or type(error).__name__
    return FaultResult(fault.name, fault.title, **found)


async def _go_through(stage: Stage, fault: Fault, found: dict[str, Any]) -> None:
    jack, phone, lane = stage.cast.jack.name, stage.cast.phone.name, stage.cast.terminals[0].name
    await journeys.arrive(stage, lane)
    found["before"] = await _captured(stage, await journeys.charge(stage, lane, _SMALL[0]), _SMALL)
    async with journeys.owner_asked(stage, lane, _LARGE[0]) as (payment, charging):
        try:
            await fault.strike()
            await _radio_is(stage, jack, well=False)
            await stage.cli(phone, "approve", payment)
            found["during"] = await _captured(stage, await charging, _LARGE)
        except _FAILURES:
            # What comes after this fault is to find a terminal without an open payment.
            await stage.cli(lane, "cancel", payment, expect=(0, 1, 3))
            raise
        finally:
            mended_ns = time.monotonic_ns()
            await fault.mend()
    heard = await stage.seen(lane, "code_heard", after_ns=mended_ns)
    found["recovery_s"] = in_tenths((heard.mono_ns - mended_ns) / _NS_PER_S)
    await _radio_is(stage, jack, well=True)
    await journeys.heard(stage, lane)
    found["after"] = await _captured(stage, await journeys.charge(stage, lane, _SMALL[0]), _SMALL)
    silent_s = await _silent_s(stage, lane, heard.mono_ns)
    found["silent_s"] = round(silent_s, 1)
    if silent_s > _SILENCE_S:
        raise StageError(f"the jack was heard again, and then not for {silent_s:.1f} s")


def in_tenths(seconds: float) -> float:
    """Rounded up: what took longer than a limit must not look as if it had not."""
    return math.ceil(10 * seconds) / 10


async def _silent_s(stage: Stage, lane: str, since_ns: int) -> float:
    """The longest time without a beacon in the 6 s since then."""
    until_ns = since_ns + int(_STEADY_S * _NS_PER_S)
    await asyncio.sleep(max(0.0, (until_ns - time.monotonic_ns()) / _NS_PER_S))
    events = stage.traces[lane].events()
    heard = [e.mono_ns for e in events if e.event == "code_heard"]
    times = [since_ns, *(at for at in heard if since_ns < at < until_ns), until_ns]
    return max(after - before for before, after in pairwise(times)) / _NS_PER_S


async def _captured(stage: Stage, payment: dict[str, Any], amount: tuple[str, int]) -> str:
    """How a payment ended. Raises StageError unless it was captured, and booked just once."""
    booked = await stage.booked(str(payment["id"]))
    if payment["status"] != "captured" or booked != [Charge("captured", "EUR", *amount[1:] * 2)]:
        raise StageError(f"a payment is {payment['status']}, and booked are {booked}")
    return str(payment["status"])


async def _radio_is(stage: Stage, jack: str, *, well: bool) -> None:
    """Wait until the jack says so. Raises TimeoutError."""
    async with asyncio.timeout(stage.within_s(_DEADLINE_S)):
        # A jack tells its health when it is asked.
        while (await _problem(stage, jack) is None) is not well:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)


async def _problem(stage: Stage, jack: str) -> str | None:
    status = await stage.ask(jack, "GET", "/v1/status")
    problem: str | None = status["radio_problem"]
    return problem


# --- what may happen


def on(streets: Streets, jack: str) -> Sequence[Fault]:
    """What may happen on these streets to the radio of ``jack``, alone or with all others."""

    async def unplug() -> None:
        async with streets.air() as air:
            await air.unplug(jack)
            await streets.adapters.gone(jack)
            # Takes the number that the jack's adapter had.
            await air.plug(SPARE)
            await streets.adapters.powered(SPARE)

    async def plug() -> None:
        async with streets.air() as air:
            await air.plug(jack)

    return (
        Fault(
            *("bluetoothd-killed", "bluetoothd killed and started"),
            strike=lambda: run("systemctl", "kill", "--signal=KILL", "bluetooth.service"),
            mend=lambda: run("systemctl", "start", "bluetooth.service"),
        ),
        Fault("adapter-unplugged", "jack's controller back as another hciX", unplug, plug),
        Fault(
            *("rfkill", "rfkill of all Bluetooth"),
            strike=lambda: run("rfkill", "block", "bluetooth"),
            mend=lambda: run("rfkill", "unblock", "bluetooth"),
        ),
    )
