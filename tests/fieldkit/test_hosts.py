"""tests/hardware as it is run on a bench, here with four machines of this loopback."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldkit.car.image import TREE
from fieldkit.cast import DEMO_CAST, load
from fieldkit.hosts import Bench, BenchError
from fieldkit.journeys import JOURNEYS
from fieldkit.venue import air_toml
from tests.sshd import Machine

CAST = load(DEMO_CAST)
ADDRESSES = {name: f"127.0.0.{n}" for n, name in enumerate(("server", "jack", "phone", "lane"), 2)}
DEADLINE_S = 400


def bench_toml(machines: dict[str, Machine], air: dict[str, Any], *, moves: bool) -> str:
    """A bench whose radios are on a virtual air, with a car that it can move or not."""
    hosts = {"server": "server", "jack": "jack", "phone": "phone"}
    hosts |= {f"terminals.{terminal.name}": "lane" for terminal in CAST.terminals}
    lines = []
    for section, name in hosts.items():
        machine, controller = machines[name], section.removeprefix("terminals.")
        radio = air["controllers"].get(controller)
        entry = {"ssh": machine.target, "ssh_options": machine.options}
        entry |= {"python": sys.executable, "address": machine.address}
        entry |= {"radio": f"bumble:{radio}"} if radio else {}
        entry |= {"interfaces": machine.address} if name in ("jack", "phone") else {}
        lines += [f"[{section}]", *(f"{key} = {json.dumps(it)}" for key, it in entry.items())]
    lines += ["[car]", 'at = ["lane-1"]', *([f'air = "{air["control"]}"'] if moves else [])]
    if moves:
        extra = {radio.name: air["controllers"][radio.name] for radio in CAST.extra_radios}
        lines += ["[radios]", *(f'{name} = "bumble:{radio}"' for name, radio in extra.items())]
    return "\n".join(lines)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cj-") as name:
        yield Path(name)


@pytest.fixture
def air(folder: Path) -> Iterator[dict[str, Any]]:
    plan = folder / "air.toml"
    plan.write_text(air_toml(CAST.air_plan()))
    line = [sys.executable, "-m", "fieldkit.air", "--config", str(plan)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        yield json.loads(running.stdout.readline())
        running.terminate()


def play(bench: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pytest", "tests/hardware", "--bench", str(bench)]
    return subprocess.run(
        line, cwd=TREE, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )


@pytest.mark.sshd
@pytest.mark.parametrize("moves", [True, False])
def test_the_same_journeys_on_other_machines(
    folder: Path, air: dict[str, Any], moves: bool
) -> None:
    machines = {name: Machine(folder / name, address) for name, address in ADDRESSES.items()}
    bench = folder / "bench.toml"
    bench.write_text(bench_toml(machines, air, moves=moves))
    with contextlib.ExitStack() as running:
        for machine in machines.values():
            running.enter_context(machine.running())
        ended = play(bench)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    playable = [journey for journey in JOURNEYS if not Bench.load(bench).lacks(journey)]
    assert f"{len(playable)} passed" in ended.stdout
    assert all(f"{journey.name}: " in ended.stdout for journey in playable)
    if moves:
        assert playable == [journey for journey in JOURNEYS if not journey.breaks_wifi]
        assert "wifi-lost: not played. Nothing on this bench cuts the Wi-Fi" in ended.stdout
    else:
        before, _, _ = ended.stdout.partition("collected")
        assert "not played, refuelling: The car is not at pump-3, and nothing" in before
        assert "coffee: captured, ok" in ended.stdout


def test_the_bench_of_the_document_is_one() -> None:
    document = (TREE / "docs" / "bench.md").read_text(encoding="utf-8")
    _, _, block = document.partition("```toml\n")
    bench = Bench.parse(block.partition("```")[0])
    assert [terminal.name for terminal in bench.cast(CAST).terminals] == ["lane-1"]
    playable = {journey.name for journey in JOURNEYS if not bench.lacks(journey)}
    assert {"coffee", "jack-restarted-1970"} <= playable
    assert not {"refuelling", "replayed-code"} & playable


def test_what_a_bench_cannot_play_is_a_sentence() -> None:
    host = "{ssh = 'h'}"
    text = f"server = {host}\njack = {host}\nphone = {host}\nterminals.lane-1 = {host}"
    named = {journey.name: journey for journey in JOURNEYS}
    bench = Bench.parse(text)
    assert bench.lacks(named["refuelling"]) == "There is no pump-3 on this bench."
    assert "The car is not at lane-1, and nothing" in bench.lacks(named["coffee"])
    bench = Bench.parse(text + "\ncar.at = ['lane-1']")
    assert bench.lacks(named["coffee"]) == ""
    assert bench.lacks(named["jack-restarted-1970"]) == "This bench has no radio called sniffer."
    with pytest.raises(BenchError, match="No terminal is called kiosk"):
        Bench.parse(text.replace("lane-1", "kiosk")).cast(CAST)


def test_without_a_bench_it_says_what_is_missing() -> None:
    line = [sys.executable, "-m", "pytest", "tests/hardware"]
    ended = subprocess.run(line, cwd=TREE, capture_output=True, text=True, check=False, timeout=90)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--bench bench.toml" in ended.stderr


def test_what_is_no_bench_is_told_with_every_problem(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as told:
        Bench.parse("[server]\nssh = 3\n[jack]\nssh = 'pi@jack'\nradoi = 'bluez'\n")
    assert {"server.ssh", "jack.radoi", "phone", "terminals"} <= {
        line.partition(":")[0] for line in str(told.value).splitlines()
    }
    with pytest.raises(BenchError, match="not TOML"):
        Bench.parse("[server")
    with pytest.raises(BenchError, match="cannot be read"):
        Bench.load(tmp_path / "none.toml")
