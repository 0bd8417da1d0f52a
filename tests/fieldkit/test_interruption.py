"""A command that is interrupted stops all that it began, and leaves no folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from fieldkit.interruption import sigterm_as_ctrl_c
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from tests.fieldkit.test_demo import DEADLINE_S, children

INTERRUPTIONS = [signal.SIGTERM, signal.SIGINT]


#: What a script's shell does to what it runs in the background.
INT_IGNORED = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")


def start(temporary: Path, *arguments: str, by: Sequence[str] = ()) -> subprocess.Popen[str]:
    """``by``: the command that starts it, of none unless it is given."""
    return subprocess.Popen(
        [*by, sys.executable, "-m", "fieldkit", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )


def interrupt(
    command: subprocess.Popen[str], moment: str, how: signal.Signals
) -> list[psutil.Process]:
    """As soon as it has told of ``moment``; what was running."""
    assert command.stderr
    said = ""
    while moment not in (line := command.stderr.readline()):
        said += line
        assert line, said
    running = children(command)
    command.send_signal(how)
    return running


def assert_nothing_left(
    command: subprocess.Popen[str], running: list[psutil.Process], temporary: Path
) -> None:
    _, said = command.communicate(timeout=DEADLINE_S)
    assert command.returncode == 1, said
    assert "everything was stopped" in said
    assert running
    _, alive = psutil.wait_procs(running, timeout=10)
    assert alive == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_a_bench_that_is_interrupted_leaves_nothing(temporary: Path, how: signal.Signals) -> None:
    with start(temporary, "bench", "latency", "--folder", str(temporary)) as bench:
        assert_nothing_left(bench, interrupt(bench, "payments: 50", how), temporary)


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_a_soak_that_is_interrupted_before_it_begins_leaves_nothing(
    temporary: Path, tmp_path: Path, how: signal.Signals
) -> None:
    report = tmp_path / "soak.html"
    with start(temporary, "soak", "--hours", "1", "--report", str(report)) as soak:
        assert_nothing_left(soak, interrupt(soak, "enrolment", how), temporary)
    assert not report.exists()


def test_a_soak_that_is_ended_again_while_it_audits_leaves_nothing(
    temporary: Path, tmp_path: Path
) -> None:
    report = tmp_path / "soak.html"
    with start(temporary, "soak", "--hours", "1", "--report", str(report)) as soak:
        interrupt(soak, "0%: 0 payments", signal.SIGTERM)
        assert_nothing_left(soak, interrupt(soak, "… audit", signal.SIGTERM), temporary)
    assert not report.exists()


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_a_trial_that_is_interrupted_leaves_nothing(
    temporary: Path, tmp_path: Path, how: signal.Signals
) -> None:
    scenario, archive = SCENARIOS_FOLDER / "first-day.toml", tmp_path / "day.trial"
    with start(temporary, "trial", "play", str(scenario), "--out", str(archive)) as trial:
        assert_nothing_left(trial, interrupt(trial, "enrolment", how), temporary)
    assert not archive.exists()


def test_sigterm_ends_also_what_a_script_has_begun_in_the_background(
    temporary: Path, tmp_path: Path
) -> None:
    options = ("soak", "--hours", "1", "--report", str(tmp_path / "soak.html"))
    with start(temporary, *options, by=INT_IGNORED) as soak:
        assert_nothing_left(soak, interrupt(soak, "enrolment", signal.SIGTERM), temporary)


def test_signals_mean_afterwards_what_they_meant_before() -> None:
    was = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        with sigterm_as_ctrl_c():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is was[1]
    finally:
        signal.signal(signal.SIGINT, was[0])
