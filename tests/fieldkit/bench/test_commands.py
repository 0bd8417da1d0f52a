"""The commands, each run small on real processes. No figure is judged, only what is told."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fieldkit.bench import commands
from fieldkit.bench.server_load import Site
from fieldkit.bench.server_profile import SIGNATURES
from fieldkit.cli import main
from fieldkit.legs import ENDS
from tests.postgresql import Postgresql

_SUMMARY = {"count", "least", "median", "p90", "p95", "most"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="cigarjack-") as made:
        yield Path(made)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def small(folder: Path, name: str, *options: str) -> tuple[str, dict[str, Any]]:
    """Run a bench in ``folder``: what it printed, and the document that it wrote."""
    file = folder / "figures.json"
    result = run(name, *options, "--folder", str(folder), "--json", str(file))
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(file.read_text())
    assert set(document) == {"measured_at", "machine", "benches"}
    assert document["machine"]["cores"] >= 1
    assert document["benches"][name]["cores_of_others"] >= 0
    assert list(folder.iterdir()) == [file], "the state of the agents is gone"
    return result.output, document["benches"][name]


def test_latency_tells_every_leg(folder: Path) -> None:
    printed, told = small(folder, "latency", "-n", "2")
    assert told["command"] == "fieldkit bench latency -n 2"
    assert told["command"] in printed
    figures = told["figures"]
    assert figures["outcomes"] == {"captured": 2}
    assert figures["with_presence"] == 2
    assert set(figures["legs_ms"]) == set(figures["leg_shares"]) == set(ENDS)
    for part in ("command_ms", "agents_ms", "around_ms", "lane_on_air_ms", "lane_heard_ms"):
        assert set(figures[part]) == _SUMMARY
        assert figures[part]["count"] == 2
    assert figures["floors"]["lane_wait_mean_ms"] > 0
    assert figures["floors"]["commit_ms"]["median"] > 0


def test_replay_tells_how_fast_it_is(folder: Path) -> None:
    printed, told = small(folder, "replay", "--rounds", "2")
    assert told["command"] == "fieldkit bench replay --rounds 2"
    assert told["command"] in printed
    figures = told["figures"]
    assert (figures["lanes"], figures["adverts_per_s"]["count"]) == (4, 2)
    assert figures["adverts"] > figures["decisions"] > 1000
    assert figures["times_real"]["least"] > 1


def test_server_tells_the_cost_beside_its_floors(folder: Path) -> None:
    printed, told = small(folder, "server", "--payments", "6", "--concurrency", "2")
    assert told["command"] == "fieldkit bench server --payments 6 --concurrency 2"
    assert told["command"] in printed
    figures = told["figures"]
    assert figures["outcomes"] == {"captured": 6}
    assert (figures["payments"], figures["concurrency"]) == (6, 2)
    assert {name: seen["count"] for name, seen in figures["latency_ms"].items()} == {
        "payment": 6,
        "challenge": 6,
        "confirmation": 6,
    }
    crypto = figures["crypto"]
    floor_ms = 3 * crypto["verify_ms"] + 2 * crypto["sign_ms"]
    assert abs(figures["crypto_floor_ms"] - floor_ms) < 0.001
    assert figures["server_memory"]["rss_mib"] > 0
    assert figures["registry"]["jacks"] == 2, "one for each lane"


def test_server_is_measured_with_jacks_that_never_pay(folder: Path) -> None:
    asked = ("--payments", "6", "--concurrency", "2", "--jacks", "50")
    printed, told = small(folder, "server", *asked)
    assert told["command"] == "fieldkit bench server --payments 6 --concurrency 2 --jacks 50"
    assert told["command"] in printed
    registry = told["figures"]["registry"]
    assert told["figures"]["outcomes"] == {"captured": 6}
    assert registry["jacks"] == 50, "those of the lanes are among them"
    assert registry["ready_s"] > 0
    assert registry["ready_memory"]["rss_mib"] > 0
    assert "MiB when ready" in printed


@pytest.mark.parametrize(
    ("asked", "lanes"),
    [(("--jacks", "15"), 16), (("--jacks", "1", "--payments", "2"), 2)],
)
def test_every_lane_needs_a_jack(asked: tuple[str, ...], lanes: int) -> None:
    refused = run("server", *asked)
    assert refused.exit_code == 2
    assert f"{lanes} lanes pay, each with a jack of its own" in refused.output
    assert f"--jacks {lanes} or more" in " ".join(refused.output.split())
    assert "--concurrency" in refused.output


def test_server_tells_where_its_time_goes(folder: Path) -> None:
    # So many that on a fast machine, too, the 200 looks in a second meet a signature.
    asked = ("--payments", "200", "--concurrency", "4", "--profile")
    printed, told = small(folder, "server", *asked)
    assert told["command"] == "fieldkit bench server --payments 200 --concurrency 4 --profile"
    assert "Where the server's time goes" in printed
    profile = told["figures"]["profile"]
    assert told["figures"]["outcomes"] == {"captured": 200}
    assert profile["samples"] > 0
    assert sum(profile["layers"].values()) == pytest.approx(100, abs=1)
    assert profile["layers"][SIGNATURES] > 0
    assert 0 < profile["functions"][0]["percent"] <= 100


@pytest.mark.peer
def test_server_is_measured_beside_its_peer(folder: Path) -> None:
    asked = ("--payments", "3", "--concurrency", "1", "--peer", "oidc-provider")
    before = os.sched_getaffinity(0)
    printed, told = small(folder, "server", *asked)
    assert os.sched_getaffinity(0) == before
    assert told["command"].endswith("--peer oidc-provider")
    peer = told["figures"]["peer"]
    assert (peer["name"], peer["flows"]) == ("oidc-provider", 3)
    assert peer["rss_mib"] > 0
    assert peer["version"] in printed


@pytest.mark.postgresql
def test_jacks_that_never_pay_are_registered_in_postgresql_too(
    folder: Path, postgresql: Postgresql
) -> None:
    url = postgresql.new_database()
    asked = ("--payments", "6", "--concurrency", "2", "--jacks", "50", "--database", url)
    printed, told = small(folder, "server", *asked)
    assert told["command"].endswith("--database URL --jacks 50")
    assert told["figures"]["outcomes"] == {"captured": 6}
    assert told["figures"]["registry"]["jacks"] == 50
    assert postgresql.password not in printed + json.dumps(told)


@pytest.mark.postgresql
def test_servers_share_a_database(folder: Path, postgresql: Postgresql) -> None:
    url = postgresql.new_database()
    asked = ("--payments", "6", "--concurrency", "2", "--servers", "2", "--database", url)
    printed, told = small(folder, "server", *asked)
    assert told["figures"]["outcomes"] == {"captured": 6}
    assert (told["figures"]["servers"], told["figures"]["database"]) == (2, "postgresql")
    assert postgresql.password not in printed + json.dumps(told)


def test_several_servers_need_a_database_to_share() -> None:
    refused = run("server", "--servers", "2")
    assert refused.exit_code == 2
    assert "--database" in refused.output


def test_streams_tell_memory_of_each_phone(folder: Path) -> None:
    printed, told = small(folder, "streams", "--phones", "20", "--idle-s", "1")
    assert told["command"] == "fieldkit bench streams --phones 20 --idle-s 1"
    figures = told["figures"]
    assert figures["after"]["rss_mib"] >= figures["before"]["rss_mib"]
    assert figures["told_ms"]["count"] == 20
    assert "A challenge reaches one of them" in printed


def test_agents_tell_starts_memory_and_imports(folder: Path) -> None:
    printed, told = small(folder, "agents", "--payments", "1", "--restarts", "1")
    assert told["command"] == "fieldkit bench agents --payments 1 --restarts 1"
    assert told["command"] in printed
    figures = told["figures"]
    assert figures["outcomes"] == {"captured": 1}
    assert (figures["restarts_heard"], figures["clocks_restored"]) == (1, 1)
    agents = {"jack", "phone", "terminal", "server"}
    assert agents == set(figures["ready_ms"]) == set(figures["memory_mib"])
    assert figures["first_advert_ms"]["count"] == 1
    assert all(held["rss_mib"] > 0 for held in figures["memory_mib"].values())
    assert "bumble" in {found["package"] for found in figures["jack_imports"]["slowest"]}


def test_jacks_compares_sizes_of_the_registry(folder: Path) -> None:
    printed, told = small(folder, "jacks", "--jacks", "300", "--jacks", "1")
    assert told["command"] == "fieldkit bench jacks --jacks 300 --jacks 1"
    assert told["command"] in printed
    figures = told["figures"]
    assert [size["jacks"] for size in figures["sizes"]] == [1, 300]
    one, many = figures["sizes"]
    assert one["step_ms"]["count"] == 1
    assert many["step_ms"]["count"] == 4 * 300 // 100 + 1, "a hundred codes a step, four slots"
    assert one["bytes_per_jack"] is None, "less than the kernel counts"
    for size in figures["sizes"]:
        assert size["slot_ms"] > 0
        assert size["look_up_us"]["count"] == size["unknown_us"]["count"] == 1000
    assert figures["identity_key_us"]["least"] > 0


def test_a_size_that_cannot_be_measured_is_a_plain_sentence(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    result = run("jacks", "--jacks", "1", "--folder", str(folder))
    assert result.exit_code == 1
    assert "Nothing was measured: the process with 1 jacks ended with 1." in result.output


def test_all_repeats_every_bench_as_it_is_by_itself() -> None:
    asked = [commands.latency_bench(50), commands.server_bench(Site(500, 16))]
    asked += [commands.agents_bench(100, 5), commands.jacks_bench(commands.JACKS)]
    for one in asked:
        arguments = one.command.removeprefix("fieldkit bench ").split()
        assert run(one.name, "--help").exit_code == 0
        assert arguments[0] == one.name
    assert "All measurements" in run("all", "--help").output


def test_a_folder_that_is_missing_is_a_plain_sentence(tmp_path: Path) -> None:
    result = run("latency", "--folder", str(tmp_path / "missing"))
    assert result.exit_code == 2
    assert "does not exist" in result.output
    assert "Traceback" not in result.output


def test_a_stage_that_fails_is_a_plain_sentence(tmp_path: Path) -> None:
    # A socket's path has at most 108 bytes (unix(7)), so no agent can start in here.
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 5)
    deep.mkdir(parents=True)
    result = run("latency", "-n", "1", "--folder", str(deep))
    assert result.exit_code == 1
    assert "Nothing was measured" in result.output
    assert list(deep.iterdir()) == []
