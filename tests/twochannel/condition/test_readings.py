"""Reading the machine: real files, laid out as kernels and Raspberry Pis have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.twochannel.condition.kernel_files import lay
from twochannel.condition import readings
from twochannel.condition.readings import Sensors
from twochannel.doctor.machine import Roots


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots(tmp_path / "proc", tmp_path / "sys")


def test_a_machine_without_sensors_tells_nothing(roots: Roots) -> None:
    sensors = Sensors(roots)
    assert sensors.under_voltage() is None
    assert sensors.celsius() is None
    assert sensors.throttled() is False


def test_the_voltage_alarm_of_the_kernel(roots: Roots) -> None:
    lay(roots.sys / "class/hwmon/hwmon0", name="cpu_thermal")
    lay(roots.sys / "class/hwmon/hwmon1", name="rpi_volt", in0_lcrit_alarm="0")
    sensors = Sensors(roots)
    assert sensors.under_voltage() is False
    lay(roots.sys / "class/hwmon/hwmon1", in0_lcrit_alarm="1")
    assert sensors.under_voltage() is True


@pytest.mark.parametrize(
    ("word", "under_voltage", "throttled"),
    [("0", False, False), ("1", True, False), ("50000", False, False), ("4", False, True)],
)
def test_the_word_of_the_firmware(
    roots: Roots, word: str, under_voltage: bool, throttled: bool
) -> None:
    """What was so since the boot (from bit 16 on) is not so now."""
    lay(roots.sys / "devices/platform/soc/soc:firmware", get_throttled=word)
    sensors = Sensors(roots)
    assert (sensors.under_voltage(), sensors.throttled()) == (under_voltage, throttled)


def test_the_hottest_zone_counts_and_one_that_cannot_be_read_does_not(roots: Roots) -> None:
    zones = roots.sys / "class/thermal"
    lay(zones, thermal_zone0__temp="48312", thermal_zone1__temp="61875")
    (zones / "thermal_zone2").mkdir()
    (zones / "thermal_zone2/temp").symlink_to("/proc/self/mem")  # reading its begin is refused
    assert Sensors(roots).celsius() == 61.875


def test_the_kernel_slows_the_processor_down(roots: Roots) -> None:
    cooling = roots.sys / "class/thermal"
    lay(cooling / "cooling_device0", type="pwm-fan", cur_state="3")
    lay(cooling / "cooling_device1", type="cpufreq-cpu0", cur_state="0")
    sensors = Sensors(roots)
    assert sensors.throttled() is False
    lay(cooling / "cooling_device1", cur_state="2")
    assert sensors.throttled() is True


def test_a_driver_that_comes_late_is_found(roots: Roots) -> None:
    sensors = Sensors(roots)
    lay(roots.sys / "class/hwmon/hwmon0", name="rpi_volt", in0_lcrit_alarm="1")
    assert sensors.under_voltage() is None
    sensors.find()
    assert sensors.under_voltage() is True


def test_the_two_clocks_of_this_machine_are_of_one_moment() -> None:
    first, second = readings.clocks(), readings.clocks()
    assert first is not None
    assert second is not None
    apart_ns = (second[0] - second[1]) - (first[0] - first[1])
    assert abs(apart_ns) < 2_000_000


def test_this_process_and_its_disk(tmp_path: Path) -> None:
    roots = Roots()
    resident_mib = readings.resident_mib(roots)
    assert resident_mib is not None
    assert 10 < resident_mib < 4096
    before = readings.descriptors(roots)
    with (tmp_path / "one more").open("w"):
        assert readings.descriptors(roots) == (before or 0) + 1
    told = os.statvfs(tmp_path)
    free_mib = readings.free_mib(tmp_path)
    assert free_mib is not None
    assert abs(free_mib - told.f_bavail * told.f_frsize / 2**20) < 512


def test_what_is_not_there_is_nothing(roots: Roots, tmp_path: Path) -> None:
    assert readings.resident_mib(roots) is None
    assert readings.descriptors(roots) is None
    assert readings.free_mib(tmp_path / "gone") is None
    assert readings.clock_source_name(roots) is None
    lay(roots.sys / "devices/system/clocksource/clocksource0", current_clocksource="tsc")
    assert readings.clock_source_name(roots) == "tsc"


def test_the_kernel_tells_whether_the_clock_is_set() -> None:
    assert readings.clock_synchronised() in {True, False}
