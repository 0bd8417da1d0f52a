"""The BlueZ radio and what may happen to it: it recovers by itself, and says what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dbus_fast import Variant

from tests.car.bluetooth import DEADLINE_S, CarBluetooth, ForeignAdvert, run
from tests.car.radios import (
    RECOVERY_LIMIT_S,
    another_scanner,
    beacon,
    broadcasting,
    collected,
    complains,
    heard,
    kept,
    opened,
    recovered,
    says,
    well,
)
from twochannel.radio import bluez_names as names
from twochannel.radio import watch
from twochannel.radio.backends import open_radio
from twochannel.radio.bluez import BluezRadio
from twochannel.radio.bluez_recovery import Step
from twochannel.radio.bluez_refusals import BUSY_WITH_SCAN
from twochannel.radio.port import Health, Radio, RadioError, Sighting

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("restored")]

#: HCI_LE_Set_Scan_Enable, off.
_END_OF_SCAN = ("0x08", "0x000c", "00", "00")


async def test_what_is_asked_while_there_is_no_bluetoothd_is_refused_and_does_not_come_back(
    car: CarBluetooth, jack: BluezRadio, witness: Radio
) -> None:
    await jack.advertiser.broadcast(beacon(50))
    await car.kill_bluetoothd()
    # Both before the radio can have seen that bluetoothd is gone.
    await jack.advertiser.silence()
    with pytest.raises(RadioError, match="finds no bluetoothd"):
        await jack.advertiser.broadcast(beacon(51))
    await says(jack, "systemctl start bluetooth")
    with pytest.raises(RadioError, match="finds no bluetoothd"):
        await jack.advertiser.broadcast(beacon(51))
    await jack.advertiser.silence()
    await car.start_bluetoothd()
    await well(jack)
    for number in (50, 51):
        assert not await collected(witness, beacon(number), 1.0)


async def test_bluetoothd_killed_and_started_again(
    car: CarBluetooth,
    jack: BluezRadio,
    terminal: Radio,
    witness: Radio,
    measured: dict[str, Any],
) -> None:
    await jack.advertiser.broadcast(beacon(52))
    told: list[Health] = []
    jack.report(told.append)
    await car.kill_bluetoothd()
    await says(jack, "systemctl start bluetooth")
    await car.start_bluetoothd()
    began_s = time.monotonic()
    took_s = await recovered(jack, witness, terminal, beacon(52), began_s)
    measured.setdefault("recovery_s", {})["bluetoothd_killed"] = round(took_s, 2)
    assert took_s < RECOVERY_LIMIT_S
    assert [told[0].ok, told[-1].ok] == [False, True]
    assert told[0].since_s < began_s
    # What the dead one had begun is ended by switching the adapter off and on.
    assert told[-1].rung == Step.POWER_CYCLE


async def test_adapter_unplugged_and_back_under_another_number(
    car: CarBluetooth,
    jack: BluezRadio,
    terminal: Radio,
    witness: Radio,
    measured: dict[str, Any],
) -> None:
    await jack.advertiser.broadcast(beacon(60))
    before = jack.adapter_name
    told: list[Health] = []
    jack.report(told.append)
    async with car.air() as air:
        await air.unplug("jack")
        await car.absent("jack")
        await says(jack, "plug it in")
        await air.plug("spare")
        await car.present("spare")
        await air.plug("jack")
        began_s = time.monotonic()
        took_s = await recovered(jack, witness, terminal, beacon(60), began_s)
        await air.unplug("spare")
    assert jack.adapter_name != before
    assert [told[0].ok, told[-1].ok] == [False, True]
    assert told[-1].rung in {Step.LISTEN, Step.POWER_ON}
    measured.setdefault("recovery_s", {})["unplugged"] = round(took_s, 2)
    assert took_s < RECOVERY_LIMIT_S


async def test_rfkill(
    jack: BluezRadio, terminal: Radio, witness: Radio, measured: dict[str, Any]
) -> None:
    await jack.advertiser.broadcast(beacon(70))
    await run("rfkill", "block", "bluetooth")
    try:
        await says(jack, "rfkill unblock bluetooth")
    finally:
        await run("rfkill", "unblock", "bluetooth")
    began_s = time.monotonic()
    took_s = await recovered(jack, witness, terminal, beacon(70), began_s)
    measured.setdefault("recovery_s", {})["rfkill"] = round(took_s, 2)
    assert took_s < RECOVERY_LIMIT_S


async def test_switched_off_by_somebody(
    car: CarBluetooth,
    jack: BluezRadio,
    terminal: Radio,
    witness: Radio,
    measured: dict[str, Any],
) -> None:
    await jack.advertiser.broadcast(beacon(71))
    await car.set_property("jack", names.POWERED, Variant("b", False))
    took_s = await recovered(jack, witness, terminal, beacon(71), time.monotonic())
    measured.setdefault("recovery_s", {})["switched_off"] = round(took_s, 2)


@contextlib.asynccontextmanager
async def slots_taken(car: CarBluetooth) -> AsyncIterator[None]:
    """Every advert that the jack's adapter can have is another program's."""
    adapter = await car.present("jack")
    taken = [f"/bench/advert{number}" for number in range(5)]
    for path in taken:
        car.bus.export(path, ForeignAdvert())
        await car.bus.call(
            *(adapter.path, names.ADVERTISING_MANAGER, names.REGISTER, path, {}),
            signature="oa{sv}",
        )
    try:
        yield
    finally:
        for path in taken:
            await car.bus.call(
                *(adapter.path, names.ADVERTISING_MANAGER, names.UNREGISTER, path), signature="o"
            )
            car.bus.withdraw(path)


@pytest.fixture
def long_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cause has lasted for so long that a radio is tried as seldom as ever."""
    monkeypatch.setattr(watch, "FIRST_RETRY_S", watch.LAST_RETRY_S)


