"""What is made of what bluetoothd and the kernel say of a radio."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.twochannel.doctor.specimens import ADAPTER, BLUEZ
from twochannel.doctor import radio_rules
from twochannel.doctor.findings import Absent, Refused, Row, State, Unread
from twochannel.doctor.readings import AdapterReading, AgentRadio, Hardware, RfkillSwitch


def changed(**values: Any) -> AdapterReading:
    return dataclasses.replace(ADAPTER, **values)


def of(adapter: AdapterReading, *, agent_running: bool = False) -> dict[str, Row]:
    reading = dataclasses.replace(BLUEZ, adapters=(adapter,), chosen=adapter)
    rows = radio_rules.adapter_rows(reading, "bluez", agent_running=agent_running)
    return {row.check.name: row for row in rows}


def test_a_fine_adapter_is_fine() -> None:
    assert {row.state for row in of(ADAPTER).values()} == {State.OK}


@pytest.mark.parametrize(
    ("adapter", "running", "name", "state"),
    [
        (changed(powered=False), False, "radio.powered", State.WARNING),
        (changed(intervals=False), False, "radio.experimental", State.FAILING),
        (changed(monitors=False), False, "radio.experimental", State.FAILING),
        (changed(active_adverts=1), False, "radio.slots", State.WARNING),
        (changed(active_adverts=5, free_slots=0), False, "radio.slots", State.FAILING),
        (changed(active_adverts=1), True, "radio.slots", State.OK),
        (changed(active_adverts=2), True, "radio.slots", State.WARNING),
        (changed(hardware=Unread("root's")), False, "radio.firmware", State.UNKNOWN),
    ],
)
def test_each_thing_wrong_has_its_row(
    adapter: AdapterReading, running: bool, name: str, state: State
) -> None:
    row = of(adapter, agent_running=running)[name]
    assert row.state is state
    assert bool(row.do) is (state in (State.WARNING, State.FAILING))


@pytest.mark.parametrize(
    ("manufacturer", "revision", "state"),
    [
        # As the kernel's log had it before and after (the commit that taught it to load the file).
        (15, 0x1000, State.WARNING),
        (15, 0x1389, State.OK),
        (305, 0, State.WARNING),
        (305, None, State.OK),  # an ordinary user is not told
        (2, 0x1000, State.OK),  # Intel means something else by it
        (None, 0, State.OK),
    ],
)
def test_a_broadcom_chip_without_its_firmware_file_is_told(
    manufacturer: int | None, revision: int | None, state: State
) -> None:
    row = of(changed(hardware=Hardware("a chip", manufacturer, revision)))["radio.firmware"]
    assert (row.state, "bluez-firmware" in row.do) == (state, state is State.WARNING)
    assert row.found.startswith("a chip")


def test_a_missing_adapter_is_told_with_those_that_are_there() -> None:
    gone = dataclasses.replace(BLUEZ, chosen=None)
    first, *rest = radio_rules.adapter_rows(gone, "bluez:hci7", agent_running=False)
    assert first.state is State.FAILING
    assert first.found == 'no adapter "bluez:hci7"; there are: hci0 (AA:AA:AA:AA:AA:01)'
    assert {row.state for row in rest} == {State.UNKNOWN}
    silent = radio_rules.adapter_rows(Unread("silent"), "bluez", agent_running=False)
    assert {row.state for row in silent} == {State.UNKNOWN}
    assert [row.check for row in silent] == [row.check for row in (first, *rest)]
    none = dataclasses.replace(BLUEZ, adapters=(), chosen=None)
    assert radio_rules.adapter_row(none, "bluez").found.endswith("there are: none")


@pytest.mark.parametrize(
    ("switches", "state", "value"),
    [
        ((), State.OK, None),
        ((RfkillSwitch("hci0", soft=False, hard=False),), State.OK, None),
        ((RfkillSwitch("hci0", soft=True, hard=False),), State.FAILING, "soft"),
        ((RfkillSwitch("hci0", soft=True, hard=True),), State.FAILING, "hard"),
    ],
)
def test_rfkill(switches: tuple[RfkillSwitch, ...], state: State, value: str | None) -> None:
    row = radio_rules.rfkill_row(switches)
    assert (row.state, row.value) == (state, value)
    if value == "soft":
        assert row.do == "rfkill unblock bluetooth"
    elif value == "hard":
        assert "key" in row.do


def test_only_an_idle_adapter_is_a_witness() -> None:
    other = changed(name="hci1", address="AA:AA:AA:AA:AA:02")
    both = dataclasses.replace(BLUEZ, adapters=(ADAPTER, other))
    assert radio_rules.witness_among(both) is other
    for busy in (
        dataclasses.replace(other, discovering=True),
        dataclasses.replace(other, powered=False),
        dataclasses.replace(other, active_adverts=1),
    ):
        reading = dataclasses.replace(BLUEZ, adapters=(ADAPTER, busy))
        assert radio_rules.witness_among(reading) is None
    assert radio_rules.witness_among(dataclasses.replace(both, chosen=None)) is None


@pytest.mark.parametrize(
    ("sentence", "refused"),
    [
        (
            'The radio "bluez" finds no bluetoothd: start it with `systemctl start bluetooth`.',
            Refused(
                'The radio "bluez" finds no bluetoothd',
                "start it with `systemctl start bluetooth`",
            ),
        ),
        ("It is broken.", Refused("It is broken")),
    ],
)
def test_an_errors_sentence_is_what_was_found_and_what_to_do(
    sentence: str, refused: Refused
) -> None:
    assert radio_rules.refused(sentence) == refused


def test_the_running_agent_speaks_for_its_radio() -> None:
    assert radio_rules.agent_row(AgentRadio("", "on the air")).found == "on the air"
    row = radio_rules.agent_row(AgentRadio("It hears nothing: unplug it.", ""))
    assert (row.state, row.do) == (State.FAILING, "unplug it")
    assert radio_rules.agent_row(Absent("not running")).state is State.NOT_APPLICABLE


def test_service_and_opening() -> None:
    assert radio_rules.service_row(BLUEZ).state is State.OK
    assert radio_rules.service_row(Refused("no bus", "start dbus")).do == "start dbus"
    assert radio_rules.opens_row("bluez").found == "bluez"
    assert radio_rules.opens_row(Refused("no such adapter")).do == "check the setting `radio`"
