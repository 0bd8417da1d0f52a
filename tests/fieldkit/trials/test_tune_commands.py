"""``fieldkit tune`` as somebody at a desk runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fieldkit.cli import main
from fieldkit.trials import rules_file
from fieldkit.trials.rules_grid import COARSE
from payment_device.sightings import LaneRules

#: Two lanes so near to each other that the usual margin leaves many cars unserved.
STREET = """
title = "Two lanes"
duration_s = 240
share = false
[[lanes]]
name = "left"
terminal_m = [0.0, 0.0]
stop_m = [1.5, 0.0]
entry_m = [1.5, -20.0]
exit_m = [1.5, 20.0]
arrivals_s = 25
[[lanes]]
name = "right"
terminal_m = [5.0, 0.0]
stop_m = [3.5, 0.0]
entry_m = [3.5, -20.0]
exit_m = [3.5, 20.0]
arrivals_s = 25
"""


@pytest.fixture
def street(tmp_path: Path) -> Path:
    file = tmp_path / "street.toml"
    file.write_text(STREET, encoding="utf-8")
    return file


def tune(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["tune", *map(str, arguments)])


def tuned(street: Path, *options: str) -> tuple[Result, dict[str, Any], LaneRules]:
    figures, rules = street.with_name("figures.json"), street.with_name("rules.toml")
    files = ("--json", figures, "--write", rules)
    result = tune("--scenario", street, "--halvings", "1", "--folds", "3", *files, *options)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return result, document, rules_file.changed(LaneRules(), rules_file.read(rules))


def test_rules_are_found_told_and_written(street: Path) -> None:
    result, told, rules = tuned(street)
    before, after = told["usual"], told["training"]
    assert (after["wrong"], after["unserved"]) < (before["wrong"], before["unserved"])
    assert after["rules"] == {name: getattr(rules, name) for name in after["rules"]}
    assert set(COARSE) < set(after["rules"])
    assert told["validation"]["questions"] == before["questions"] == told["places"][0]["questions"]
    assert sum(fold["validation"]["questions"] for fold in told["folds"]) == before["questions"]
    assert len(told["folds"]) == 3
    assert told["changes"]
    assert set(told["changes"][0]) == {"question", "lane", "before", "after"}
    for heading in ("Rules", "training", "validation", "Changes", "Caution: Only"):
        assert heading in result.output
    first = street.with_name("rules.toml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# fieldkit tune, ")


def test_the_same_seed_finds_the_same(street: Path) -> None:
    assert tuned(street)[1:] == tuned(street)[1:]


def test_nothing_to_tune_on_is_a_plain_sentence() -> None:
    result = tune()
    assert result.exit_code == 2
    assert "--scenario" in result.output


def test_a_scenario_that_is_none_is_a_plain_sentence() -> None:
    result = tune("--scenario", "no-such-place")
    assert result.exit_code == 1
    assert "cannot be read" in result.output
