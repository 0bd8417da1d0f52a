"""Every shell script of the project, as ShellCheck reads it; and what deploy/install refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELLCHECK = str(Path(sys.executable).parent / "shellcheck")
SCRIPTS = (
    ".ci/run",
    "deploy/command",
    "deploy/install",
    "fieldkit/car/guest/initramfs-init",
    "fieldkit/car/guest/job",
    "fieldkit/car/guest/prepare.sh",
    "fieldkit/car/guest/profile.sh",
    "tests/container/boot",
    "tests/vectors/eddystone_eid.sh",
)


def test_no_script_is_missing_from_the_list() -> None:
    tracked = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    shells = ("sh", "bash", "dash")
    found = {name for name in tracked if name and _first_line(name).endswith(shells)}
    assert found | {"fieldkit/car/guest/profile.sh"} == set(SCRIPTS)


def _first_line(name: str) -> str:
    file = ROOT / name
    line = file.read_bytes().partition(b"\n")[0] if file.is_file() else b""
    return line.decode("utf-8", "replace") if line.startswith(b"#!") else ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    # profile.sh is read by other scripts and has no first line; where it will be is not here.
    shell = "sh" if script.endswith("profile.sh") else _first_line(script).split()[-1]
    done = subprocess.run(
        [SHELLCHECK, "--exclude=SC1091", f"--shell={Path(shell).name}", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


def install(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "deploy" / "install"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_help_names_every_party_and_option() -> None:
    said = install("--help").stdout
    for word in (
        "jack",
        "terminal",
        "phone",
        "server",
        "uninstall",
        "--purge",
        "--radio",
        "Stripe",
    ):
        assert word in said


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["jakc"], 'no party "jakc"'),
        (["uninstall", "jakc"], 'no party "jakc"'),
        (["jack", "--rado", "bluez"], "no option --rado"),
        (["jack", "--radio"], "--radio needs a value"),
        (["jack", "server", "phone", "--radio", "bluez"], "each with a --radio of its own"),
    ],
)
def test_what_was_not_meant_is_refused_before_anything_is_done(
    arguments: list[str], answer: str
) -> None:
    done = install(*arguments)
    assert done.returncode == 1
    assert answer in done.stderr
    assert done.stdout == ""


def test_without_a_party_it_tells_how_it_is_used() -> None:
    done = install()
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: deploy/install PARTY")
