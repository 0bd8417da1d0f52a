"""What an agent notes of its machine, from a /sys that changes under it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.twochannel.condition.kernel_files import lay
from twochannel.condition.radio import RadioCondition
from twochannel.condition.watch import HEALTH_EVERY, ConditionWatch
from twochannel.doctor.machine import Roots
from twochannel.trace import Trace

NS_PER_MS = 1_000_000
VOLTAGE = "class/hwmon/hwmon0"
HEAT = "class/thermal/thermal_zone0"


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Trace]:
    with Trace("jack", tmp_path / "trace.jsonl", boot="b") as opened:
        yield opened


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """This process, in a machine of its own."""
    return Roots(Path("/proc"), tmp_path / "sys")


def noted(folder: Path, *names: str) -> list[dict[str, Any]]:
    members = {"v", "party", "payment", "mono_ns", "wall_ms", "boot", "clock"}
    lines = map(json.loads, (folder / "trace.jsonl").read_text().splitlines())
    own = ({k: v for k, v in line.items() if k not in members} for line in lines)
    return [line for line in own if line["event"] in names]


def test_the_voltage_is_noted_when_it_changes(trace: Trace, roots: Roots, tmp_path: Path) -> None:
    lay(roots.sys / VOLTAGE, name="rpi_volt", in0_lcrit_alarm="0")
    watch = ConditionWatch(trace, tmp_path, roots=roots)
    for alarm in ("0", "1", "1", "0", "0"):
        lay(roots.sys / VOLTAGE, in0_lcrit_alarm=alarm)
        watch.look()
    assert noted(tmp_path, "power") == [
        {"event": "power", "under_voltage": True},
        {"event": "power", "under_voltage": False},
    ]


def test_heat_is_noted_in_steps_and_told_in_the_log(
    trace: Trace, roots: Roots, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    lay(roots.sys / HEAT, temp="50000")
    lay(roots.sys / "class/thermal/cooling_device0", type="cpufreq-cpu0", cur_state="0")
    watch = ConditionWatch(trace, tmp_path, roots=roots)
    for milli, state in (("50000", "0"), ("66500", "0"), ("82500", "1"), ("82600", "1")):
        lay(roots.sys / HEAT, temp=milli)
        lay(roots.sys / "class/thermal/cooling_device0", cur_state=state)
        for _ in range(5):
            watch.look()
    assert noted(tmp_path, "temperature") == [
        {"event": "temperature", "celsius": 66.5, "throttled": False},
        {"event": "temperature", "celsius": 82.5, "throttled": True},
    ]
    told = [record for record in caplog.records if record.message == "temperature"]
    assert [vars(record)["celsius"] for record in told] == [66.5, 82.5]


def test_a_wall_clock_that_is_set_is_noted(trace: Trace, roots: Roots, tmp_path: Path) -> None:
    times = iter([(10, 0), (1010, 1000), None, (92_010, 3000), (93_010, 4000)])

    def clocks() -> tuple[int, int] | None:
        read = next(times)
        return read and (read[0] * NS_PER_MS, read[1] * NS_PER_MS)

    watch = ConditionWatch(trace, tmp_path, roots=roots, clocks=clocks)
    for _ in range(5):
        watch.look()
    assert noted(tmp_path, "clock_stepped") == [{"event": "clock_stepped", "by_ms": 89_000}]


def test_health_is_noted_at_the_start_and_once_a_minute(
    trace: Trace, roots: Roots, tmp_path: Path
) -> None:
    lay(roots.sys / HEAT, temp="41000")
    lay(roots.sys / "devices/system/clocksource/clocksource0", current_clocksource="tsc")
    watch = ConditionWatch(trace, tmp_path, roots=roots)
    for _ in range(HEALTH_EVERY + 1):
        watch.look()
    first, second = noted(tmp_path, "health")
    assert first.items() >= {"clock_source": "tsc", "celsius": 41.0, "throttled": False}.items()
    assert first["under_voltage"] is None
    assert second["rss_mib"] > 1
    assert second["descriptors"] > 2
    assert second["disk_free_mib"] > 0
    assert "radio" not in first


def test_an_agent_with_a_radio_notes_how_it_hears(
    trace: Trace, roots: Roots, tmp_path: Path
) -> None:
    radio = RadioCondition(trace, "bumble:usb:0")
    radio.well("reopened")
    ConditionWatch(trace, tmp_path, radio, roots=roots).look()
    (told,) = noted(tmp_path, "health")
    assert (told["radio"], told["radio_ok"]) == ("bumble:usb:0", True)
    assert (told["adverts_per_s"], told["last_advert_ms"], told["rssi_levels"]) == (0.0, None, 0)


async def test_it_looks_while_the_block_runs(trace: Trace, roots: Roots, tmp_path: Path) -> None:
    lay(roots.sys / VOLTAGE, name="rpi_volt", in0_lcrit_alarm="0")
    changed = asyncio.Event()
    trace.listen(lambda line: changed.set() if line["event"] == "power" else None)
    async with ConditionWatch(trace, tmp_path, roots=roots, every_s=0.01).running():
        lay(roots.sys / VOLTAGE, in0_lcrit_alarm="1")
        async with asyncio.timeout(10):
            await changed.wait()
    assert noted(tmp_path, "power") == [{"event": "power", "under_voltage": True}]
