"""The car under QEMU, with Debian's kernel as packaged: by KVM, or with an emulated processor."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fieldkit.car import packages
from fieldkit.car.image import TREE
from fieldkit.car.run import CONSOLE, Run
from fieldkit.process import killed_with_parent

#: Overrides the choice of what the car runs on; QEMU's word for it.
ACCELERATOR_VARIABLE: Final = "FIELDKIT_CAR_ACCELERATOR"
KVM: Final = "kvm"

_QEMU: Final = "qemu-system-x86_64"
_KVM_DEVICE: Final = Path("/dev/kvm")
_EMULATION: Final = "tcg"
#: Emulated, each instruction takes a nanosecond of the guest's time, however long the host takes,
#: and waiting takes as long as it does. So a busy host makes no agent late.
_TIME_OF_EMULATION: Final = ("-icount", "shift=0")
#: A second where KVM works at all.
_KVM_TRIAL_S: Final = 10.0
#: A program to boot, ``mov al, 0x10; out 0xf4, al; hlt``: QEMU ends with twice that, and one.
_TRIAL_SECTOR: Final = b"\xb0\x10\xe6\xf4\xf4".ljust(510, b"\0") + b"\x55\xaa"
#: The BIOS boots from none of a sector.
_TRIAL_DISK_BYTES: Final = 1 << 20
_TRIAL_CODE: Final = 2 * 0x10 + 1
LOG: Final = "qemu.log"
TERMINAL: Final = "/dev/hvc0"
_PANIC: Final = "Kernel panic"

#: ``quiet`` and ``panic``: a panicking guest ends at once, and says why on the console. A kernel
#: that has damaged itself panics too: what tests find in it afterwards is worth nothing.
_KERNEL_ARGUMENTS: Final = "console=ttyS0 quiet oops=panic panic=-1 mitigations=off"
#: Emulated, the time stamp counter is the host's for both processors, but the kernel cannot know.
#: Without it each look at the clock, of which an agent has thousands, is one at an emulated chip.
_CLOCK_OF_EMULATION: Final = "clocksource=tsc tsc=reliable"
#: Emulated, newer instructions (AVX2, BMI2) make cryptography take two to four times as long.
_EMULATED_PROCESSOR: Final = "Nehalem"
#: Emulated, a second processor makes everything a fifth dearer and nothing quicker.
_EMULATED_PROCESSORS: Final = 1
_PROCESSORS: Final = 2
_MEMORY_MIB: Final = 2048
_MACHINE: Final = (
    *("-machine", "q35", "-no-reboot"),
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
#: Lines of a shell script in the guest that lead to its output.
TO_OUTPUT: Final = """\
until port=$(grep -lx car.output /sys/class/virtio-ports/*/name); do sleep 0.1; done 2>/dev/null
exec </dev/null >"/dev/$(basename "$(dirname "$port")")" 2>&1
"""


def job(run: Run) -> Sequence[str]:
    """The command line of a run whose standard output is the guest's."""
    return _command_line(run, _OUTPUT_PORT)


def console(run: Run) -> Sequence[str]:
    """The command line of a run whose terminal is the guest's."""
    return _command_line(run, _CONSOLE)


def accelerator() -> str:
    """The one that was asked for; else KVM where it works, or emulation."""
    asked = os.environ.get(ACCELERATOR_VARIABLE)
    return asked or (KVM if _kvm_works() else _EMULATION)


@functools.cache
def _kvm_works() -> bool:
    """A /dev/kvm alone says little: inside another virtual machine it may open and then fail."""
    if not os.access(_KVM_DEVICE, os.R_OK | os.W_OK):
        return False
    with tempfile.NamedTemporaryFile(prefix="cigarjack-kvm-") as disk:
        disk.write(_TRIAL_SECTOR)
        disk.truncate(_TRIAL_DISK_BYTES)
        trial = (
            *(_QEMU, *_MACHINE, "-accel", KVM, "-cpu", "max", "-m", "64"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
            *("-drive", f"file={_escaped(Path(disk.name))},format=raw,if=ide"),
        )
        try:
            tried = subprocess.run(
                trial,
                env=environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_KVM_TRIAL_S,
                check=False,
                preexec_fn=killed_with_parent,
            )
        except subprocess.TimeoutExpired:
            return False
    return tried.returncode == _TRIAL_CODE


def panicked(console: Path) -> bool:
    """Whether a kernel has said so."""
    return console.exists() and _PANIC in console.read_text(encoding="utf-8", errors="replace")


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill it unless it has ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


def environment() -> dict[str, str]:
    """In which the programs of a machine are found."""
    return os.environ | {"PATH": packages.host_path(os.environ)}


def _command_line(run: Run, talk: Sequence[str]) -> Sequence[str]:
    image, chosen = run.image, accelerator()
    disk = f"file={_escaped(image.disk)},if=virtio,format=raw,snapshot=on"
    emulated = chosen.startswith("tcg")
    clock, time = (_CLOCK_OF_EMULATION, _TIME_OF_EMULATION) if emulated else ("", ())
    kept = ("-drive", f"file={_escaped(run.disk)},if=virtio,format=raw") if run.disk else ()
    model = _EMULATED_PROCESSOR if emulated else "max"
    processors = _EMULATED_PROCESSORS if emulated else _PROCESSORS
    return (
        *(_QEMU, *_MACHINE, "-accel", chosen, "-cpu", model, "-smp", str(processors)),
        *("-m", str(_MEMORY_MIB), *time),
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs)),
        *("-append", f"{_KERNEL_ARGUMENTS} {clock}".rstrip(), "-drive", disk),
        *kept,
        *("-serial", f"file:{_escaped(run.folder / CONSOLE)}"),
        *("-device", "virtio-serial", *talk),
        *("-virtfs", _share(run.folder, "car")),
        *("-virtfs", f"{_share(TREE, 'tree')},readonly=on"),
    )


def _share(folder: Path, tag: str) -> str:
    return f"local,path={_escaped(folder)},mount_tag={tag},security_model=none"


def _escaped(path: Path) -> str:
    """A comma ends a value of QEMU's options unless it is doubled."""
    return str(path).replace(",", ",,")
