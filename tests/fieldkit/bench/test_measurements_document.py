"""docs/measurements.md names the commands, the targets and the floors as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

import click

from fieldkit.bench import radio_floor, tables
from fieldkit.bench.commands import bench
from fieldkit.bench.latency import BEACON_INTERVAL_MS, LANE_INTERVAL_MS
from fieldkit.bench.radio_floor import Broadcasting

TEXT = (Path(__file__).parents[3] / "docs" / "measurements.md").read_text(encoding="utf-8")


def test_every_command_and_option_is_there() -> None:
    lines = re.findall(r"^fieldkit bench ([^#\n]+)", TEXT, flags=re.MULTILINE)
    assert {line.split()[0] for line in lines} == set(bench.commands)
    for line in lines:
        name, *arguments = line.split()
        command = bench.commands[name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("-")} <= known
        assert isinstance(command, click.Command)


def test_the_targets_are_those_that_the_tables_judge_by() -> None:
    section = TEXT.partition("## Targets")[2].partition("\n## ")[0]
    assert f"under {tables.LATENCY_TARGET_MS} ms" in section
    assert f"under {tables.FIRST_ADVERT_TARGET_MS} ms" in section
    assert f"under {tables.JACK_RSS_TARGET_MIB} MiB" in section


def test_the_floors_are_as_computed() -> None:
    lane, beacon = Broadcasting(LANE_INTERVAL_MS, 0.95), Broadcasting(BEACON_INTERVAL_MS, 0.95)
    assert f"{lane.mean_wait_ms:.1f} ms on average, {lane.wait_ms(0.99):.0f} ms for 1" in TEXT
    half = lane.with_duty(radio_floor.BLUEZ_PASSIVE_DUTY)
    assert f"hears half of the frames: {half.mean_wait_ms:.0f} ms on average" in TEXT
    assert f"| {radio_floor.air_time_us(31) / 1000} ms |" in TEXT
    assert f"heard after {beacon.mean_wait_from_anywhere_ms:.0f} ms on average" in TEXT
