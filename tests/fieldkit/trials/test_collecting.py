"""Collecting what machines recorded: by a real rsync over a real SSH server, or carried."""

from __future__ import annotations

import json
import os
import random
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fieldkit.cli import main
from fieldkit.trials.archive import Trial
from tests.sshd import Machine
from twochannel.ring import Keep, pieces
from twochannel.trace import Trace, boot_id

PARTIES = {"server": "server", "jack": "jack", "phone": "phone", "lane-1": "terminal"}
SECRET = "state.sqlite3"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cigarjack" / "trials" / "monday"


@pytest.fixture
def states(tmp_path: Path) -> Path:
    """What four agents keep in their state folders; the terminal's trace has four pieces."""
    for agent, party in PARTIES.items():
        write(tmp_path / "states" / agent, party, 1)
        (tmp_path / "states" / agent / SECRET).write_text("not for anybody")
    rounds = 4
    for number in range(1, rounds):
        turn(tmp_path / "states" / "lane-1", number)
        write(tmp_path / "states" / "lane-1", "terminal", 100)
    return tmp_path / "states"


def write(state: Path, party: str, lines: int) -> None:
    with Trace(party, state / "trace.jsonl", boot="b", keep=Keep()) as trace:
        for number in range(lines):
            trace.event("agent_started" if number == 0 else "code_heard", number=number)


