"""docs/lane-decision.md tells of every answer, and its scenario file is one."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from fieldkit.world.scenario import Scenario, parse
from payment_device.sightings import Absence, Ambiguity, LaneRules

DOCUMENT = (Path(__file__).parents[3] / "docs" / "lane-decision.md").read_text(encoding="utf-8")


def test_every_reason_is_told() -> None:
    # A shared handle is a matter of picking, not of deciding.
    for reason in {*Absence, *Ambiguity} - {Ambiguity.SAME_HANDLE}:
        assert f"`{reason.value}`" in DOCUMENT


def test_the_defaults_are_those_of_the_code() -> None:
    rules = LaneRules()
    assert f"The default margin is {rules.margin_db:g} dB" in DOCUMENT
    assert f"threshold is {rules.min_rssi_dbm:g} dBm" in DOCUMENT
    assert f"The home lead has to be {rules.home_margin_db:g} dB" in DOCUMENT


def test_the_scenario_file_is_one_and_has_every_part() -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
    (text,) = (block for block in blocks if block.startswith("title ="))
    found = parse(text)
    for name in Scenario.model_fields.keys() - {"name"}:
        part = getattr(found, name)
        assert part not in ((), None), name
        assert not isinstance(part, BaseModel) or part.model_fields_set, name
