"""The shipped ``first-day`` on virtual air: what was done, noted, and found out at the desk."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fieldkit.trace import TraceEvent
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.trials import secrets_kept
from tests.trials.brought import assert_same_day, carried, last_lines_collected
from tests.trials.virtual import PlayedTrial, played, replayed_exactly, times_outside, told_by

US_PER_S = 1_000_000
#: What without a fault takes a tenth of it, on a machine that is not too busy.
SLOW_S = 0.7
#: How often a till asked; once it could not tell which of two cars was meant.
ASKED = 9
UNDISTURBED = "pay car=mina amount=4.50"
#: A wall clock is told in milliseconds.
TOLERANCE_S = 0.1


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedTrial]:
    folder = tmp_path_factory.mktemp("first-day")
    day = played(SCENARIOS_FOLDER / "first-day.toml", folder, kept=True)
    yield day
    assert day.states is not None
    shutil.rmtree(day.states)


def test_every_step_was_played_and_ended_as_it_must(first_day: PlayedTrial) -> None:
    steps = first_day.document["steps"]
    assert first_day.document["ok"] is True
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    assert not [step["failure"] for step in steps if step["failure"]]
    assert sum(first_day.document["payments"].values()) == ASKED
    outcomes = Counter(step["status"] for step in steps if step["status"])
    assert outcomes == first_day.document["payments"]


def test_only_recordings_are_in_the_archive(first_day: PlayedTrial) -> None:
    with zipfile.ZipFile(first_day.archive) as opened:
        names = set(opened.namelist())
    assert names == {"trial.json", *first_day.manifest["files"]}
    assert {name.split("/")[0] for name in names - {"trial.json"}} == {
        *("server", "lane-1", "pump-3", "mina-jack", "mina-phone", "joon-jack", "joon-phone")
    }
    assert all(name.endswith((".jsonl", ".btsnoop", "trial.json")) for name in names)


def test_no_byte_of_the_archive_is_a_secret(first_day: PlayedTrial) -> None:
    assert first_day.states is not None
    secrets = secrets_kept.of_commands(first_day.said) | secrets_kept.of_states(first_day.states)
    # Two jacks; two phones and two terminals; an auth code for each payment that came so far.
    assert len(secrets["claim secret"]) >= 2
    assert len(secrets["enrolment code"]) >= 4
    assert len(secrets["private key"]) > 50
    assert len(secrets["auth code"]) >= 2 * 6
    assert all(len(secret) >= 8 for kind in secrets.values() for secret in kind)
    with zipfile.ZipFile(first_day.archive) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    payment = first_day.truth["payments"][0]["payment"].encode()
    assert sum(payment in data for data in members.values()) > 3
    found = {
        (kind, name)
        for kind, those in secrets.items()
        for secret in those
        for name, data in members.items()
        if secret in data
    }
    assert found == set()


@pytest.fixture(scope="module")
def collected(first_day: PlayedTrial, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return carried(first_day, "first-day", tmp_path_factory.mktemp("stick"))


def test_what_is_bundled_and_collected_is_what_the_agents_recorded(
    first_day: PlayedTrial, collected: Path
) -> None:
    """And what they noted after the player had packed it, to their orderly end."""
    for last in last_lines_collected(first_day, collected):
        assert b'"agent_stopped"' in last


def test_the_report_of_what_was_collected_is_that_of_the_day(
    first_day: PlayedTrial, collected: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    """The truth is not in it, which no machine knows; all else is."""
    page = str(tmp_path / "day.html")
    slow_s = f"{report['slow_ms'] / 1000:.2f}"
    brought = replace(first_day, archive=collected)
    found = told_by("report", brought, tmp_path, "--slow", slow_s, "--out", page)
    assert_same_day(found, report)


def test_every_machine_has_clocks_of_its_own(first_day: PlayedTrial) -> None:
    starts = {agent: events[0] for agent, events in first_day.events.items()}
    assert len({start.boot for start in starts.values()}) == len(starts)
    offsets = {agent: first_day.true_us(e) - e.mono_ns // 1000 for agent, e in starts.items()}
    assert len({round(offset / US_PER_S) for offset in offsets.values()}) == len(starts)


@pytest.mark.parametrize(("agent", "ahead_s"), [("pump-3", 190), ("joon-phone", -310)])
def test_a_wall_clock_is_off_by_what_the_scenario_says(
    first_day: PlayedTrial, agent: str, ahead_s: int
) -> None:
    for event in first_day.events[agent]:
        is_ahead_s = event.wall_ms / 1000 - first_day.true_us(event) / US_PER_S
        assert is_ahead_s == pytest.approx(ahead_s, abs=TOLERANCE_S)


def test_a_clock_that_was_put_wrong_was_right_before(first_day: PlayedTrial) -> None:
    stepped = first_day.fault("clock_stepped", "lane-1")
    assert stepped["by_ms"] == -75_000
    for event in first_day.events["lane-1"]:
        true_us = first_day.true_us(event)
        ahead_s = 0 if true_us < stepped["from_true_us"] else -75
        assert event.wall_ms / 1000 - true_us / US_PER_S == pytest.approx(ahead_s, abs=TOLERANCE_S)


def test_the_power_cut_took_what_was_not_on_disk_and_the_jack_woke_in_1970(
    first_day: PlayedTrial,
) -> None:
    for agent in ("joon-jack", "joon-phone"):
        cut = first_day.fault("power_cut", agent)
        before, after = by_boot(first_day, agent)
        assert max(map(first_day.true_us, before)) < cut["from_true_us"]
        assert min(map(first_day.true_us, after)) > cut["to_true_us"]
    _, woken = by_boot(first_day, "joon-jack")
    assert woken[0].wall_ms < 600_000
    assert woken[0].clock == "unsynchronised"


def by_boot(trial: PlayedTrial, agent: str) -> list[list[TraceEvent]]:
    """What an agent noted, boot by boot."""
    events = trial.events[agent]
    boots = dict.fromkeys(event.boot for event in events)
    return [[event for event in events if event.boot == boot] for boot in boots]


def test_without_wifi_the_auth_code_came_over_gatt(first_day: PlayedTrial) -> None:
    lost = first_day.fault("wifi_lost", "mina-phone")
    received = [e for e in first_day.events["mina-phone"] if e.event == "auth_code_received"]
    paths = {
        e.fields["path"]
        for e in received
        if lost["from_true_us"] < first_day.true_us(e) < lost["to_true_us"]
    }
    assert paths == {"gatt"}
    assert received[0].fields["path"] == "wifi"


def test_the_server_noted_two_runs_around_its_restart(first_day: PlayedTrial) -> None:
    restarted = first_day.fault("server_restarted", "server")
    started = [e for e in first_day.events["server"] if e.event == "agent_started"]
    before, after = map(first_day.true_us, started)
    assert before < restarted["from_true_us"] < after < restarted["to_true_us"]


def test_the_truth_says_which_car_was_where_when_it_paid(first_day: PlayedTrial) -> None:
    stays = {(stay["car"], stay["lane"]): stay for stay in first_day.truth["at_lane"]}
    assert set(stays) == {("mina", "lane-1"), ("joon", "pump-3"), ("joon", "lane-1")}
    for paid in first_day.truth["payments"]:
        stay = stays[paid["car"], paid["lane"]]
        (asked,) = (
            e
            for e in first_day.events[paid["lane"]]
            if (e.event, e.payment) == ("charge_asked", paid["payment"])
        )
        assert stay["from_true_us"] < first_day.true_us(asked) < stay["to_true_us"]


# --- what the desk says of it


@pytest.fixture(scope="module")
def report(first_day: PlayedTrial, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of the first day, for programs."""
    folder = tmp_path_factory.mktemp("report")
    page = str(folder / "day.html")
    slow_s = max(SLOW_S, 1.5 * undisturbed_s(first_day))
    return told_by("report", first_day, folder, "--slow", f"{slow_s:.2f}", "--out", page)