@pytest.mark.usefixtures("long_kept")
async def test_advertising_slots_exhausted(
    car: CarBluetooth, witness: Radio, measured: dict[str, Any]
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with slots_taken(car):
            radio = await stack.enter_async_context(kept(car, "jack", broadcasting(beacon(90))))
            await complains(radio, "no free slot")
            assert "end the programs that advertise" in (radio.problem or "")
        began_s = time.monotonic()
        await heard(witness.scanner.sightings(), beacon(90), RECOVERY_LIMIT_S)
        measured.setdefault("recovery_s", {})["slots_freed"] = round(time.monotonic() - began_s, 2)
        assert radio.problem is None


@pytest.mark.usefixtures("long_kept")
async def test_another_program_that_scans_is_told_and_waited_for(
    car: CarBluetooth, witness: Radio, measured: dict[str, Any]
) -> None:
    """On these controllers a scan that is not ours keeps the address from changing."""
    async with contextlib.AsyncExitStack() as stack:
        async with another_scanner(car, "jack"):
            radio = await stack.enter_async_context(kept(car, "jack", broadcasting(beacon(92))))
            await complains(radio, "another program scans on this adapter: end that program")
        began_s = time.monotonic()
        await heard(witness.scanner.sightings(), beacon(92), RECOVERY_LIMIT_S)
        measured.setdefault("recovery_s", {})["other_scan"] = round(time.monotonic() - began_s, 2)
        assert radio.problem is None


async def test_a_scanner_beside_ours_leaves_both_hearing(
    car: CarBluetooth, jack: Radio, terminal: Radio
) -> None:
    await jack.advertiser.broadcast(beacon(94))
    async with another_scanner(car, "terminal"):
        await heard(terminal.scanner.sightings(), beacon(94))
    await heard(terminal.scanner.sightings(), beacon(94))


@contextlib.asynccontextmanager
async def found_without_bluetoothd(adapter: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``btmgmt find``, once it has begun; it ends by itself, after 10 s."""
    find = f"btmgmt --index {adapter.removeprefix('hci')} find -l"
    process = await asyncio.create_subprocess_exec(
        # It says nothing without a terminal.
        *("script", "--quiet", "--flush", "--command", find, "/dev/null"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            await process.stdout.readuntil(b"discovering on")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def test_the_kernel_busy_with_a_discovery_that_bluetoothd_has_not_seen_begin(
    car: CarBluetooth, witness: Radio, measured: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """bluetoothd answers InProgress as long as it lasts; one that it has seen begin it replaces."""
    caplog.set_level(logging.WARNING, "twochannel.radio.bluez_keeper")
    await witness.advertiser.broadcast(beacon(95))
    caught: asyncio.Future[Sighting] = asyncio.get_running_loop().create_future()

    async def listening(radio: Radio) -> None:
        caught.set_result(await heard(radio.scanner.sightings(), beacon(95)))
        await asyncio.Event().wait()

    await car.set_property("terminal", names.POWERED, Variant("b", True))
    adapter = (await car.present("terminal")).name
    await car.kill_bluetoothd()
    async with found_without_bluetoothd(adapter) as find:
        await car.start_bluetoothd()
        async with kept(car, "terminal", listening):
            await find.wait()
            ended_s = time.monotonic()
            assert not caught.done()
            took_s = (await asyncio.wait_for(caught, RECOVERY_LIMIT_S)).heard_at_s - ended_s
    measured.setdefault("recovery_s", {})["in_progress"] = round(took_s, 2)
    troubles = [vars(record)["reason"] for record in caplog.records if "reason" in vars(record)]
    assert BUSY_WITH_SCAN in troubles
    await witness.advertiser.silence()


async def test_a_radio_opened_right_after_such_a_death_waits_for_the_scan_that_was_left(
    car: CarBluetooth, witness: Radio
) -> None:
    """As an agent does that starts while systemd brings bluetoothd back."""
    await witness.advertiser.broadcast(beacon(98))
    async with opened(car, "terminal") as before:
        await heard(before.scanner.sightings(), beacon(98))
        await car.kill_bluetoothd()
    await car.start_bluetoothd()
    await car.present("terminal")
    async with opened(car, "terminal") as after:
        await heard(after.scanner.sightings(), beacon(98), RECOVERY_LIMIT_S)
        assert after.health.ok


async def test_a_scan_that_was_ended_behind_its_back_is_begun_again(
    car: CarBluetooth, terminal: BluezRadio, witness: Radio, measured: dict[str, Any]
) -> None:
    """The controller was told so by somebody else: kernel and bluetoothd still believe in it."""
    await witness.advertiser.broadcast(beacon(96))
    await heard(terminal.scanner.sightings(), beacon(96))
    adapter = await car.present("terminal")
    await run("hcitool", "-i", adapter.name, "cmd", *_END_OF_SCAN)
    began_s = time.monotonic()
    assert not await collected(terminal, beacon(96), 2.0)
    await heard(terminal.scanner.sightings(), beacon(96), RECOVERY_LIMIT_S)
    measured.setdefault("recovery_s", {})["scan_ended"] = round(time.monotonic() - began_s, 2)
    await witness.advertiser.silence()


async def test_a_silent_scanner_tries_ever_more_says_so_and_hears_when_it_can(
    car: CarBluetooth,
    terminal: BluezRadio,
    witness: Radio,
    measured: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("twochannel.radio.bluez_recovery.UNHEALTHY_AFTER_S", 20.0)
    caplog.set_level(logging.INFO, "twochannel.radio.bluez_keeper")
    await witness.advertiser.broadcast(beacon(97))
    await heard(terminal.scanner.sightings(), beacon(97))
    async with car.air() as air:
        await air.mute("terminal")
        try:
            await says(terminal, "has heard nothing")
        finally:
            await air.unmute("terminal")
    began_s = time.monotonic()
    await heard(terminal.scanner.sightings(), beacon(97), RECOVERY_LIMIT_S)
    measured.setdefault("recovery_s", {})["silent"] = round(time.monotonic() - began_s, 2)
    await well(terminal)
    steps = [vars(record)["reason"] for record in caplog.records if record.msg == "radio_step"]
    assert steps[:2] == ["listen_anew", "power_cycle"]
    await witness.advertiser.silence()


async def test_a_missing_adapter_is_told_with_what_to_do() -> None:
    with pytest.raises(RadioError, match="plug it in"):
        await open_radio("bluez:00:00:00:00:00:01").__aenter__()
