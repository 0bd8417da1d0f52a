"""Settings of the terminal that say by which rules a lane decides."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from payment_device.config import ENVIRONMENT_PREFIX, TerminalSettings
from payment_device.sightings import LaneRules
from twochannel.settings import SettingsError, load


def rules(tmp_path: Path, text: str) -> LaneRules:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    settings = load(
        TerminalSettings, file=file, environment={}, prefix=ENVIRONMENT_PREFIX, flags={}
    )
    return settings.rules


def test_without_settings_the_rules_are_the_usual_ones(tmp_path: Path) -> None:
    assert rules(tmp_path, "") == LaneRules()


def test_every_rule_but_the_quiet_time_is_a_setting(tmp_path: Path) -> None:
    other = LaneRules(-70.0, 8.0, LaneRules().quiet_after_s, 7, 0.7, 4.0)
    fields = asdict(other).items() - asdict(LaneRules()).items()
    assert len(fields) == 5
    assert rules(tmp_path, "".join(f"{name} = {value}\n" for name, value in fields)) == other


@pytest.mark.parametrize("line", ["settle_s = 1.0", "settle_samples = 0", "home_margin_db = -1"])
def test_a_rule_without_meaning_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match=line.partition(" ")[0]):
        rules(tmp_path, line)
