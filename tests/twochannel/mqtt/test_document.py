"""docs/mqtt.md names what is published, and by which settings."""

from __future__ import annotations

import re
from pathlib import Path

from twochannel.mqtt.outbox import WAITING_LIMIT
from twochannel.mqtt.publisher import PUBLISHED
from twochannel.settings import AgentSettings

DOCUMENT = (Path(__file__).parents[3] / "docs" / "mqtt.md").read_text(encoding="utf-8")


def test_the_events_are_those_of_the_code() -> None:
    listed = DOCUMENT.partition("`<event>` is one of these:")[2].partition("\nPayments are")[0]
    parts = re.findall(r"`([a-z_]+)`", listed)
    assert set(parts) == PUBLISHED


def test_the_settings_are_those_of_the_code() -> None:
    told = set(re.findall(r"^\| `(mqtt\w*)` \|", DOCUMENT, re.MULTILINE))
    assert told == {name for name in AgentSettings.model_fields if name.startswith("mqtt")}


def test_the_room_is_that_of_the_code() -> None:
    assert f"at most {WAITING_LIMIT} messages" in DOCUMENT
