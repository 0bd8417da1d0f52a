"""A payment and the jack's radio, which is pulled out while the owner is asked."""

from __future__ import annotations

import time

import pytest

from fieldkit.car import faults
from fieldkit.car.faults import Fault
from fieldkit.process import StageError
from fieldkit.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_payment_outlives_the_radio_and_the_next_finds_it_back(stage: Stage) -> None:
    async def unplug() -> None:
        async with stage.air() as air:
            await air.unplug(stage.cast.jack.name)

    async def plug() -> None:
        async with stage.air() as air:
            await air.plug(stage.cast.jack.name)

    began_ns = time.monotonic_ns()
    result = await faults.perform(stage, Fault("unplugged", "pulled out", unplug, plug))
    assert result.failure == ""
    assert (result.before, result.during, result.after) == ("captured",) * 3
    assert result.recovery_s is not None
    assert 0 <= result.recovery_s < 10
    trace = stage.traces[stage.cast.jack.name]
    lost = trace.find("radio_lost", after_ns=began_ns)
    assert lost is not None
    back = await stage.seen(stage.cast.jack.name, "radio_recovered", after_ns=lost.mono_ns)
    assert lost.fields["radio"] == stage.radio(stage.cast.jack.name)
    assert back.fields["rung"] == "reopened"
    assert back.fields["blind_ms"] > 0


async def test_a_fault_that_cannot_be_made_is_told(stage: Stage) -> None:
    async def nothing() -> None:
        return

    async def impossible() -> None:
        raise StageError("it is nailed down")

    result = await faults.perform(stage, Fault("nailed", "nailed down", impossible, nothing))
    assert (result.before, result.during, result.after) == ("captured", "", "")
    assert result.failure == "it is nailed down"
    assert result.to_json()["ok"] is False
