"""The shipped ``first-day`` on virtual air: what its machines noted, and what was done to them."""

from __future__ import annotations

import zipfile
from collections import Counter

import pytest

from fieldkit.trace import TraceEvent
from tests.trials.virtual import PlayedTrial

US_PER_S = 1_000_000
#: A wall clock is told in milliseconds.
TOLERANCE_S = 0.1


def test_every_step_was_played_and_ended_as_it_must(first_day: PlayedTrial) -> None:
    steps = first_day.document["steps"]
    assert first_day.document["ok"] is True
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    assert not [step["failure"] for step in steps if step["failure"]]
    assert sum(first_day.document["payments"].values()) == 7
    outcomes = Counter(step["status"] for step in steps if step["status"])
    assert outcomes == first_day.document["payments"]


def test_only_recordings_are_in_the_archive_and_nothing_secret(first_day: PlayedTrial) -> None:
    with zipfile.ZipFile(first_day.archive) as opened:
        names = set(opened.namelist())
    assert names == {"trial.json", *first_day.manifest["files"]}
    assert {name.split("/")[0] for name in names - {"trial.json"}} == {
        *("server", "lane-1", "pump-3", "mina-jack", "mina-phone", "joon-jack", "joon-phone")
    }
    assert all(name.endswith((".jsonl", ".btsnoop", "trial.json")) for name in names)


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
    assert set(stays) == {("mina", "lane-1"), ("joon", "pump-3")}
    for paid in first_day.truth["payments"]:
        stay = stays[paid["car"], paid["lane"]]
        (asked,) = (
            e
            for e in first_day.events[paid["lane"]]
            if (e.event, e.payment) == ("charge_asked", paid["payment"])
        )
        assert stay["from_true_us"] < first_day.true_us(asked) < stay["to_true_us"]
