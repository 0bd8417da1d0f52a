"""Boots the virtual car under QEMU, lets it run one job, and returns the job's exit code.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit.car import packages
from fieldkit.car.image import TREE, CarError, Image
from fieldkit.process import die_with_parent, killed_with_parent

#: The folder of a run, as the guest sees it.
GUEST_FOLDER: Final = "/car"
#: The file in it that is run, which every run has.
JOB: Final = "job"
_PACKAGES: Final = (
    *("twochannel", "cigarjack", "payment_device", "phone_agent", "server", "fieldkit"),
)
_QEMU: Final = "qemu-system-x86_64"
_KVM: Final = Path("/dev/kvm")
_EMULATION: Final = "tcg,thread=multi"
#: Overrides the choice between KVM and emulation.
ACCELERATOR_VARIABLE: Final = "FIELDKIT_CAR_ACCELERATOR"
#: A kernel that finds no disk gives up within a second where KVM works at all.
_KVM_TRIAL_S: Final = 10.0

#: A job that says nothing for longer than a person waits has hung.
DEADLINE_S: Final = 1800.0
_MEMORY_MIB: Final = 2048
_SHOWN_LINES: Final = 15
_CHUNK_BYTES: Final = 1 << 16
_PANIC: Final = "Kernel panic"
#: ``quiet`` and ``panic``: a panicking guest ends QEMU at once, and says why on the console. A
#: kernel that has damaged itself panics too: what tests find in it afterwards is worth nothing.
_KERNEL_ARGUMENTS: Final = "console=ttyS0 quiet oops=panic panic=-1 mitigations=off"
#: Emulated, the time stamp counter is the host's for both processors, but the kernel cannot know.
#: Without it each look at the clock, of which an agent has thousands, is one at an emulated chip.
_CLOCK_OF_EMULATION: Final = "clocksource=tsc tsc=reliable"
#: Emulated, a second processor makes everything a fifth dearer and nothing quicker.
_EMULATED_PROCESSORS: Final = 1
_PROCESSORS: Final = 2

#: The agents ask for their version, which an installation would have left beside them.
_WORK_TREE: Final = """\
cd /opt/cigarjack
version=$(sed -n 's/^version = "\\(.*\\)"$/\\1/p' pyproject.toml)
mkdir -p "cigarjack-$version.dist-info"
printf 'Metadata-Version: 2.1\\nName: cigarjack\\nVersion: %s\\n' "$version" \\
  > "cigarjack-$version.dist-info/METADATA"
