"""The settings that are put in place say what the agents take, and by which default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cigarjack.config import JackSettings
from payment_device.config import TerminalSettings
from phone_agent.config import PhoneSettings
from twochannel.settings import Settings, load

FOLDER = Path(__file__).parents[2] / "deploy" / "settings"
MODELS: dict[str, type[Settings]] = {
    "cigarjack": JackSettings,
    "payment-device": TerminalSettings,
    "phone-agent": PhoneSettings,
}
#: Not for those who run a jack in a car.
BENCH_ONLY = {"boot_id", "wall_clock_start"}
#: Shown by an example: what they are by default is nothing, or not for a Raspberry Pi.
EXAMPLES = {
    "interfaces",
    "metrics_port",
    "mqtt_ca",
    "mqtt_password_file",
    "beacon_keys",
    "page_certificate",
    "page_key",
    "pump_price",
    "radio",
}


@pytest.mark.parametrize("name", MODELS)
def test_a_template_is_taken_as_it_is(name: str) -> None:
    load(MODELS[name], file=FOLDER / f"{name}.toml", environment={}, prefix="X", flags={})


@pytest.mark.parametrize("name", MODELS)
def test_a_template_shows_every_setting_with_its_default(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    shown = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))
    fields = MODELS[name].model_fields
    assert shown.keys() == fields.keys() - BENCH_ONLY
    defaults = {field: fields[field].default for field in shown if field not in EXAMPLES}
    assert {field: shown[field] for field in defaults} == defaults
