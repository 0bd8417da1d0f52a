"""A trial on machines over SSH: four servers of this loopback, with radios on virtual air."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldkit.trials.order import Order
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from fieldkit.venue import air_toml
from tests.sshd import Machine

DEADLINE_S = 400
FIRST_DAY = SCENARIOS_FOLDER / "first-day.toml"
ORDER = Order.of(FIRST_DAY).at({"lane-1"})
ADDRESSES = {name: f"127.0.0.{n}" for n, name in enumerate(("server", "jack", "phone", "lane"), 12)}
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
do = "server_restarted"
for_s = 1.0

[[steps]]
do = "pay"
car = "mina"
amount = "30.00"
owner = "declines"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cj-") as name:
        yield Path(name)


@pytest.fixture
def air(folder: Path) -> Iterator[dict[str, Any]]:
    plan = folder / "air.toml"
    plan.write_text(air_toml(ORDER.scenario.cast().air_plan()))
    line = [sys.executable, "-m", "fieldkit.air", "--config", str(plan)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        yield json.loads(running.stdout.readline())
        running.terminate()


def bench_toml(machines: dict[str, Machine], air: dict[str, Any]) -> str:
    radios = air["controllers"]
    hosts = {
        "server": ("server", None),
        "jack": ("jack", radios["mina-jack"]),
        "phone": ("phone", radios["mina-phone"]),
        "terminals.lane-1": ("lane", radios["lane-1"]),
    }
    lines = []
    for section, (name, radio) in hosts.items():
        machine = machines[name]
        entry: dict[str, Any] = {"ssh": machine.target, "ssh_options": machine.options}
        entry |= {"python": sys.executable, "address": machine.address}
        entry |= {"radio": f"bumble:{radio}"} if radio else {}
        entry |= {"interfaces": machine.address} if name in ("jack", "phone") else {}
        lines += [f"[{section}]", *(f"{key} = {json.dumps(it)}" for key, it in entry.items())]
    return "\n".join([*lines, "[car]", f'air = "{air["control"]}"'])


@pytest.mark.sshd
def test_a_trial_on_other_machines(folder: Path, air: dict[str, Any]) -> None:
    machines = {name: Machine(folder / name, address) for name, address in ADDRESSES.items()}
    bench, scenario, archive = (folder / name for name in ("bench.toml", "day.toml", "day.trial"))
    bench.write_text(bench_toml(machines, air))
    scenario.write_text(FIRST_DAY.read_text().partition("[[steps]]")[0] + STEPS)
    line = [sys.executable, "-m", "fieldkit", "trial", "play", str(scenario), "--leave-out"]
    line += ["--on", str(bench), "--out", str(archive)]
    with contextlib.ExitStack() as running:
        for machine in machines.values():
            running.enter_context(machine.running())
        ended = subprocess.run(
            line, capture_output=True, text=True, check=False, timeout=DEADLINE_S
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "left out: step 3, power_cut car=mina for_s=1.0: nothing on this bench" in ended.stderr
    assert "left out: from the beginning, clock of pump-3 +190 s" in ended.stderr
    assert "payments: 1 captured, 1 declined." in ended.stdout
    with zipfile.ZipFile(archive) as opened:
        manifest = json.loads(opened.read("trial.json"))
        traces = {name.split("/")[0] for name in opened.namelist() if name.endswith("trace.jsonl")}
        events = [
            json.loads(line) for line in opened.read("lane-1/lane-1/trace.jsonl").splitlines()
        ]
    assert traces == {"server", "lane-1", "mina-jack", "mina-phone"}
    assert [fault["name"] for fault in manifest["truth"]["faults"]] == ["server_restarted"]
    (stay,) = manifest["truth"]["at_lane"]
    ((mono_us, true_us, boot),) = manifest["truth"]["clock_offsets_us"]["lane-1"]
    asked = [event for event in events if event["event"] == "charge_asked"]
    assert len(asked) == 2
    for event in asked:
        assert event["boot"] == boot
        at_us = true_us + event["mono_ns"] // 1000 - mono_us
        assert stay["from_true_us"] < at_us < stay["to_true_us"]
