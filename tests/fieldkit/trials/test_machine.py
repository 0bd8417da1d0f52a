"""Simulated machines: what real programs see that are started on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fieldkit.trials.machine import Machine, MachineTrace, why_none
from twochannel.trace import SCHEMA_VERSION

#: A module that tells what its machine is like, line by line as it is asked.
TELLTALE = """
import json, os, sys, time
for _ in sys.stdin:
    seen = {
        "mono_s": time.monotonic(),
        "boottime_s": time.clock_gettime(time.CLOCK_BOOTTIME),
        "wall_s": time.time(),
        "wall_ns": time.time_ns(),
        "clocks": os.readlink("/proc/self/ns/time"),
        "boot": open("/proc/sys/kernel/random/boot_id").read().strip(),
        "arguments": sys.argv[1:],
    }
    print(json.dumps(seen), flush=True)
"""
NEAR_S = 5.0


#: Runs its arguments where the kernel grants no time namespace: root lacks what it takes, and
#: anybody else is in a namespace of users that may have none.
WITHOUT_TIME_NAMESPACES = (
    (
        *("unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-ec"),
        'echo 0 > /proc/sys/user/max_time_namespaces; exec "$@"',
        "sh",
    )
    if os.getuid()
    else ("setpriv", "--bounding-set=-sys_admin")
)


@pytest.fixture
def telltale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "telltale.py").write_text(TELLTALE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(Path.cwd()))))
    return "telltale"


def started(machine: Machine, module: str) -> subprocess.Popen[str]:
    line = (*machine.prefix, sys.executable, "-m", module, "more")
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(running: subprocess.Popen[str]) -> dict[str, object]:
    assert running.stdin
    assert running.stdout
    running.stdin.write("\n")
    running.stdin.flush()
    seen: dict[str, object] = json.loads(running.stdout.readline())
    return seen


def about(value: object, expected: float) -> bool:
    assert isinstance(value, int | float)
    return abs(value - expected) < NEAR_S


def test_a_program_has_the_clocks_and_the_boot_of_its_machine(
    tmp_path: Path, telltale: str
) -> None:
    machine = Machine("pi", tmp_path / "pi", uptime_s=5000.0, wall_off_s=-600.0)
    with started(machine, telltale) as running:
        seen = told(running)
        of_host = str(Path("/proc/self/ns/time").readlink())
        assert seen["clocks"] != of_host
        assert about(seen["mono_s"], 5000.0)
        assert about(seen["boottime_s"], 5000.0)
        assert about(seen["wall_s"], time.time() - 600.0)
        assert about(int(str(seen["wall_ns"])) / 1e9, time.time() - 600.0)
        assert seen["boot"] == machine.boots[0].id
        assert seen["arguments"] == ["more"]
        machine.set_wall_clock(3600.0)
        assert about(told(running)["wall_s"], time.time() + 3600.0)
        assert machine.wall_off_s == 3600.0
        running.send_signal(signal.SIGKILL)


def test_after_a_boot_it_is_another_one_that_began_anew(tmp_path: Path, telltale: str) -> None:
    machine = Machine("pi", tmp_path / "pi", uptime_s=5000.0)
    machine.boot(uptime_s=12.0)
    with started(machine, telltale) as running:
        seen = told(running)
        running.send_signal(signal.SIGKILL)
    assert about(seen["mono_s"], 12.0)
    assert seen["boot"] == machine.boots[1].id != machine.boots[0].id


def test_traces_of_all_boots_are_read_at_the_hosts_times(tmp_path: Path) -> None:
    machine = Machine("pi", tmp_path / "pi", uptime_s=5000.0)
    machine.boot(uptime_s=12.0)
    line = {"v": SCHEMA_VERSION, "party": "jack", "event": "x", "payment": None, "wall_ms": 1}
    now_ns = time.monotonic_ns()
    lines = [
        line | {"mono_ns": now_ns + boot.shift_ns, "boot": boot.id, "clock": "system"}
        for boot in machine.boots
    ]
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    assert [event.mono_ns for event in MachineTrace("a", path, machine).events()] == [now_ns] * 2


def test_this_machine_can_simulate_machines() -> None:
    assert why_none() == ""


def test_without_time_namespaces_there_is_none(tmp_path: Path, telltale: str) -> None:
    machine = Machine("pi", tmp_path / "pi", uptime_s=5.0)
    line = (*WITHOUT_TIME_NAMESPACES, *machine.prefix, sys.executable, "-m", telltale)
    ended = subprocess.run(
        line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    told = "No simulated machine here: the kernel does not grant namespaces of time and mounts.\n"
    assert (ended.returncode, ended.stderr) == (1, told)


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    machine = Machine("pi", tmp_path / "pi", uptime_s=5.0)
    line = (*machine.prefix, sys.executable, "-c", "pass")
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "only modules can be started on a simulated machine" in ended.stderr
