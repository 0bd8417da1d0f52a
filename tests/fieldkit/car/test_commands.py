"""``fieldkit car`` as it is typed, up to where it would start a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldkit.car.commands import CARS, scripts
from fieldkit.car.image import TREE


def car(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fieldkit", "car", *arguments],
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_help_names_every_command() -> None:
    shown = car("--help")
    assert shown.returncode == 0
    assert all(f"  {name} " in shown.stdout for name in ("build", "run", "shell", "test"))


def test_a_shell_without_a_terminal_is_refused() -> None:
    refused = car("shell")
    assert refused.returncode == 1
    assert "needs a terminal" in refused.stderr


@pytest.mark.parametrize("command", ["build", "run", "test"])
def test_a_host_that_lacks_programs_is_told_what_to_install(command: str, tmp_path: Path) -> None:
    # No program at all is on this PATH; whatever the administrator has, mmdebstrap is not in sbin.
    environment = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    out = ("--out", str(tmp_path / "out")) if command == "run" else ()
    refused = car(command, *out, environment=environment)
    assert refused.returncode == 1
    assert "apt-get install" in refused.stderr
    assert "mmdebstrap" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_journey_that_is_none_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    refused = car("run", "--out", str(tmp_path / "out"), "coffee", "tea")
    assert refused.returncode == 1
    assert "No journey is called tea; it is coffee, refuelling" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "novel.json").touch()
    refused = car("run", "--out", str(tmp_path))
    assert refused.returncode == 1
    assert "holds something else" in refused.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["novel.json"]


def test_tests_of_the_car_are_not_collected_on_a_desk() -> None:
    # What takes long to collect, and is none of either.
    others = ("cigarjack", "journeys", "payment_device", "phone_agent", "server", "twochannel")
    ignored = (f"--ignore=tests/{folder}" for folder in others)
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", *ignored],
        cwd=TREE,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    ).stdout
    assert "tests/fieldkit/car/test_commands.py" in listing
    assert "tests/car/" not in listing
    assert "tests/hardware/" not in listing


@pytest.mark.parametrize(
    ("played", "tested", "expected"),
    [(0, 0, 0), (3, 0, 3), (0, 1, 1), (3, 1, 3), (0, 5, 5)],
    ids=["well", "a journey failed", "a test failed", "both failed", "no test was chosen"],
)
def test_tests_follow_the_journeys_whatever_became_of_those(
    tmp_path: Path, played: int, tested: int, expected: int
) -> None:
    code, ran = carried_out(
        tmp_path, "journeys", f"[ $2 = pytest ] && exit {tested}\nexit {played}"
    )
    assert (code, ran) == (expected, ["fieldkit.car.play", "pytest"])


def carried_out(folder: Path, name: str, program: str, *chosen: str) -> tuple[int, list[str]]:
    """Exit code of what a car does, with a program in Python's place, and which modules it ran."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\necho "$2" >> {folder}/ran\n{program}\n')
    python.chmod(0o755)
    script, environment = (
        scripts(chosen or ("-k", "wifi"))[name],
        {"PATH": f"{folder}:/usr/bin:/bin"},
    )
    ended = subprocess.run(("sh", "-c", script), env=environment, check=False)
    return ended.returncode, (folder / "ran").read_text().split()


def test_every_test_of_the_car_runs_in_one_of_the_cars() -> None:
    run = [test for tests in CARS.values() for test in tests]
    there = (TREE / "tests" / "car").glob("test_*.py")
    assert sorted(run) == sorted(file.stem.removeprefix("test_") for file in there)


def test_tests_that_are_named_run_in_one_car_and_nothing_else_does() -> None:
    named = scripts(("tests/car/test_doctor.py::test_it", "-x"))
    assert "pytest" not in named.pop("journeys")
    assert list(named) == ["tests"]


def test_journeys_alone_are_no_test(tmp_path: Path) -> None:
    """So that a name without a test is told although all journeys ended well."""
    named = ("tests/car/test_doctor.py", "-k", "typo")
    assert carried_out(tmp_path, "journeys", "", *named) == (5, ["fieldkit.car.play"])


def test_all_cars_run_what_is_chosen_otherwise() -> None:
    assert list(scripts(("-k", "wifi"))) == list(CARS)
