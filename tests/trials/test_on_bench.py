"""A trial on machines over SSH that are name spaces, with radios on virtual air."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldkit.trace import TraceEvent
from fieldkit.trials.order import Order
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.machines import CONTROL, CUT, MEND, Machines
from tests.trials import virtual
from tests.trials.virtual import PlayedTrial

pytestmark = [pytest.mark.sshd, pytest.mark.machines]

DEADLINE_S = 400
FIRST_DAY = SCENARIOS_FOLDER / "first-day.toml"
ORDER = Order.of(FIRST_DAY).at({"lane-1"})
STEPS = """
[[steps]]
do = "drive"
car = "mina"
to = "lane-1"

[[steps]]
do = "pay"
car = "mina"
amount = "4.50"

[[steps]]
do = "power_cut"
car = "mina"
for_s = 1.0

[[steps]]
do = "wifi_lost"
car = "mina"
for_s = 10.0

[[steps]]
do = "pay"
car = "mina"
amount = "3.20"

[[steps]]
do = "radio_restarted"
car = "mina"
for_s = 2.0

[[steps]]
do = "server_restarted"
for_s = 1.0

[[steps]]
do = "pay"
car = "mina"
amount = "30.00"
owner = "declines"
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


@pytest.fixture(scope="module")
def day() -> Iterator[Day]:
    with tempfile.TemporaryDirectory(prefix="cj-") as name:
        folder = Path(name)
        machines = Machines(folder, ORDER.scenario.cast().air_plan())
        bench, scenario = folder / "bench.toml", folder / "day.toml"
        archive, document = folder / "day.trial", folder / "day.json"
        bench.write_text(bench_toml(machines))
        scenario.write_text(FIRST_DAY.read_text().partition("[[steps]]")[0] + STEPS)
        line = [sys.executable, "-m", "fieldkit", "trial", "play", str(scenario), "--leave-out"]
        line += ["--on", str(bench), "--out", str(archive), "--json", str(document)]
        ended = machines.run(line, DEADLINE_S)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        yield Day(virtual.read(archive, document), ended.stdout, ended.stderr)


def noted(trial: PlayedTrial, agent: str, *names: str) -> list[TraceEvent]:
    return [event for event in trial.events[agent] if event.event in names]


def test_a_trial_on_other_machines(day: Day) -> None:
    assert "left out: step 3, power_cut car=mina for_s=1.0: nothing on this bench" in day.errors
    assert "left out: from the beginning, clock of pump-3 +190 s" in day.errors
    assert "payments: 2 captured, 1 declined." in day.output
    assert day.trial.events.keys() == {"server", "lane-1", "mina-jack", "mina-phone"}
    assert sorted((fault["name"], fault["machine"]) for fault in day.trial.truth["faults"]) == [
        ("radio_restarted", "mina-jack"),
        ("server_restarted", "server"),
        ("wifi_lost", "mina-phone"),
    ]


def test_the_car_paid_where_it_stood(day: Day) -> None:
    (stay,) = day.trial.truth["at_lane"]
    asked = noted(day.trial, "lane-1", "charge_asked")
    assert len(asked) == 3
    for event in asked:
        assert stay["from_true_us"] < day.trial.true_us(event) < stay["to_true_us"]


def test_the_payment_without_wifi_took_its_code_over_gatt(day: Day) -> None:
    lost = day.trial.fault("wifi_lost", "mina-phone")
    received = {e.payment: e for e in noted(day.trial, "mina-phone", "auth_code_received")}
    before, during, _ = (paid["payment"] for paid in day.trial.truth["payments"])
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