def turn(state: Path, number: int) -> None:
    (state / "trace.jsonl").rename(state / f"trace.{number:06}.jsonl")


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return sorted(opened.namelist())


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.sshd
class TestBySsh:
    @pytest.fixture
    def bench(self, tmp_path: Path, states: Path, machine: Machine) -> Path:
        def host(table: str, agent: str) -> str:
            return (
                f"[{table}]\nssh = {json.dumps(machine.target)}\n"
                f"ssh_options = {json.dumps(machine.options)}\n"
                f"state = {json.dumps(str(states / agent))}\n"
            )

        tables = {agent: agent for agent in ("server", "jack", "phone")}
        text = "".join(map(host, tables, tables)) + host("terminals.lane-1", "lane-1")
        (tmp_path / "bench.toml").write_text(text)
        return tmp_path / "bench.toml"

    def test_it_becomes_one_archive(self, tmp_path: Path, bench: Path) -> None:
        archive = tmp_path / "monday.trial"
        done = run("collect", "monday", "--bench", bench, "--out", archive, "--json")
        assert done.exit_code == 0, done.output
        trial = Trial.open(archive)
        assert (trial.name, archive.stat().st_mode & 0o777) == ("monday", 0o600)
        assert {record.agent: record.party for record in trial.agents} == PARTIES
        by_agent = {record.agent: len(record.events) for record in trial.agents}
        assert by_agent == {"server": 1, "jack": 1, "phone": 1, "lane-1": 301}
        assert names(archive) == sorted(
            [
                "trial.json",
                *(f"{agent}/{agent}/trace.000001.jsonl" for agent in PARTIES),
                *(f"lane-1/lane-1/trace.{number:06}.jsonl" for number in (2, 3, 4)),
            ]
        )

    def test_a_further_car_is_carried_beside_the_bench(
        self, tmp_path: Path, bench: Path, states: Path
    ) -> None:
        carried: list[str | Path] = []
        for machine, party in {"red-kia": "jack", "red-kia-phone": "phone"}.items():
            write(tmp_path / machine / party, party, 2)
            state = tmp_path / machine / party
            done = run("bundle", "--state", state, "--machine", machine, "--out", tmp_path)
            assert done.exit_code == 0, done.output
            carried += ["--from", tmp_path / f"{machine}.part"]
        archive = tmp_path / "monday.trial"
        done = run("collect", "monday", "--bench", bench, *carried, "--out", archive)
        assert done.exit_code == 0, done.output
        by_machine = {r.machine: (r.agent, len(r.events)) for r in Trial.open(archive).agents}
        assert by_machine.keys() == {*PARTIES, "red-kia", "red-kia-phone"}
        assert (by_machine["jack"], by_machine["red-kia"]) == (("jack", 1), ("jack", 2))

    def test_it_goes_on_where_it_was_interrupted(
        self, tmp_path: Path, bench: Path, states: Path, cache: Path
    ) -> None:
        archive = tmp_path / "monday.trial"
        assert run("collect", "monday", "--bench", bench, "--out", archive).exit_code == 0
        here = cache / "lane-1"
        whole, cut = here / "trace.000002.jsonl", here / "trace.000003.jsonl"
        kept = whole.stat()
        cut.write_bytes(cut.read_bytes()[:1000])
        # Meanwhile the ring has turned: what was written last has a number now.
        turn(states / "lane-1", 4)
        write(states / "lane-1", "terminal", 7)
        assert run("collect", "monday", "--bench", bench, "--out", archive).exit_code == 0
        assert cut.read_bytes() == (states / "lane-1" / cut.name).read_bytes()
        assert (whole.stat().st_ino, whole.stat().st_mtime) == (kept.st_ino, kept.st_mtime)
        (lane,) = [r for r in Trial.open(archive).agents if r.agent == "lane-1"]
        assert len(lane.events) == 308

    def test_a_transfer_that_is_cut_is_gone_on_with(
        self, tmp_path: Path, bench: Path, states: Path, cache: Path
    ) -> None:
        there = states / "lane-1" / "trace.000003.jsonl"
        there.write_text("".join(f"{random.random()}\n" for _ in range(200_000)))
        text, archive = bench.read_text(), tmp_path / "monday.trial"
        cut = json.dumps("timeout --signal=KILL 2 rsync --bwlimit=800")
        bench.write_text(text + f"rsync = {cut}\n")
        done = run("collect", "monday", "--bench", bench, "--out", archive)
        assert done.exit_code == 1
        assert "lane-1 (" in done.output
        here = cache / "lane-1" / there.name
        assert here.stat().st_size > 100_000
        assert there.read_bytes().startswith(here.read_bytes())
        assert there.stat().st_size > here.stat().st_size
        bench.write_text(text)
        assert run("collect", "monday", "--bench", bench, "--out", archive).exit_code == 0
        assert here.read_bytes() == there.read_bytes()

    @pytest.mark.parametrize("more", [b"", b"and more"], ids=["as long", "longer"])
    def test_what_was_spoilt_is_fetched_again(
        self, tmp_path: Path, bench: Path, states: Path, cache: Path, more: bytes
    ) -> None:
        archive = tmp_path / "monday.trial"
        assert run("collect", "monday", "--bench", bench, "--out", archive).exit_code == 0
        spoilt = cache / "lane-1" / "trace.000003.jsonl"
        times, data = spoilt.stat(), spoilt.read_bytes()
        spoilt.write_bytes(b"#" + data[1:] + more)
        os.utime(spoilt, (times.st_atime, times.st_mtime))
        assert run("collect", "monday", "--bench", bench, "--out", archive).exit_code == 0
        assert spoilt.read_bytes() == (states / "lane-1" / spoilt.name).read_bytes()

    def test_what_another_recording_left_here_is_not_mixed_in(
        self, tmp_path: Path, bench: Path, states: Path
    ) -> None:
        archive = tmp_path / "monday.trial"
        assert run("collect", "monday", "--bench", bench, "--out", archive).exit_code == 0
        before = archive.read_bytes()
        for file in (states / "lane-1").glob("trace*"):
            file.unlink()
        write(states / "lane-1", "terminal", 5)
        done = run("collect", "monday", "--bench", bench, "--out", archive)
        assert done.exit_code == 1
        assert "they are of another recording" in done.output
        assert archive.read_bytes() == before
        assert run("collect", "tuesday", "--bench", bench, "--out", archive).exit_code == 0

    def test_a_machine_that_gives_nothing_is_named_and_nothing_is_written(
        self, tmp_path: Path, bench: Path, states: Path, cache: Path
    ) -> None:
        (states / "jack" / "trace.jsonl").unlink()
        bench.write_text(bench.read_text().replace('phone"', 'nowhere"'))
        archive = tmp_path / "monday.trial"
        done = run("collect", "monday", "--bench", bench, "--out", archive)
        assert done.exit_code == 1
        assert "jack: nothing is recorded in" in done.output
        assert "phone (" in done.output
        assert not archive.exists()
        assert len(pieces(cache / "lane-1" / "trace.jsonl")) == 4


