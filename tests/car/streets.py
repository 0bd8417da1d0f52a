"""The agents as real processes on the car's machines, with one lane, and what happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from fieldkit import journeys
from fieldkit.car.play import keep
from fieldkit.car.streets import Streets
from fieldkit.cast import DEMO_CAST, Cast, load
from fieldkit.process import CommandFailedError
from fieldkit.processor_books import Charge
from fieldkit.stage import Stage

#: The folder of a run, which only the car has; see fieldkit/car/machine.py.
RUN: Final = Path("/car")
LANE: Final = "lane-1"
#: Within the limit up to which the phone approves by itself.
AMOUNT: Final = "4.50"
BOOKED: Final = [Charge("captured", "EUR", 450, 450)]
#: The window of a jack is open for a minute, in which a busy emulation may not get all done.
PAIRING_TRIES: Final = 3


def small_cast() -> Cast:
    """One car, its owner, and one lane beside it."""
    return load(DEMO_CAST).at([LANE])


@contextlib.asynccontextmanager
async def peopled(streets: Streets) -> AsyncIterator[Stage]:
    """Everyone there and ready; in the end nobody has died, and the books are clean."""
    with tempfile.TemporaryDirectory(prefix="cj-", ignore_cleanup_errors=True) as folder:
        async with Stage(small_cast(), Path(folder), venue=streets) as stage:
            await stage.provision()
            try:
                yield stage
            finally:
                await asyncio.to_thread(_keep, Path(folder))
            assert [p.name for p in stage.processes.values() if p.ended_unasked] == []
            assert [c.findings for c in await journeys.audit(stage) if c.findings] == []


def _keep(folder: Path) -> None:
    """What the agents said and noted, for whom a run has failed: its folder is kept then."""
    out = Path(tempfile.mkdtemp(prefix="agents-", dir=RUN))
    out.chmod(0o755)
    keep(folder, out)


@contextlib.asynccontextmanager
async def waiting_payment(stage: Stage) -> AsyncIterator[tuple[str, asyncio.Task[dict[str, Any]]]]:
    """A charge whose challenge the phone has, and for which it looks for its jack."""
    after_ns = asyncio.get_running_loop().time() * 1_000_000_000
    await journeys.heard(stage, LANE)
    charging = asyncio.create_task(journeys.charge(stage, LANE, AMOUNT, expect=(0, 3)))
    try:
        phone = stage.cast.phone.name
        asked = await stage.seen(phone, "auth_code_asked", after_ns=int(after_ns))
        yield str(asked.payment), charging
    finally:
        charging.cancel()
        await asyncio.gather(charging, return_exceptions=True)


async def pay(stage: Stage) -> str:
    """A payment that needs the jack and nobody's hand; the path by which its auth code came."""
    await journeys.heard(stage, LANE)
    return await captured(stage, await journeys.charge(stage, LANE, AMOUNT))


async def captured(stage: Stage, payment: dict[str, Any]) -> str:
    """That it is, and booked once; the path by which its auth code came."""
    assert payment["status"] == "captured"
    assert await stage.booked(payment["id"]) == BOOKED
    received = stage.traces[stage.cast.phone.name].find(
        "auth_code_received", payment=str(payment["id"])
    )
    assert received is not None
    return str(received.fields["path"])


@contextlib.asynccontextmanager
async def out_of_bluetooth(streets: Streets, stage: Stage) -> AsyncIterator[None]:
    """The phone's Bluetooth reaches nobody, so that Wi-Fi alone can carry what is carried."""
    phone = stage.cast.phone.name
    async with streets.air() as air:
        await air.mute(phone)
        try:
            yield
        finally:
            await air.unmute(phone)


async def jack_is(stage: Stage, *, reachable: bool) -> dict[str, Any]:
    """Wait until the phone says so of its jack; what it says."""
    async with asyncio.timeout(stage.within_s(30)):
        while True:
            status = await stage.ask(stage.cast.phone.name, "GET", "/v1/status")
            (jack,) = status["jacks"]
            if jack["reachable"] is reachable:
                found: dict[str, Any] = jack
                return found
            await asyncio.sleep(0.2)


async def pair_over_gatt(stage: Stage) -> None:
    """Pair the stopped phone with its jack by Bluetooth, again if the window has closed on it."""
    phone, jack = stage.cast.phone.name, stage.cast.jack.name
    for tries_left in reversed(range(PAIRING_TRIES)):
        _, opened = await stage.cli(jack, "pair", "open")
        pair = ("pair", opened["label"], "--radio", stage.radio(phone))
        try:
            await stage.cli(phone, *pair)
        except CommandFailedError:
            if not tries_left:
                raise
        else:
            return
