"""A shell in the car, at a terminal of its own; a program ends in the machine's place."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import sys
import termios

from fieldkit.car.run import Run
from tests.fieldkit.car.stand_ins import ends

#: Opens a shell on its own terminal, and says how it was left.
_AT_THE_TERMINAL = """\
import asyncio, os, pathlib, sys, termios
from fieldkit.car import machine
from fieldkit.car.image import Image
from fieldkit.car.run import Run
from fieldkit.car.workshop import CarError

folder, image = map(pathlib.Path, sys.argv[1:])
run = Run(Image(image), folder)
before = termios.tcgetattr(0)
try:
    code = asyncio.run(machine.run_shell(run))
except CarError as error:
    print(error)
    code = 99
kept = termios.tcgetattr(0) == before and os.get_blocking(0)
print("the terminal is", "as it was" if kept else "another")
sys.exit(code)
"""


def shell(run: Run, typed: bytes) -> tuple[int, str]:
    """The exit code of a shell at a terminal of its own, and what was to be seen there."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 101))
    hidden = {"LINES", "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_THE_TERMINAL, str(run.folder), str(run.image.folder)],
        env={name: text for name, text in os.environ.items() if name not in hidden}
        | {"TERM": "vt220"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        os.write(ours, typed)
        shown = b"".join(iter(lambda: _read(ours), b""))
        return process.wait(timeout=20), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(terminal: int) -> bytes:
    """What comes next from a terminal; nothing once nobody has it open, or is silent for long."""
    ready, _, _ = select.select([terminal], [], [], 20)
    with contextlib.suppress(OSError):
        return os.read(terminal, 4096) if ready else b""
    return b""


#: A guest that changes the terminal to its own liking, as QEMU does.
_READS = "line = sys.stdin.readline(); import tty, termios; tty.setraw(0, termios.TCSANOW)\n"
_SAYS = "os.set_blocking(0, False); print('the guest read', line.strip(), flush=True)\n"


def test_a_shell_has_the_terminal_until_it_is_left(run: Run) -> None:
    ends(run, f'{_READS}{_SAYS}(car / "exit").write_text("7")')
    code, shown = shell(run, b"look around\n")
    assert code == 7, shown
    assert "the guest read look around" in shown
    assert "the terminal is as it was" in shown
    job = (run.folder / "job").read_text()
    assert "exec </dev/hvc0 >/dev/hvc0 2>&1\nstty rows 33 cols 101\nTERM=vt220 exec" in job


def test_a_shell_whose_machine_is_killed_says_so_on_a_terminal_that_can_be_used(run: Run) -> None:
    ends(run, f"{_READS}{_SAYS}os.kill(os.getpid(), signal.SIGKILL)")
    code, shown = shell(run, b"look around\n")
    assert code == 99, shown
    assert "QEMU failed (SIGKILL)" in shown
    assert "the terminal is as it was" in shown
