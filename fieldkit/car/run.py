"""One run of the virtual car, and what may run it: QEMU, or the kernel itself in user mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit.car.image import Image
from fieldkit.car.kernel import Kernel

#: The folder of a run, as the guest sees it.
GUEST_FOLDER: Final = "/car"
#: The file in it that is run, which every run has.
JOB: Final = "job"
CONSOLE: Final = "console.log"
MEMORY_MIB: Final = 2048
#: ``quiet`` and ``panic``: a panicking guest ends at once, and says why on the console. A kernel
#: that has damaged itself panics too: what tests find in it afterwards is worth nothing.
KERNEL_ARGUMENTS: Final = "quiet oops=panic panic=-1"

#: A job that says nothing for longer than a person waits has hung.
DEADLINE_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the car: what it boots, and the folder it shares.

    ``kernel``: runs in user mode; QEMU boots the image's own if there is none. ``disk``: a raw
    image of the caller's, /dev/vdb in QEMU's guest, that keeps what is written.
    """

    image: Image
    folder: Path
    deadline_s: float | None = DEADLINE_S
    disk: Path | None = None
    kernel: Kernel | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs a machine.

    ``errors``: the file of a run that gets its standard error. ``job``, ``console``: its command
    line for a run, with its standard output, or a terminal, for the guest. ``to_output``: lines of
    a shell script in the guest that lead there; ``terminal``: the device of it in the guest.
    """

    name: str
    errors: str
    job: Callable[[Run], Sequence[str]]
    console: Callable[[Run], Sequence[str]]
    to_output: str
    terminal: str