def test_parts_are_carried_and_joined(tmp_path: Path, states: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    for machine, agents in {"desk": ["server"], "car": ["jack", "phone"]}.items():
        chosen = [word for agent in agents for word in ("--state", states / agent)]
        done = run("bundle", *chosen, "--machine", machine, "--out", stick)
        assert done.exit_code == 0, done.output
    archive = tmp_path / "monday.trial"
    parts = [word for name in ("desk", "car") for word in ("--from", stick / f"{name}.part")]
    done = run("collect", "monday", *parts, "--out", archive, "--json")
    assert json.loads(done.stdout)["machines"] == ["car", "desk"]
    trial = Trial.open(archive)
    assert [machine["name"] for machine in trial.machines] == ["desk", "car"]
    assert {(r.machine, r.agent, r.party) for r in trial.agents} == {
        ("desk", "server", "server"),
        ("car", "jack", "jack"),
        ("car", "phone", "phone"),
    }
    assert not any(SECRET in name for name in names(archive))


def test_a_part_is_added_to(tmp_path: Path, states: Path) -> None:
    """Each agent by itself, and what has come since; what the ring has forgotten stays."""
    for agent in ("jack", "lane-1"):
        done = run("bundle", "--state", states / agent, "--machine", "pi", "--out", tmp_path)
        assert done.exit_code == 0, done.output
    turn(states / "lane-1", 4)
    write(states / "lane-1", "terminal", 7)
    (states / "lane-1" / "trace.000001.jsonl").unlink()
    done = run("bundle", "--state", states / "lane-1", "--machine", "pi", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    counted = {r.agent: len(r.events) for r in Trial.open(tmp_path / "pi.part").agents}
    assert counted == {"jack": 1, "lane-1": 308}


def test_two_machines_of_one_name_are_not_mixed(tmp_path: Path, states: Path) -> None:
    """Neither in a part, nor in the archive; told apart, both are in it."""
    other = tmp_path / "other" / "lane-1"
    write(other, "terminal", 5)
    sticks = [tmp_path / name for name in ("one", "two")]
    for stick, state in zip(sticks, (states / "lane-1", other), strict=True):
        stick.mkdir()
        assert run("bundle", "--state", state, "--machine", "pi", "--out", stick).exit_code == 0
    before = (sticks[0] / "pi.part").read_bytes()
    refused = run("bundle", "--state", other, "--machine", "pi", "--out", sticks[0])
    assert (refused.exit_code, (sticks[0] / "pi.part").read_bytes()) == (1, before)
    archive = tmp_path / "monday.trial"
    both = [word for stick in sticks for word in ("--from", stick / "pi.part")]
    joined = run("collect", "monday", *both, "--out", archive)
    assert (joined.exit_code, archive.exists()) == (1, False)
    for result in (refused, joined):
        assert "There are two recordings of lane-1 on pi" in result.output
    assert run("bundle", "--state", other, "--machine", "pi-2", "--out", sticks[1]).exit_code == 0
    both = ["--from", sticks[0] / "pi.part", "--from", sticks[1] / "pi-2.part"]
    assert run("collect", "monday", *both, "--out", archive).exit_code == 0


def test_the_clocks_of_a_machine_that_packed_itself_go_with_its_part(
    tmp_path: Path, states: Path
) -> None:
    before = (time.time_ns() // 1_000_000, time.monotonic_ns())
    done = run("bundle", "--state", states / "lane-1", "--machine", "pi", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    after = (time.time_ns() // 1_000_000, time.monotonic_ns())
    archive = tmp_path / "monday.trial"
    assert run("collect", "monday", "--from", tmp_path / "pi.part", "--out", archive).exit_code == 0
    (machine,) = Trial.open(archive).machines
    told = (machine["collected_wall_ms"], machine["collected_mono_ns"])
    # When it was bundled, not when the desk joined it.
    assert all(b <= t <= a for b, t, a in zip(before, told, after, strict=True))
    assert machine["collected_boot"] == boot_id()
    assert [agent["name"] for agent in machine["agents"]] == ["lane-1"]


def test_a_part_that_was_not_copied_whole_is_refused(tmp_path: Path, states: Path) -> None:
    done = run("bundle", "--state", states / "lane-1", "--machine", "m", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    part = tmp_path / "m.part"
    part.write_bytes(part.read_bytes()[:-100])
    archive = tmp_path / "x.trial"
    done = run("collect", "x", "--from", part, "--out", archive)
    assert (done.exit_code, archive.exists()) == (1, False)
    assert "was not copied whole" in done.output


def test_nothing_but_pieces_of_rings_is_taken_from_a_part(tmp_path: Path) -> None:
    agent = {"name": "jack", "party": "jack"}
    manifest = {"format": 1, "trial": "x", "machines": [{"name": "car", "agents": [agent]}]}
    part = tmp_path / "m.part"
    with zipfile.ZipFile(part, "w") as opened:
        opened.writestr("trial.json", json.dumps(manifest))
        opened.writestr("car/jack/../../trace.jsonl", "outside")
        opened.writestr("car/jack/key.pem", "no piece of a ring")
        opened.writestr("car/jack/trace.jsonl", "")
    archive = tmp_path / "x.trial"
    assert run("collect", "monday", "--from", part, "--out", archive).exit_code == 0
    assert names(archive) == ["car/jack/trace.jsonl", "trial.json"]


@pytest.mark.parametrize("name", ["../x", "", ".x", "a b"])
def test_a_name_is_one_of_a_file(name: str, tmp_path: Path) -> None:
    part = tmp_path / "p"
    part.touch()
    assert run("collect", name, "--from", part).exit_code == 2


def test_from_somewhere() -> None:
    done = run("collect", "monday")
    assert (done.exit_code, "--bench bench.toml" in done.output) == (2, True)


def test_nothing_recorded_here(tmp_path: Path) -> None:
    done = run("bundle", "--state", tmp_path, "--out", tmp_path)
    assert (done.exit_code, "Nothing is recorded in" in done.output) == (1, True)
