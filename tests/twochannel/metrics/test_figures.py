"""Figures from the events of a real trace, and the page that serves them."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from twochannel.condition.radio import RadioCondition
from twochannel.metrics import catalogue
from twochannel.metrics.catalogue import METRICS
from twochannel.metrics.figures import Figures
from twochannel.metrics.page import serving_figures
from twochannel.radio.bluez_recovery import Step
from twochannel.radio.port import Sighting
from twochannel.radio.watch import REOPENED
from twochannel.settings import DeviceSettings
from twochannel.trace import ClockTrust, Trace

HEALTH = {
    "clock_synchronised": True,
    "clock_source": "tsc",
    "under_voltage": None,
    "celsius": 48.5,
    "throttled": False,
    "rss_mib": 64.0,
    "descriptors": 21,
    "disk_free_mib": 100,
    "radio": "bluez",
    "radio_ok": True,
    "adverts_per_s": 10.0,
    "last_advert_ms": 90,
    "rssi_levels": 7,
    "rssi_step_db": 2,
    "blind_ms": 1500,
}


class Agent:
    """An agent of ``party`` that writes no file, and its figures."""

    def __init__(self, party: str) -> None:
        self.trust = ClockTrust.SYSTEM
        self.trace = Trace(party, None, boot="b", trust=lambda: self.trust)
        self.radio = RadioCondition(self.trace, "bluez")
        self.figures = Figures(party, self.radio)
        self.trace.listen(self.figures.take)

    def __getitem__(self, name: str) -> float:
        return values(self.figures.text().decode())[f"cigarjack_{name}"]


def values(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_before_anything_is_known_nothing_is_claimed() -> None:
    agent = Agent("terminal")
    for name in ("clock_trusted", "clock_synchronised", "under_voltage", "temperature_celsius"):
        assert math.isnan(agent[name])
    assert math.isnan(agent["advert_age_seconds"])
    assert agent["radio_up"] == 0
    assert agent["payments_total{status=captured}"] == 0
    assert agent["leg_seconds_count{leg=total}"] == 0


def test_health_sets_what_is_so_now() -> None:
    agent = Agent("phone")
    agent.trace.event("health", None, **HEALTH)
    assert agent["clock_synchronised"] == agent["clock_trusted"] == 1
    assert math.isnan(agent["under_voltage"])
    assert agent["temperature_celsius"] == 48.5
    assert agent["resident_bytes"] == 64 * 2**20
    assert agent["open_descriptors"] == 21
    assert agent["state_free_bytes"] == 100 * 2**20
    assert (agent["rssi_levels"], agent["rssi_step_db"]) == (7, 2)
    assert agent["longest_silence_seconds"] == 1.5


def test_the_clock() -> None:
    agent = Agent("jack")
    agent.trust = ClockTrust.UNSYNCHRONISED
    agent.trace.event("beacon_silent", reason="clock_unsynchronised")
    assert (agent["clock_trusted"], agent["beacon_up"]) == (0, 0)
    agent.trust = ClockTrust.SERVER
    agent.trace.event("beacon_rotated", handle="0123")
    assert (agent["clock_trusted"], agent["beacon_up"]) == (1, 1)
    agent.trace.event("clock_stepped", by_ms=-5000)
    assert agent["clock_steps_total"] == 1


def test_voltage_and_heat() -> None:
    agent = Agent("jack")
    for low in (True, False, True):
        agent.trace.event("power", under_voltage=low)
    agent.trace.event("temperature", celsius=81.5, throttled=True)
    assert (agent["under_voltage"], agent["under_voltages_total"]) == (1, 2)
    assert (agent["temperature_celsius"], agent["throttled"]) == (81.5, 1)


def test_the_radio() -> None:
    agent = Agent("terminal")
    agent.radio.well("reopened")
    agent.radio.take(Sighting("00:11", 0xFEAA, b"", -60, time.monotonic()))
    assert agent["radio_up"] == agent["adverts_heard_total"] == 1
    assert 0 <= agent["advert_age_seconds"] < 10
    agent.radio.lost("gone", time.monotonic() - 3.0)
    assert (agent["radio_up"], agent["radio_losses_total"]) == (0, 1)
    agent.radio.well("power_cycle")
    assert agent["radio_restarts_total{rung=power_cycle}"] == 1
    assert agent["radio_blind_seconds_total"] == pytest.approx(3.0, abs=1.0)


def test_decisions_of_a_lane_and_payments() -> None:
    agent = Agent("terminal")
    agent.trace.event("lane_decision", asked="heard", outcome="ambiguous")
    agent.trace.event("lane_decision", "p1", asked="charge", outcome="chosen")
    agent.trace.event("charge_asked", "p1", amount_minor=450, currency="EUR")
    agent.trace.event("jack_chosen", "p1", jack="0123", rssi_dbm=-50, others=0)
    agent.trace.event("payment_settled", "p1", status="captured")
    assert agent["lane_decisions_total{asked=heard,outcome=ambiguous}"] == 1
    assert agent["lane_decisions_total{asked=charge,outcome=chosen}"] == 1
    assert agent["payments_total{status=captured}"] == 1
    assert agent["leg_seconds_count{leg=heard}"] == agent["leg_seconds_count{leg=total}"] == 1


def test_auth_codes_of_a_phone() -> None:
    agent = Agent("phone")
    for payment in ("p1", "p2", "p3"):
        agent.trace.event("auth_code_asked", payment)
    agent.trace.event("auth_code_received", "p1", presence=True, path="wifi")
    agent.trace.event("auth_code_received", "p2", presence=False, path="gatt")
    for payment in ("p1", "p2", "p3"):
        agent.trace.event("decision", payment, decision="approve", decided_by="policy")
    assert agent["auth_codes_total{outcome=present,path=wifi}"] == 1
    assert agent["auth_codes_total{outcome=absent,path=gatt}"] == 1
    assert agent["auth_codes_total{outcome=missing,path=none}"] == 1


def test_a_payment_that_is_under_way_has_no_outcome() -> None:
    agent = Agent("phone")
    for status in ("pending", "confirmed", "unknown", "captured"):
        agent.trace.event("payment_known", "p1", status=status)
    counted = values(agent.figures.text().decode())
    outcomes = {k: v for k, v in counted.items() if k.startswith("cigarjack_payments_total")}
    assert sum(outcomes.values()) == 1
    assert "cigarjack_payments_total{status=pending}" not in outcomes


def test_challenges_of_a_jack() -> None:
    agent = Agent("jack")
    agent.trace.event("challenge_received", "p1")
    agent.trace.event("auth_code_signed", "p1", counter=1, presence=True)
    agent.trace.event("auth_code_repeated", "p1")
    agent.trace.event("challenge_refused", "p2", code="challenge_mismatch")
    for outcome in ("present", "repeated", "refused"):
        assert agent[f"challenges_total{{outcome={outcome}}}"] == 1
    assert agent["leg_seconds_count{leg=signed}"] == 1


@pytest.mark.parametrize("party", ["jack", "phone", "terminal", "server"])
def test_events_of_any_agent_harm_none(party: str, caplog: pytest.LogCaptureFixture) -> None:
    agent = Agent(party)
    events: tuple[tuple[str, dict[str, object]], ...] = (
        ("lane_decision", {"asked": "heard", "outcome": "none"}),
        ("auth_code_asked", {}),
        ("auth_code_received", {"presence": True, "path": None}),
        ("beacon_rotated", {"handle": "0123"}),
        ("payment_settled", {"status": "captured"}),
        ("radio_recovered", {"radio": "bluez", "rung": "none", "blind_ms": 1}),
        ("health", HEALTH),
        ("not_of_ours", {}),
    )
    for event, fields in events:
        agent.trace.event(event, "p1", **fields)
    assert caplog.records == []


def test_an_agent_without_a_radio_has_no_figures_of_one() -> None:
    registry = CollectorRegistry()
    found = values(Figures("phone", None, registry).text().decode())
    radio = {metric.full_name for metric in METRICS if metric.radio}
    assert {name.partition("{")[0] for name in found}.isdisjoint(radio)
    assert "cigarjack_clock_steps_total" in found


def test_every_rung_is_there_from_the_start() -> None:
    assert {labels[0] for labels in catalogue.RADIO_RESTARTS.expected} == {*Step, REOPENED}
    assert Agent("jack")["radio_restarts_total{rung=power_cycle}"] == 0


def test_names_are_told_once() -> None:
    names = [metric.full_name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(
        value in METRICS for value in vars(catalogue).values() if type(value) is type(METRICS[0])
    )


async def test_the_page_is_served_where_it_is_set(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trace = Trace("jack", None, boot="b")
    async with serving_figures(DeviceSettings(metrics_port=0), trace, None):
        (url,) = [vars(r)["url"] for r in caplog.records if r.message == "metrics_served"]
        trace.event("clock_stepped", by_ms=100)
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(url)
            assert (await http.get(url.removesuffix("/metrics"))).status_code == 404
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert values(answer.text)["cigarjack_clock_steps_total"] == 1


async def test_nothing_is_served_unless_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving_figures(DeviceSettings(), Trace("jack", None, boot="b"), None):
        await asyncio.sleep(0)
    assert caplog.records == []


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = DeviceSettings(metrics_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="cannot listen on"):
            async with serving_figures(settings, Trace("jack", None, boot="b"), None):
                pass
