"""Fuelling at the lane: what is held, what is pumped, what is taken, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from payment_device.fuel import Phase
from payment_device.orders import FuelBody
from payment_device.simulated_pump import SimulatedPump
from tests.payment_device.forecourt_bench import ForecourtBench, forecourt_at, pump_at
from tests.payment_device.lane import CODE, Air, Bench, refused, terminal_at, until
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import CaptureMode, Status

OTHER = bytes.fromhex("fedcba9876543210")
PREPAY = FuelBody(kind="prepay", reference="fuel-1", most={"amount": "80.00", "currency": "EUR"})
POSTPAY = FuelBody(kind="postpay", reference="fuel-2")


@pytest.fixture
async def pump(tmp_path: Path) -> AsyncIterator[SimulatedPump]:
    async with pump_at(tmp_path) as pump:
        yield pump


@pytest.fixture
async def bench(lane: Bench, pump: SimulatedPump, tmp_path: Path) -> AsyncIterator[ForecourtBench]:
    async with (
        lane.air.standing((CODE, -55), seconds=0),
        forecourt_at(lane, pump, tmp_path) as bench,
    ):
        yield bench


async def test_prepaid_fuel_is_held_pumped_and_taken(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    server.outcome = None
    await bench.forecourt.begin(PREPAY)
    (payment,) = server.payments
    assert server.payments[payment].request.capture is CaptureMode.MANUAL
    bench.pump.lift()
    bench.pump.fuel(10_000)
    bench.pump.tick(1)
    # Nobody has agreed yet, so nothing flows.
    assert (bench.phase, bench.pump.total_ml) == (Phase.ASKED, 0)
    await server.decide(payment, Status.AUTHORIZED)
    await bench.reach(Phase.OPEN)
    await until(lambda: bench.pump.released)
    await bench.pumped(23_441)
    assert bench.forecourt.view()["fuelling"]["cost_minor"] == 4217
    bench.pump.hang_up()
    await bench.reach(Phase.PAID)
    held = server.payments[payment]
    assert (held.status, held.captured_minor) == (Status.CAPTURED, 4217)
    assert not bench.pump.released
    assert len(server.payments) == 1


async def test_the_pump_stops_at_the_maximum_and_no_more_is_taken(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    server.outcome = Status.AUTHORIZED
    await bench.forecourt.begin(PREPAY)
    await bench.reach(Phase.OPEN)
    await until(lambda: bench.pump.released)
    await bench.pumped(60_000)
    await bench.reach(Phase.PAID)
    (held,) = server.payments.values()
    assert (held.status, held.captured_minor) == (Status.CAPTURED, 8000)
    assert bench.pump.total_ml < 60_000


async def test_nothing_pumped_is_nothing_paid(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    server.outcome = Status.AUTHORIZED
    await bench.forecourt.begin(PREPAY)
    await bench.reach(Phase.OPEN)
    bench.clock_ahead_s = 61
    await bench.reach(Phase.RELEASED)
    (held,) = server.payments.values()
    assert held.status is Status.VOIDED
    assert not bench.pump.released


async def test_a_hold_that_is_declined_leaves_the_pump_locked(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    server.outcome = Status.DECLINED
    await bench.forecourt.begin(PREPAY)
    await bench.reach(Phase.FAILED)
    assert bench.forecourt.view()["fuelling"]["problem"] == "declined"
    assert not bench.pump.released


async def test_a_partial_hold_is_the_maximum(bench: ForecourtBench, server: ScriptedServer) -> None:
    server.outcome = None
    await bench.forecourt.begin(PREPAY)
    (payment,) = server.payments
    server.payments[payment].granted_minor = 5000
    await server.decide(payment, Status.AUTHORIZED)
    await bench.reach(Phase.OPEN)
    await until(lambda: bench.pump.released)
    await bench.pumped(60_000)
    await bench.reach(Phase.PAID)
    assert server.payments[payment].captured_minor == 5000


async def test_postpaid_fuel_is_asked_for_of_the_car_that_was_recognised(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    await bench.forecourt.begin(POSTPAY)
    await bench.reach(Phase.OPEN)
    assert server.payments == {}
    await until(lambda: bench.pump.released)
    await bench.pumped(10_000)
    # The next car comes near; the one that fuelled is still the one that pays.
    bench.lane.air.jack(OTHER, -40)
    bench.pump.hang_up()
    await bench.reach(Phase.PAID)
    (held,) = server.payments.values()
    assert (held.request.code, held.request.amount.value) == (CODE.hex(), 1799)
    assert held.request.capture is CaptureMode.AUTOMATIC


async def test_a_car_whose_code_has_changed_is_followed(
    lane: Bench, pump: SimulatedPump, server: ScriptedServer, tmp_path: Path
) -> None:
    async with forecourt_at(lane, pump, tmp_path) as bench:
        async with lane.air.standing((CODE, -55), seconds=0):
            await bench.forecourt.begin(POSTPAY)
            await until(lambda: bench.pump.released)
            await bench.pumped(5000)
        async with lane.air.standing((OTHER, -55)):
            await until(lambda: _code(bench) == OTHER.hex())
            await bench.pumped(5000)
            bench.pump.hang_up()
            await bench.reach(Phase.PAID)
    (held,) = server.payments.values()
    assert (held.request.code, held.request.amount.value) == (OTHER.hex(), 1799)


def _code(bench: ForecourtBench) -> str | None:
    fuelling = bench.memory.newest()
    return fuelling.code if fuelling else None


async def test_fuel_that_nobody_pays_for_is_asked_for_again_or_settled(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    server.outcome = Status.DECLINED
    await bench.forecourt.begin(POSTPAY)
    await until(lambda: bench.pump.released)
    await bench.pumped(10_000)
    bench.pump.hang_up()
    await bench.reach(Phase.UNPAID)
    assert bench.forecourt.view()["fuelling"]["problem"] == "declined"
    with refused(ErrorCode.TERMINAL_BUSY):
        await bench.forecourt.begin(PREPAY)
    server.outcome = Status.EXPIRED
    await bench.forecourt.ask_again(None)
    await bench.reach(Phase.UNPAID)
    server.outcome = Status.CAPTURED
    await bench.forecourt.ask_again(CODE.hex()[:4])
    await bench.reach(Phase.PAID)
    assert [held.request.amount.value for held in server.payments.values()] == [1799] * 3
    references = {held.request.reference for held in server.payments.values()}
    assert references == {"fuel-2", "fuel-2.2", "fuel-2.3"}


async def test_the_attendant_settles_it(bench: ForecourtBench, server: ScriptedServer) -> None:
    server.outcome = Status.DECLINED
    await bench.forecourt.begin(POSTPAY)
    await until(lambda: bench.pump.released)
    await bench.pumped(10_000)
    bench.pump.hang_up()
    await bench.reach(Phase.UNPAID)
    await bench.forecourt.settle()
    assert bench.phase is Phase.SETTLED
    with refused(ErrorCode.PAYMENT_STATE):
        await bench.forecourt.settle()


async def test_it_is_stopped_and_what_was_pumped_is_due(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    server.outcome = Status.AUTHORIZED
    await bench.forecourt.begin(PREPAY)
    await until(lambda: bench.pump.released)
    await bench.pumped(10_000)
    await bench.forecourt.stop()
    await bench.reach(Phase.PAID)
    (held,) = server.payments.values()
    assert (held.captured_minor, bench.pump.released) == (1799, False)


async def test_an_owner_who_is_asked_may_be_spared(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    server.outcome = None
    await bench.forecourt.begin(PREPAY)
    await bench.forecourt.stop()
    await bench.reach(Phase.FAILED)
    (held,) = server.payments.values()
    assert held.status is Status.CANCELED


async def test_the_same_reference_is_the_same_fuelling(
    bench: ForecourtBench, server: ScriptedServer
) -> None:
    server.outcome = None
    first = await bench.forecourt.begin(PREPAY)
    assert (await bench.forecourt.begin(PREPAY))["fuelling"]["id"] == first["fuelling"]["id"]
    assert len(server.payments) == 1


@pytest.mark.parametrize(
    ("most", "code"),
    [
        (None, ErrorCode.CLAIM_INVALID),
        ({"amount": "80000", "currency": "KRW"}, ErrorCode.CURRENCY_UNKNOWN),
        ({"value": 0, "currency": "EUR"}, ErrorCode.CLAIM_INVALID),
    ],
)
async def test_a_maximum_that_means_nothing_is_refused(
    bench: ForecourtBench, most: dict[str, object] | None, code: ErrorCode
) -> None:
    with refused(code):
        await bench.forecourt.begin(FuelBody(kind="prepay", reference="x", most=most))
    assert bench.phase is None


async def test_a_lifted_nozzle_begins_where_that_is_wanted_and_the_car_is_known(
    lane: Bench, server: ScriptedServer, pump: SimulatedPump, tmp_path: Path
) -> None:
    async with forecourt_at(lane, pump, tmp_path, postpay_on_lift=True) as bench:
        await until(lambda: bench.forecourt.view()["nozzle_lifted"] is False)
        await until(lambda: all(jack.quiet for jack in lane.radio.nearby()))
        pump.lift()
        await until(lambda: bench.forecourt.view()["nozzle_lifted"])
        # Nobody is recognised yet.
        assert bench.phase is None
        async with lane.air.standing((CODE, -55), seconds=0):
            await bench.reach(Phase.OPEN)
            await until(lambda: pump.released)
            await bench.pumped(10_000)
            pump.hang_up()
            await bench.reach(Phase.PAID)
            (held,) = server.payments.values()
            assert (held.request.code, held.request.amount.value) == (CODE.hex(), 1799)
            # Lifted and put back: the next car must not find the pump open for this one.
            pump.lift()
            await bench.reach(Phase.OPEN)
            pump.hang_up()
            await bench.reach(Phase.RELEASED)
            assert not pump.released
    assert len(server.payments) == 1


async def test_a_nozzle_that_was_lifted_before_the_terminal_looked_begins_nothing(
    lane: Bench, pump: SimulatedPump, tmp_path: Path
) -> None:
    """Nor does one that is still out when a fuelling has ended."""
    pump.lift()
    async with (
        lane.air.standing((CODE, -55), seconds=0),
        forecourt_at(lane, pump, tmp_path, postpay_on_lift=True) as bench,
    ):
        await until(lambda: bench.forecourt.view()["nozzle_lifted"])
        await bench.forecourt.begin(POSTPAY)
        await bench.reach(Phase.OPEN)
        await bench.forecourt.stop()
        await bench.reach(Phase.RELEASED)
        # What it sees next it acts upon, if ever.
        pump.total_ml += 1
        await until(lambda: bench.memory.active() is None)
        assert not pump.released


async def test_a_lifted_nozzle_alone_begins_nothing(bench: ForecourtBench) -> None:
    await until(lambda: bench.forecourt.view()["nozzle_lifted"] is False)
    bench.pump.lift()
    await until(lambda: bench.forecourt.view()["nozzle_lifted"])
    assert bench.phase is None


async def test_no_car_is_no_fuel(lane: Bench, pump: SimulatedPump, tmp_path: Path) -> None:
    async with forecourt_at(lane, pump, tmp_path) as bench:
        await until(lambda: all(jack.quiet for jack in lane.radio.nearby()))
        for asked in (PREPAY, POSTPAY):
            with refused(ErrorCode.NO_JACK_HEARD):
                await bench.forecourt.begin(asked)
        assert not pump.released
        assert bench.memory.active() is None


async def test_a_crash_in_the_middle_of_fuelling_loses_nothing(
    server: ScriptedServer, signer: FileSigner, air: Air, pump: SimulatedPump, tmp_path: Path
) -> None:
    """The pump goes on without the terminal; what is captured is what it has counted."""
    server.outcome = Status.AUTHORIZED
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        await lane.client.synchronise()
        async with lane.air.standing((CODE, -55)), forecourt_at(lane, pump, tmp_path) as bench:
            await bench.forecourt.begin(PREPAY)
            await until(lambda: pump.released)
            await bench.pumped(5000)
            pump.fuel(10_000)
    while pump.state()["flowing"]:
        pump.tick(0.1)
    pump.hang_up()
    async with (
        terminal_at(tmp_path, server.pin(), signer, air) as lane,
        forecourt_at(lane, pump, tmp_path) as bench,
    ):
        await bench.reach(Phase.PAID)
    (held,) = server.payments.values()
    assert pump.total_ml == 15_000
    assert (held.status, held.captured_minor) == (Status.CAPTURED, 2699)


async def test_a_pump_that_is_started_anew_is_released_again(
    lane: Bench, server: ScriptedServer, tmp_path: Path
) -> None:
    server.outcome = Status.AUTHORIZED
    async with lane.air.standing((CODE, -55), seconds=0):
        async with pump_at(tmp_path) as pump, forecourt_at(lane, pump, tmp_path) as bench:
            await bench.forecourt.begin(PREPAY)
            await until(lambda: pump.released)
            await bench.pumped(5000)
            before_ml = pump.total_ml
        async with forecourt_at(lane, pump, tmp_path) as bench:
            await until(lambda: bench.forecourt.view()["problem"] is not None)
            async with pump_at(tmp_path) as pump:
                assert pump.total_ml == before_ml
                bench.pump = pump
                await until(lambda: pump.released)
                pump.fuel(5000)
                pump.tick(10)
                pump.hang_up()
                await bench.reach(Phase.PAID)
    (held,) = server.payments.values()
    assert held.captured_minor == 1799


async def test_a_crash_before_the_payment_was_noted_asks_nobody_else(
    lane: Bench, pump: SimulatedPump, server: ScriptedServer, tmp_path: Path
) -> None:
    server.outcome = Status.AUTHORIZED
    async with lane.air.standing((CODE, -55), seconds=0):
        async with forecourt_at(lane, pump, tmp_path) as bench:
            await bench.forecourt.begin(PREPAY)
            asked = bench.memory.newest()
            assert asked is not None
        async with forecourt_at(lane, pump, tmp_path) as bench:
            await bench.reach(Phase.OPEN)
    assert len(server.payments) == 1
