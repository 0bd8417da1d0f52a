"""What a person and a log see while the doctor works: a real process, a real terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
from twochannel.doctor.steps import accompanied

async def examine(progress):
    progress("Listening", 0.4)
    await asyncio.sleep(0.6)
    progress("Advertising", 60)
    return "found"

print(asyncio.run(accompanied(examine, quiet=sys.argv[1] == "quiet")))
"""


def run(stderr: int, how: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, how], stdout=subprocess.PIPE, stderr=stderr, check=True
    )


@pytest.mark.parametrize("how", ["", "quiet"])
def test_a_person_sees_a_bar(how: str) -> None:
    ours, theirs = pty.openpty()
    try:
        assert run(theirs, how).stdout == b"found\n"
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Listening" in shown
    assert "####" in shown


def test_a_log_gets_a_line_for_each_step_and_a_program_none() -> None:
    assert run(subprocess.PIPE, "").stderr.decode().splitlines() == [
        "Listening (about 0 s) …",
        "Advertising (about 60 s) …",
    ]
    assert run(subprocess.PIPE, "quiet").stderr == b""
