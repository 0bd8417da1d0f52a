"""tests/hardware as it is run on a bench, here with four machines that are name spaces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fieldkit.car.image import TREE
from fieldkit.cast import DEMO_CAST, load
from fieldkit.hosts import Bench, BenchError
from fieldkit.journeys import JOURNEYS
from tests.machines import CONTROL, CUT, MEND, Machines

CAST = load(DEMO_CAST)
DEADLINE_S = 400


def bench_toml(machines: Machines, *, moves: bool) -> str:
    """A bench whose car and Wi-Fi it can move and cut, or not."""
    hosts: dict[str, tuple[str, str | None]] = {"server": ("server", None)}
    hosts |= {name: (name, name) for name in ("jack", "phone")}
    hosts |= {f"terminals.{one.name}": ("lane", one.name) for one in CAST.terminals}
    lines = [
        f"[{section}]\n{machines.entry(*host, on_wifi=moves)}" for section, host in hosts.items()
    ]
    lines += ["[car]", 'at = ["lane-1"]']
    if moves:
        lines += [f'air = "{CONTROL}"', "[radios]"]
        lines += [f'{one.name} = "{machines.radio(one.name)}"' for one in CAST.extra_radios]
        lines += ["[wifi]", f"cut = {json.dumps(CUT)}", f"mend = {json.dumps(MEND)}"]
    return "\n".join(lines)


@pytest.mark.sshd
@pytest.mark.machines
@pytest.mark.parametrize("moves", [True, False])
def test_the_same_journeys_on_other_machines(folder: Path, moves: bool) -> None:
    machines = Machines(folder, CAST.air_plan())
    bench = folder / "bench.toml"
    bench.write_text(bench_toml(machines, moves=moves))
    line = [sys.executable, "-m", "pytest", "tests/hardware", "--bench", str(bench)]
    ended = machines.run(line, DEADLINE_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    playable = [journey for journey in JOURNEYS if not Bench.load(bench).lacks(journey)]
    assert f"{len(playable)} passed" in ended.stdout
    assert all(f"{journey.name}: " in ended.stdout for journey in playable)
    if moves:
        assert playable == list(JOURNEYS)
        assert "not played" not in ended.stdout
    else:
        before, _, _ = ended.stdout.partition("collected")
        assert "not played, refuelling: The car is not at pump-3, and nothing" in before
        assert "coffee: captured, ok" in ended.stdout
        assert "wifi-lost: not played. Nothing on this bench cuts the Wi-Fi" in ended.stdout


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
