"""Rules as lines of a config.toml."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from fieldkit.trials import rules_file
from fieldkit.trials.rules_file import RulesError
from payment_device.config import ENVIRONMENT_PREFIX, TerminalSettings
from payment_device.sightings import LaneRules
from twochannel.settings import load

FOUND = LaneRules(-67.5, 9.75, LaneRules().quiet_after_s, 4, 0.35, 4.5)


def test_a_terminal_takes_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(rules_file.text(FOUND, "found\nsomewhere"), encoding="utf-8")
    settings = load(
        TerminalSettings, file=file, environment={}, prefix=ENVIRONMENT_PREFIX, flags={}
    )
    assert settings.rules == FOUND
    assert rules_file.changed(LaneRules(), rules_file.read(file)) == FOUND


def test_a_whole_config_is_fine_and_a_part_of_the_rules_too(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('radio = "bluez:hci0"\nmargin_db = 8\n', encoding="utf-8")
    assert rules_file.read(file) == {"margin_db": 8}
    changed = rules_file.changed(FOUND, rules_file.read(file))
    assert asdict(changed) == asdict(FOUND) | {"margin_db": 8}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("margin = 3", "no rule 'margin'"),
        ("margin_db = \n", "not TOML"),
        ("margin_db = -1", "must not be negative"),
        ("settle_s = 5", "less than quiet_after_s"),
        ('margin_db = "3"', "has to be a number"),
    ],
)
def test_what_is_no_rule_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RulesError, match=said):
        rules_file.changed(LaneRules(), rules_file.read(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"none\.toml cannot be read"):
        rules_file.read(tmp_path / "none.toml")
