"""What is made of voltage, disk and clocks."""

from __future__ import annotations

import pytest

from twochannel.doctor import machine_rules
from twochannel.doctor.findings import Absent, Refused, State, Unread
from twochannel.doctor.readings import DiskSync, Synchronisation


@pytest.mark.parametrize(
    ("bits", "state"),
    [
        (0x0, State.OK),
        (0x50005, State.FAILING),
        (0x50000, State.WARNING),
        # Too warm, not too weak.
        (0x80008, State.OK),
        (Absent("not a Raspberry Pi"), State.NOT_APPLICABLE),
        (Unread("no vcgencmd"), State.UNKNOWN),
    ],
)
def test_under_voltage(bits: int | Absent | Unread, state: State) -> None:
    row = machine_rules.voltage_row(bits)
    assert row.state is state
    assert bool(row.do) is (state in (State.WARNING, State.FAILING))


@pytest.mark.parametrize(
    ("disk", "state"),
    [
        (DiskSync((3.0, 4.0, 900.0), "ext4"), State.OK),
        (DiskSync((60.0, 70.0, 4.0), "ext4"), State.WARNING),
        (DiskSync((400.0, 300.0, 4.0), "ext4"), State.FAILING),
        (DiskSync((0.01, 0.01, 0.02), "tmpfs"), State.WARNING),
        (Refused("cannot write", "make room"), State.FAILING),
    ],
)
def test_the_disk_is_judged_by_its_median_and_by_what_it_is(
    disk: DiskSync | Refused, state: State
) -> None:
    assert machine_rules.disk_row(disk).state is state


def test_clocks() -> None:
    jiffies = machine_rules.clock_source_row("jiffies", real_time_clock=False)
    assert (jiffies.state, jiffies.found) == (State.WARNING, "jiffies, no real-time clock")
    good = machine_rules.clock_source_row("arch_sys_counter", real_time_clock=True)
    assert (good.state, good.value) == (State.OK, "arch_sys_counter")
    assert machine_rules.synchronised_row(Synchronisation(True, 0.05)).value == 0.05
    assert machine_rules.synchronised_row(Synchronisation(False, 16.0)).state is State.WARNING
    assert machine_rules.trust_row(True).state is State.OK
    assert machine_rules.trust_row(False).state is State.WARNING
    assert machine_rules.trust_row(Unread("no answer")).state is State.UNKNOWN