"""
_JOB_HEAD: Final = f"""\
#!/bin/sh
until port=$(grep -lx car.output /sys/class/virtio-ports/*/name); do sleep 0.1; done 2>/dev/null
exec </dev/null >"/dev/$(basename "$(dirname "$port")")" 2>&1
{_WORK_TREE}"""
_SHELL: Final = f"""\
#!/bin/sh
until [ -e /dev/hvc0 ]; do sleep 0.1; done
{_WORK_TREE}\
exec </dev/hvc0 >/dev/hvc0 2>&1
stty rows {{rows}} cols {{columns}}
TERM={{terminal}} exec setsid --ctty --wait bash --login
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the car: what it boots, and the folder it shares.

    ``disk``: a raw image of the caller's, /dev/vdb in the guest, that keeps what is written.
    """

    image: Image
    folder: Path
    deadline_s: float | None = DEADLINE_S
    disk: Path | None = None


def on_stdout(output: bytes) -> None:
    """Pass on what a job says."""
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


async def run_job(run: Run, script: str, tell: Callable[[bytes], None] = on_stdout) -> int:
    """Run a shell script in the guest; its exit code. ``tell`` gets what it says, as it comes.

    Raises CarError if the guest did not come to an end of its own. Nothing outlives this call.
    """
    _write_job(run.folder, _JOB_HEAD + script)
    accelerator = await choose_accelerator(run.image, run.folder)
    with (run.folder / "qemu.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *_command_line(run, accelerator, _OUTPUT_PORT),
            env=_environment(),
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
            f"ended.\n{_end_of(run.folder / 'console.log')}"
        ) from None
    finally:
        await _end(process)
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
    _write_job(run.folder, _SHELL.format(rows=rows, columns=columns, terminal=terminal))
    accelerator = await choose_accelerator(run.image, run.folder)
    with (run.folder / "qemu.log").open("wb") as log, _terminal_as_it_was():
        process = await asyncio.create_subprocess_exec(
            *_command_line(run, accelerator, _CONSOLE),
            env=_environment(),
            stderr=log,
            # In the group of the terminal, or it could not read: each key is the guest's.
            preexec_fn=killed_with_parent,
        )
        try:
            await process.wait()
        finally:
            await _end(process)
    return _outcome(run.folder, process.returncode or 0)


async def choose_accelerator(image: Image, folder: Path) -> str:
    """KVM where it runs this kernel, else emulation. A /dev/kvm alone says little: inside another
    virtual machine it may open and then fail.
    """
    if chosen := os.environ.get(ACCELERATOR_VARIABLE):
        return chosen
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return _EMULATION
    console = folder / "kvm-trial.log"
    trial = await asyncio.create_subprocess_exec(
        *(_QEMU, *_MACHINE, "-accel", "kvm", "-m", "256", "-kernel", str(image.kernel)),
        *("-append", _KERNEL_ARGUMENTS, "-serial", f"file:{_escaped(console)}"),
        env=_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(trial.wait(), _KVM_TRIAL_S)
    await _end(trial)
    # Without a disk to boot from, a panic is how far a working kernel comes.
    return "kvm" if _PANIC in _text(console) else _EMULATION


_MACHINE: Final = (
    *("-machine", "q35", "-cpu", "max", "-no-reboot"),
    *("-nodefaults", "-no-user-config", "-display", "none"),
)
#: A port takes bytes as they are, and needs no input: at the end of it QEMU would close the port.
_OUTPUT_PORT: Final = (
    *("-chardev", "file,id=here,path=/dev/stdout"),
    *("-device", "virtserialport,chardev=here,name=car.output"),
)
#: A console is a terminal: each key is the guest's.
_CONSOLE: Final = (
    *("-chardev", "stdio,id=here,signal=off"),
    *("-device", "virtconsole,chardev=here"),
)


def _command_line(run: Run, accelerator: str, talk: Sequence[str]) -> Sequence[str]:
    image = run.image
    disk = f"file={_escaped(image.disk)},if=virtio,format=raw,snapshot=on"
    emulated = accelerator == _EMULATION
    clock = _CLOCK_OF_EMULATION if emulated else ""
    kept = ("-drive", f"file={_escaped(run.disk)},if=virtio,format=raw") if run.disk else ()
    processors = _EMULATED_PROCESSORS if emulated else _PROCESSORS
    return (
        *(_QEMU, *_MACHINE, "-accel", accelerator, "-smp", str(processors)),
        *("-m", str(_MEMORY_MIB)),
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs)),
        *("-append", f"{_KERNEL_ARGUMENTS} {clock}".rstrip(), "-drive", disk),
        *kept,
        *("-serial", f"file:{_escaped(run.folder / 'console.log')}"),
        *("-device", "virtio-serial", *talk),
        *("-virtfs", _share(run.folder, "car")),
        *("-virtfs", f"{_share(TREE, 'tree')},readonly=on"),
    )


def _share(folder: Path, tag: str) -> str:
    return f"local,path={_escaped(folder)},mount_tag={tag},security_model=none"


def _escaped(path: Path) -> str:
    """A comma ends a value of QEMU's options unless it is doubled."""
    return str(path).replace(",", ",,")


def _environment() -> dict[str, str]:
    return os.environ | {"PATH": packages.host_path(os.environ)}


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


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


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


def _outcome(folder: Path, qemu_code: int) -> int:
    """The exit code that the guest left. Raises CarError if it left none."""
    with contextlib.suppress(FileNotFoundError):
        return int((folder / "exit").read_text(encoding="ascii"))
    console = folder / "console.log"
    if _PANIC in _text(console):
        raise CarError(f"The kernel of the virtual car panicked.\n{_end_of(console)}")
    if qemu_code:
        raise CarError(f"QEMU failed ({_reason(qemu_code)}).\n{_end_of(folder / 'qemu.log')}")
    raise CarError(f"The virtual car went off before its job had ended.\n{_end_of(console)}")


def _reason(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _end_of(log: Path) -> str:
    lines = _text(log).splitlines()[-_SHOWN_LINES:]
    return "\n".join((f"The end of {log}:", *(f"  {line.rstrip()}" for line in lines)))
