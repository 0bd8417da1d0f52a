from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldkit.air import AirPlan
from fieldkit.cli import main


@pytest.mark.parametrize("command", ["air", "bench", "demo"])
def test_help_is_there_for_a_stranger(command: str) -> None:
    listed = CliRunner().invoke(main, ["--help"])
    assert listed.exit_code == 0
    assert command in listed.output
    helped = CliRunner().invoke(main, [command, "--help"])
    assert helped.exit_code == 0
    assert "Usage:" in helped.output


def test_the_short_flag_helps_too() -> None:
    for command in ([], ["air"], ["demo"]):
        assert CliRunner().invoke(main, [*command, "-h"]).exit_code == 0


def test_the_example_of_an_air_is_printed_and_is_one() -> None:
    printed = CliRunner().invoke(main, ["air", "--example"])
    assert printed.exit_code == 0
    plan = AirPlan.from_toml(printed.stdout)
    assert {controller.name: controller.port for controller in plan.controllers} == {
        "jack": 9001,
        "lane": 9002,
        "lane-2": 9003,
        "phone": 9004,
    }


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2


def test_a_cast_that_is_none_is_refused_with_its_problems(tmp_path: Path) -> None:
    cast = tmp_path / "cast.toml"
    cast.write_text("[air]\nseed = 'x'\n", encoding="utf-8")
    document = tmp_path / "demo.json"
    refused = CliRunner().invoke(main, ["demo", "--cast", str(cast), "--json", str(document)])
    assert refused.exit_code == 1
    assert json.loads(document.read_text(encoding="utf-8")) == {"ok": False, "journeys": []}
    assert "air.seed" in refused.output
    assert "terminals: Field required" in refused.output


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_a_file_that_cannot_be_written_is_told_before_anything_starts(
    tmp_path: Path, option: str
) -> None:
    refused = CliRunner().invoke(main, ["demo", option, str(tmp_path / "absent" / "file")])
    assert refused.exit_code == 1
    assert "absent" in refused.output