def undisturbed_s(trial: PlayedTrial) -> float:
    """What a payment took to which nothing was done: the measure of how busy this machine is."""
    payment = step_payment(trial, UNDISTURBED)
    of_lane = [e.mono_ns for e in trial.events["lane-1"] if e.payment == payment]
    return (max(of_lane) - min(of_lane)) / 1e9


def cause(report: dict[str, Any], payment: str) -> str | None:
    (found,) = (p["cause"] for p in report["payments"] if p["payment"] == payment)
    return None if found is None else str(found)


def step_payment(trial: PlayedTrial, begins: str) -> str:
    """The payment of the step that is told like this."""
    (found,) = (s["payment"] for s in trial.document["steps"] if s["step"].startswith(begins))
    return str(found)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (UNDISTURBED, None),
        ("pay car=mina amount=3.20", "slow_gatt"),
        ("pay car=mina amount=31.00", "owner_declined"),
        ("pay car=joon amount=2.80", "presence"),
        ("pay car=joon amount=3.60 hurried", "ambiguous"),
        ("pay car=joon amount=3.60 pick", None),
        ("pay car=mina amount=25.00", "owner_silent"),
    ],
)
def test_what_was_done_to_a_payment_is_its_cause(
    first_day: PlayedTrial, report: dict[str, Any], step: str, expected: str | None
) -> None:
    assert cause(report, step_payment(first_day, step)) == expected


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("joon-jack", "machine lost its power or was reset, with no orderly end"),
        ("joon-phone", "machine lost its power or was reset, with no orderly end"),
        ("joon-jack", "it went from unsynchronised to server"),
        ("joon-jack", "radio lost"),
        ("mina-phone", "the jack did not answer over Wi-Fi, though it was up"),
        ("pump-3", "wall clock 3.2 min ahead of the server's"),
        ("server", "agent was stopped and started again"),
    ],
)
def test_what_was_done_to_a_machine_is_among_the_incidents(
    report: dict[str, Any], agent: str, text: str
) -> None:
    played = [i for i in report["incidents"] if i["kind"] != "fault"]
    assert any(i["agent"] == agent and text in i["text"] for i in played), played


