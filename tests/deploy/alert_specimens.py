"""For each alert, series that make it fire: values as promtool takes them, a minute apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

_RULES: Final = Path(__file__).parents[2] / "deploy/prometheus/alerts.yml"
_LANE: Final = {"instance": "lane:9466", "job": "cigarjack-terminal"}
_JACK: Final = {"instance": "car:9465", "job": "cigarjack-jack"}
_PHONE: Final = {"instance": "car:9467", "job": "cigarjack-phone"}
_SERVER: Final = {"instance": "server:9464", "job": "cigarjack-server"}


@dataclass(frozen=True)
class Specimen:
    """``at``: when it fires; ``labels`` of the alert; ``value``: as the summary shows it."""

    alert: str
    at: str
    series: Mapping[str, str]
    who: Mapping[str, str]
    value: str = ""
    labels: dict[str, str] = field(init=False)
    annotations: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        rule = _rule(self.alert)
        object.__setattr__(self, "labels", {**self.who, **rule["labels"]})
        told = rule["annotations"]
        summary = told["summary"]
        for name in ("job", "instance"):
            summary = summary.replace(f"{{{{ $labels.{name} }}}}", self.who.get(name, ""))
        head, brace, rest = summary.partition("{{ $value")
        if brace:
            summary = head + self.value + rest.partition("}}")[2]
        object.__setattr__(self, "annotations", {"summary": summary, "do": told["do"]})


def _rule(alert: str) -> Any:
    (group,) = yaml.safe_load(_RULES.read_text("utf-8"))["groups"]
    (rule,) = (rule for rule in group["rules"] if rule["alert"] == alert)
    return rule


def _series(name: str, who: Mapping[str, str], **labels: str) -> str:
    shown = ",".join(f'{key}="{value}"' for key, value in {**who, **labels}.items())
    return f"{name}{{{shown}}}"


def _only(who: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: who[name] for name in names}


FIRING: Final[Mapping[str, Specimen]] = {
    one.alert: one
    for one in (
        Specimen("CigarJackAgentDown", "2m", {_series("up", _LANE): "1 0 0"}, _LANE),
        Specimen(
            "CigarJackRadioLost", "3m", {_series("cigarjack_radio_up", _JACK): "1 0 0 0"}, _JACK
        ),
        Specimen(
            "CigarJackRadioRestartsOften",
            "60m",
            {_series("cigarjack_radio_losses_total", _LANE): "0+0.1x60"},
            _LANE,
            "6",
        ),
        Specimen(
            "CigarJackRssiCoarse",
            "20m",
            {_series("cigarjack_rssi_step_db", _LANE): "1 8x20"},
            _LANE,
            "8",
        ),
        Specimen(
            "CigarJackLaneAmbiguous",
            "60m",
            {
                _series(
                    "cigarjack_lane_decisions_total", _LANE, asked="charge", outcome="ambiguous"
                ): "0+1x60",
                _series(
                    "cigarjack_lane_decisions_total", _LANE, asked="charge", outcome="chosen"
                ): "0+3x60",
            },
            _only(_LANE, "instance"),
            "25%",
        ),
        Specimen(
            "CigarJackAuthCodesMissing",
            "15m",
            {
                _series(
                    "cigarjack_auth_codes_total", _PHONE, path="none", outcome="missing"
                ): "0+1x15"
            },
            _only(_PHONE, "instance"),
        ),
        Specimen(
            "CigarJackPaymentsSlow",
            "40m",
            {
                _series("cigarjack_leg_seconds_bucket", _LANE, leg="total", le=le): f"0+{step}x40"
                for le, step in (("10", 1), ("30", 9), ("60", 10), ("+Inf", 10))
            },
            _only(_LANE, "instance"),
        ),
        Specimen(
            "CigarJackBeaconSilent",
            "15m",
            {_series("cigarjack_beacon_up", _JACK): "1 0x15"},
            _JACK,
        ),
        Specimen(
            "CigarJackClockUntrusted",
            "15m",
            {_series("cigarjack_clock_trusted", _JACK): "1 0x15"},
            _JACK,
        ),
        Specimen(
            "CigarJackClockStepped",
            "60m",
            {_series("cigarjack_clock_steps_total", _JACK): "0+0.1x60"},
            _JACK,
            "6",
        ),
        Specimen(
            "CigarJackUnderVoltage",
            "2m",
            {_series("cigarjack_under_voltages_total", _JACK): "0 0 1"},
            _JACK,
        ),
        Specimen(
            "CigarJackHot",
            "8m",
            {_series("cigarjack_temperature_celsius", _LANE): "60 81x10"},
            _LANE,
        ),
        Specimen(
            "CigarJackDiskFull",
            "8m",
            {_series("cigarjack_state_free_bytes", _SERVER): "1e9 104857600x10"},
            _SERVER,
            "100Mi",
        ),
        Specimen(
            "CigarJackDatabaseDown",
            "3m",
            {_series("cigarjack_database_up", _SERVER): "1 0 0 0"},
            _SERVER,
        ),
        Specimen(
            "CigarJackOrdersStuck",
            "1m",
            {_series("cigarjack_outbox_oldest_seconds", _SERVER): "0 360"},
            _SERVER,
            "6m 0s",
        ),
    )
}
