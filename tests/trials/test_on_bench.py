"""The shipped ``one-car`` on machines over SSH: name spaces, with radios on virtual air."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fieldkit.trace import TraceEvent
from fieldkit.trials.order import Order
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.machines import CONTROL, CUT, MEND, Machines
from tests.trials import one_car, virtual
from tests.trials.virtual import PlayedTrial, replayed_exactly, times_outside, told_by

pytestmark = [pytest.mark.sshd, pytest.mark.machines]

DEADLINE_S = 400
ONE_CAR = SCENARIOS_FOLDER / "one-car.toml"
#: What no bench can do is left out of it.
FIRST_DAY = SCENARIOS_FOLDER / "first-day.toml"
STEPS = """
[[steps]]
do = "drive"
car = "mina"
to = "lane-1"

[[steps]]
do = "power_cut"
car = "mina"
for_s = 1.0

[[steps]]
do = "pay"
car = "mina"
amount = "4.50"
"""


def bench_toml(machines: Machines) -> str:
    hosts: dict[str, tuple[str, str | None]] = {
        "server": ("server", None),
        "jack": ("jack", "mina-jack"),
        "phone": ("phone", "mina-phone"),
        "terminals.lane-1": ("lane", "lane-1"),
    }
    lines = [f"[{section}]\n{machines.entry(*host)}" for section, host in hosts.items()]
    lines += ["[car]", f'air = "{CONTROL}"']
    lines += ["[wifi]", f"cut = {json.dumps(CUT)}", f"mend = {json.dumps(MEND)}"]
    lines += ["[radio]", f"take = {steering('unplug')}", f"give = {steering('plug')}"]
    return "\n".join(lines)


def steering(command: str) -> str:
    """Of the jack's machine, which reaches the air's control channel."""
    line = [sys.executable, "-m", "fieldkit", "air", command, "mina-jack", "--control", CONTROL]
    return json.dumps(line)


@dataclass(frozen=True)
class Day:
    """``output``, ``errors``: what the command said."""

    trial: PlayedTrial
    output: str
    errors: str


def played_on_bench(folder: Path, scenario: Path, *more: str) -> Day:
    """By the command that people use; it must end well."""
    machines = Machines(folder, Order.of(scenario).at({"lane-1"}).scenario.cast().air_plan())
    bench, archive, document = (folder / f"day.{kind}" for kind in ("bench", "trial", "json"))
    bench.write_text(bench_toml(machines))
    line = [sys.executable, "-m", "fieldkit", "trial", "play", str(scenario), *more]
    line += ["--on", str(bench), "--out", str(archive), "--json", str(document)]
    ended = machines.run(line, DEADLINE_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Day(virtual.read(archive, document), ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    """The shipped file itself, with nothing left out."""
    with tempfile.TemporaryDirectory(prefix="cj-") as name:
        yield played_on_bench(Path(name), ONE_CAR)


@pytest.fixture(scope="module")
def report(day: Day, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told_by("report", day.trial, tmp_path_factory.mktemp("report"))


def noted(trial: PlayedTrial, agent: str, *names: str) -> list[TraceEvent]:
    return [event for event in trial.events[agent] if event.event in names]


def test_one_car_plays_whole_on_other_machines(day: Day) -> None:
    assert "left out" not in day.errors
    assert "payments: 3 captured, 1 declined." in day.output
    assert [step["number"] for step in day.trial.document["steps"]] == list(range(1, 11))
    assert day.trial.events.keys() == {"server", "lane-1", "mina-jack", "mina-phone"}
    assert sorted((fault["name"], fault["machine"]) for fault in day.trial.truth["faults"]) == [
        ("radio_restarted", "mina-jack"),
        ("server_restarted", "server"),
        ("wifi_lost", "mina-phone"),
    ]


@pytest.mark.parametrize("name", one_car.FOUND)
def test_the_report_finds_each_fault_of_the_bench_with_its_cause(
    day: Day, report: dict[str, Any], name: str
) -> None:
    assert len(one_car.found(day.trial, report, name)) == 1, report["incidents"]


def test_the_car_paid_where_it_stood(day: Day) -> None:
    (stay,) = day.trial.truth["at_lane"]
    asked = noted(day.trial, "lane-1", "charge_asked")
    assert len(asked) == 4
    for event in asked:
        assert stay["from_true_us"] < day.trial.true_us(event) < stay["to_true_us"]


def test_the_payment_without_wifi_took_its_code_over_gatt(day: Day) -> None:
    lost = day.trial.fault("wifi_lost", "mina-phone")
    received = {e.payment: e for e in noted(day.trial, "mina-phone", "auth_code_received")}
    before, _, during, _ = (paid["payment"] for paid in day.trial.truth["payments"])
    assert received[before].fields["path"] == "wifi"
    assert received[during].fields["path"] == "gatt"
    assert lost["from_true_us"] < day.trial.true_us(received[during]) < lost["to_true_us"]


def test_the_jack_noted_that_its_radio_went_and_came_back(day: Day) -> None:
    taken = day.trial.fault("radio_restarted", "mina-jack")
    lost, back = noted(day.trial, "mina-jack", "radio_lost", "radio_recovered")
    assert (lost.event, back.event) == ("radio_lost", "radio_recovered")
    assert "was disconnected" in lost.fields["reason"]
    assert back.fields["rung"] == "reopened"
    assert taken["from_true_us"] < day.trial.true_us(lost) < taken["to_true_us"]


def test_every_time_of_the_bench_is_within_what_is_stated(day: Day) -> None:
    assert times_outside(day.trial) == []


def test_every_decision_on_the_bench_comes_out_as_it_was(day: Day, tmp_path: Path) -> None:
    assert replayed_exactly(day.trial, tmp_path, {"lane-1"}) > 4


def test_what_a_bench_cannot_do_is_told_and_left_out() -> None:
    with tempfile.TemporaryDirectory(prefix="cj-") as name:
        scenario = Path(name) / "more.toml"
        scenario.write_text(FIRST_DAY.read_text().partition("[[steps]]")[0] + STEPS)
        day = played_on_bench(Path(name), scenario, "--leave-out")
    assert "left out: step 2, power_cut car=mina for_s=1.0: nothing on this bench" in day.errors
    assert "left out: from the beginning, clock of pump-3 +190 s" in day.errors
    assert "payments: 1 captured." in day.output
    assert day.trial.events.keys() == {"server", "lane-1", "mina-jack", "mina-phone"}
    assert day.trial.truth["faults"] == []