def test_a_clock_that_was_put_wrong_is_among_the_incidents(report: dict[str, Any]) -> None:
    texts = [
        i["text"] for i in report["incidents"] if (i["agent"], i["kind"]) == ("lane-1", "clock")
    ]
    (by_s,) = re.findall(r"wall clock set back by ([0-9.]+) s", "\n".join(texts))
    assert float(by_s) == pytest.approx(75, abs=TOLERANCE_S)


def test_every_fault_of_the_truth_is_told_as_played(
    first_day: PlayedTrial, report: dict[str, Any]
) -> None:
    shown = Counter(i["agent"] for i in report["incidents"] if i["kind"] == "fault")
    assert shown == Counter(fault["machine"] for fault in first_day.truth["faults"])


def test_lanes_chose_the_car_that_stood_there_or_none(report: dict[str, Any]) -> None:
    found = {(row["truth"], row["decided"]): row["count"] for row in report["confusion"]}
    there = "a car with its jack"
    assert found == {(there, "right jack"): ASKED - 1, (there, "ambiguous"): 1}


def test_the_true_time_of_every_event_is_within_its_uncertainty(first_day: PlayedTrial) -> None:
    assert times_outside(first_day) == []


def test_the_truth_is_within_the_stated_bounds_of_every_clock(
    report: dict[str, Any], first_day: PlayedTrial
) -> None:
    assert report["statements"] == []
    boots = {clock["boot"] for clock in report["clocks"]}
    assert boots == {e.boot for events in first_day.events.values() for e in events}
    assert {clock["basis"] for clock in report["clocks"]} == {"reference", "messages"}
    assert len(report["clock_truths"]) == len(boots) - 1
    assert all(truth["inside"] for truth in report["clock_truths"])
    # Half of the fastest way there and back over a loopback, on a machine that is busy.
    assert max(truth["ms"] for truth in report["clock_truths"]) < 250


def test_every_payment_is_told_with_its_outcome(
    report: dict[str, Any], first_day: PlayedTrial
) -> None:
    paid = {"authorized", "captured", "voided"}
    expected = sum(n for status, n in first_day.document["payments"].items() if status in paid)
    assert (report["success"]["count"], report["success"]["of"]) == (expected, ASKED)


def test_no_payment_is_left_unexplained(report: dict[str, Any]) -> None:
    assert "unexplained" not in {payment["cause"] for payment in report["payments"]}


def test_each_payment_is_of_the_car_that_paid(
    first_day: PlayedTrial, report: dict[str, Any]
) -> None:
    jacks = {payment["payment"]: payment["jack"] for payment in report["payments"]}
    paid: dict[str, str | None] = {
        paid["payment"]: f"{paid['car']}-jack" for paid in first_day.truth["payments"]
    }
    # Of whom the till asked then nobody knows but the player.
    paid[step_payment(first_day, "pay car=joon amount=3.60 hurried")] = None
    assert jacks == paid


def test_no_leg_takes_less_than_nothing(report: dict[str, Any]) -> None:
    legs = [ms for payment in report["payments"] for ms in payment["legs_ms"].values()]
    assert min(ms for ms in legs if ms is not None) >= 0


def test_every_decision_of_a_lane_is_replayed_exactly(
    first_day: PlayedTrial, tmp_path: Path
) -> None:
    assert replayed_exactly(first_day, tmp_path) > 50
