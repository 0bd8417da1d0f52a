"""Boots the virtual car, lets it run one job, and returns the job's exit code.

The folder of a run is /car in the guest::

    <folder>/
        job            the shell script that is run, as root, by car.service
        exit           its exit code, once it has ended
        console.log    the serial console: kernel and systemd
        journal.log    the guest's journal, if the job failed
        qemu.log       what QEMU had to say
        …              whatever the job leaves there

The image is never written to: each run starts from the same disk. No network of the host reaches
into the guest.
"""

from __future__ import annotations

import asyncio
import compileall
import contextlib
import os
import shlex
import shutil
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from fieldkit.car import packages, qemu
from fieldkit.car.image import TREE
from fieldkit.car.run import CONSOLE, JOB, Run
from fieldkit.car.workshop import CarError
from fieldkit.process import die_with_parent, killed_with_parent

_PACKAGES: Final = (
    *("twochannel", "cigarjack", "payment_device", "phone_agent", "server", "fieldkit"),
)
_SHOWN_LINES: Final = 15
_CHUNK_BYTES: Final = 1 << 16
#: The agents ask for their version, which an installation would have left beside them.
_WORK_TREE: Final = """\
cd /opt/cigarjack
version=$(sed -n 's/^version = "\\(.*\\)"$/\\1/p' pyproject.toml)
mkdir -p "cigarjack-$version.dist-info"
printf 'Metadata-Version: 2.1\\nName: cigarjack\\nVersion: %s\\n' "$version" \\
  > "cigarjack-$version.dist-info/METADATA"
"""
_JOB: Final = "#!/bin/sh\n{to_output}{work_tree}{script}"
_SHELL: Final = """\
#!/bin/sh
until [ -e {device} ]; do sleep 0.1; done
{work_tree}\
exec <{device} >{device} 2>&1
stty rows {rows} cols {columns}
TERM={terminal} exec setsid --ctty --wait bash --login
"""


def on_stdout(output: bytes) -> None:
    """Pass on what a job says."""
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


async def run_job(run: Run, script: str, tell: Callable[[bytes], None] = on_stdout) -> int:
    """Run a shell script in the guest; its exit code. ``tell`` gets what it says, as it comes.

    Raises CarError if the guest did not come to an end of its own. Nothing outlives this call.
    """
    job = _JOB.format(to_output=qemu.TO_OUTPUT, work_tree=_WORK_TREE, script=script)
    _write_job(run.folder, job)
    command = await asyncio.to_thread(qemu.job, run)
    with (run.folder / qemu.LOG).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=qemu.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            preexec_fn=die_with_parent,
        )
    try:
        async with asyncio.timeout(run.deadline_s):
            await _forward(process, tell)
            await process.wait()
    except TimeoutError:
        raise CarError(
            f"The virtual car was switched off after {run.deadline_s:.0f} s, for its job had not "
            f"ended.\n{_end_of(run.folder / CONSOLE)}"
        ) from None
    finally:
        await qemu.end(process)
    return _outcome(run.folder, process.returncode or 0)


async def run_side_by_side(jobs: Mapping[str, tuple[Run, str]]) -> list[int]:
    """Run each job in a machine of its own, all at once; their exit codes.

    What they say comes in whole lines, each behind the name of its job. Raises CarError once all
    have come to an end.
    """
    longest = max(map(len, jobs))
    machines = (
        _run_labelled(run, script, Labelled(f"{name:>{longest}} │ "))
        for name, (run, script) in jobs.items()
    )
    ended = await asyncio.gather(*machines, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in ended if isinstance(outcome, int)]


class Labelled:
    """Passes on whole lines, each behind a label. ``end``: the last one may not be whole."""

    def __init__(self, label: str, pass_on: Callable[[bytes], None] = on_stdout) -> None:
        self._label = label.encode()
        self._pass_on = pass_on
        self._begun = b""

    def tell(self, output: bytes) -> None:
        *lines, self._begun = (self._begun + output).split(b"\n")
        for line in lines:
            self._pass_on(self._label + line + b"\n")

    def end(self) -> None:
        if self._begun:
            self.tell(b"\n")


async def _run_labelled(run: Run, script: str, label: Labelled) -> int:
    try:
        return await run_job(run, script, label.tell)
    finally:
        label.end()


async def run_shell(run: Run) -> int:
    """A shell in the guest on this terminal, until it is left; its exit code. CarError."""
    columns, rows = shutil.get_terminal_size()
    terminal = shlex.quote(os.environ.get("TERM", "linux"))
    _write_job(
        run.folder,
        _SHELL.format(
            device=qemu.TERMINAL,
            work_tree=_WORK_TREE,
            rows=rows,
            columns=columns,
            terminal=terminal,
        ),
    )
    command = await asyncio.to_thread(qemu.console, run)
    with (run.folder / qemu.LOG).open("wb") as log, _terminal_as_it_was():
        process = await asyncio.create_subprocess_exec(
            *command,
            env=qemu.environment(),
            stderr=log,
            # In the group of the terminal, or it could not read: each key is the guest's.
            preexec_fn=killed_with_parent,
        )
        try:
            await process.wait()
        finally:
            await qemu.end(process)
    return _outcome(run.folder, process.returncode or 0)


def _compile_tree() -> None:
    """Compile the work tree for the guest, which takes ten times as long for it.

    The result lies beside the source, as always. A Python that is not the guest's, or that may not
    write there, leaves it to the guest.
    """
    if sys.version_info[:2] == tuple(map(int, packages.PYTHON.split("."))):
        for package in _PACKAGES:
            compileall.compile_dir(TREE / package, quiet=2)


def _write_job(folder: Path, script: str) -> None:
    _compile_tree()
    job = folder / JOB
    job.write_text(script, encoding="utf-8")
    job.chmod(0o755)
    (folder / "exit").unlink(missing_ok=True)


async def _forward(process: asyncio.subprocess.Process, tell: Callable[[bytes], None]) -> None:
    if process.stdout is None:
        raise ValueError("the machine's output is not piped")
    while chunk := await process.stdout.read(_CHUNK_BYTES):
        tell(chunk)


@contextlib.contextmanager
def _terminal_as_it_was() -> Iterator[None]:
    """QEMU changes the terminal's mode and, if it is killed, leaves it so."""
    if not sys.stdin.isatty():
        yield
        return
    mode = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, mode)
        os.set_blocking(sys.stdin.fileno(), True)


def _outcome(folder: Path, code: int) -> int:
    """The exit code that the guest left. Raises CarError if it left none."""
    with contextlib.suppress(FileNotFoundError):
        return int((folder / "exit").read_text(encoding="ascii"))
    console = folder / CONSOLE
    if qemu.panicked(console):
        raise CarError(f"The kernel of the virtual car panicked.\n{_end_of(console)}")
    if code:
        raise CarError(f"QEMU failed ({_reason(code)}).\n{_end_of(folder / qemu.LOG)}")
    raise CarError(f"The virtual car went off before its job had ended.\n{_end_of(console)}")


def _reason(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _end_of(log: Path) -> str:
    lines = _text(log).splitlines()[-_SHOWN_LINES:]
    return "\n".join((f"The end of {log}:", *(f"  {line.rstrip()}" for line in lines)))
