"""``fieldkit replay`` and ``fieldkit extract`` on the trial that ships with the project."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fieldkit.cli import main
from fieldkit.trials.archive import Trial
from fieldkit.trials.terminal_record import recordings
from tests.payment_device.processes import Device, air
from tests.payment_device.scripted_server import ScriptedServer
from tests.recorded import EXAMPLE, heard_by, heard_in


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def replayed(*arguments: str | Path, folder: Path) -> tuple[Result, dict[str, Any]]:
    file = folder / "replay.json"
    result = run("replay", EXAMPLE, "--json", file, *arguments)
    document: dict[str, Any] = json.loads(file.read_text())
    return result, document


def test_every_decision_of_the_example_comes_out_as_it_was(tmp_path: Path) -> None:
    result, told = replayed(folder=tmp_path)
    assert result.exit_code == 0, result.output
    assert (told["otherwise"], told["not_replayed"]) == (0, 0)
    assert told["same"] == sum(len(lane["decisions"]) for lane in told["lanes"]) > 50
    assert {lane["lane"] for lane in told["lanes"]} == {"lane-1", "pump-3"}


def test_other_rules_decide_otherwise(tmp_path: Path) -> None:
    result, told = replayed("--margin-db", "40", folder=tmp_path)
    assert (result.exit_code, told["changed_rules"]) == (3, {"margin_db": 40.0})
    assert told["otherwise"] > 0
    assert "Otherwise" in result.output
    (tmp_path / "rules.toml").write_text("margin_db = 40\n")
    again, same = replayed("--rules", tmp_path / "rules.toml", folder=tmp_path)
    assert (again.exit_code, same["otherwise"]) == (3, told["otherwise"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--lane", "lane-9"], "There is no terminal lane-9 in it; there are: lane-1, pump-3."),
        (["--margin-db", "-1"], "must not be negative"),
        (["--to-air", "127.0.0.1:1", "--lane", "lane-1"], "start one: fieldkit air PLAN.toml"),
        (["--to-air", "nonsense", "--lane", "lane-1"], "start one: fieldkit air PLAN.toml"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], told: str) -> None:
    result = run("replay", EXAMPLE, *arguments)
    assert result.exit_code == 1
    assert told in result.output


def test_one_lane_goes_to_the_air(tmp_path: Path) -> None:
    result = run("replay", EXAMPLE, "--to-air", "127.0.0.1:1")
    assert result.exit_code == 2
    assert "--lane lane-1 or pump-3" in result.output


def test_a_recording_without_adverts_is_not_guessed_about(tmp_path: Path) -> None:
    with zipfile.ZipFile(EXAMPLE) as opened:
        opened.extractall(tmp_path)
    for file in tmp_path.rglob("adverts*"):
        file.unlink()
    manifest = json.loads((tmp_path / "trial.json").read_text())
    manifest["files"] = {n: told for n, told in manifest["files"].items() if "adverts" not in n}
    (tmp_path / "trial.json").write_text(json.dumps(manifest))
    result = run("replay", tmp_path)
    assert result.exit_code in (0, 1)
    assert "the adverts before it were not recorded" in " ".join(result.output.split())


def charged() -> str:
    """A payment whose jack was chosen."""
    decisions = [d for r in recordings(Trial.open(EXAMPLE)) for d in r.decisions]
    return next(str(d.payment) for d in decisions if d.payment and d.answer.jack)


def test_an_extracted_payment_is_a_test_that_runs(tmp_path: Path) -> None:
    payment = charged()
    result = run("extract", EXAMPLE, payment, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "With the code of today the test passes" in result.output
    (module,) = tmp_path.glob("test_*.py")
    others = {
        p["payment"] for p in json.loads(module.with_suffix(".json").read_text())["decisions"]
    }
    assert others <= {payment, None}
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module)]
    assert subprocess.run(line, cwd=tmp_path, check=False).returncode == 0
    root = Path(__file__).parents[3]
    config = ["--config", str(root / "pyproject.toml"), str(module)]
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, *config]
        assert subprocess.run(ruff, check=False).returncode == 0


def test_what_is_wanted_may_differ_from_what_happened(tmp_path: Path) -> None:
    result = run("extract", EXAMPLE, charged(), "--out", tmp_path, "--expect", "none")
    assert (result.exit_code, "the test fails" in result.output) == (3, True)
    (module,) = tmp_path.glob("test_*.py")
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(module)]
    assert subprocess.run(line, cwd=tmp_path, check=False, capture_output=True).returncode == 1


def test_that_the_lane_was_not_what_went_wrong_is_told(tmp_path: Path) -> None:
    failed, paid = ended("declined"), ended("captured")
    for payment, told in ((failed, True), (paid, False)):
        result = run("extract", EXAMPLE, payment, "--out", tmp_path)
        assert result.exit_code == 0, result.output
        assert ("The payment was declined after that" in result.output) is told


def ended(status: str) -> str:
    """A payment that ended so."""
    settled = (
        event
        for record in Trial.open(EXAMPLE).agents
        for event in record.events
        if event.event == "payment_settled" and event.fields["status"] == status
    )
    return str(next(settled).payment)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["nobody"], 1, "No terminal recorded a decision for payment nobody."),
        (["nobody", "--expect", "chosen"], 2, "write chosen:HANDLE, ambiguous or none"),
    ],
)
def test_no_test_of_what_is_not_there(
    tmp_path: Path, arguments: list[str], exit_code: int, told: str
) -> None:
    result = run("extract", EXAMPLE, *arguments, "--out", tmp_path)
    assert (result.exit_code, list(tmp_path.iterdir())) == (exit_code, [])
    assert told in " ".join(result.output.split())


async def test_a_real_terminal_hears_the_trial_again(tmp_path: Path) -> None:
    """Its own recording holds the same codes and levels, in the same order."""
    async with ScriptedServer().running() as server, air() as opened:
        device = Device(tmp_path / "t", f"bumble:{opened.transports['terminal']}")
        await device.enrol(server)
        async with device.running():
            line = ["-m", "fieldkit", "replay", str(EXAMPLE), "--lane", "lane-1", "--speed", "10"]
            line += ["--to-air", opened.control, "--controller", "terminal"]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *line, stderr=subprocess.PIPE
            )
            _, told = await process.communicate()
            assert process.returncode == 0
    sent = heard_in(EXAMPLE, "lane-1")
    assert heard_by(device.state) == sent
    assert told.decode().splitlines() == [
        "waiting until the host of terminal scans …",
        f"sending adverts: {len(sent)} …",
    ]
