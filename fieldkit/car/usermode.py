"""The car as a process of the host: the kernel of ``fieldkit.car.kernel`` in user mode.

Its programs are processes of the host too, each of whose system calls the kernel takes over. They
compute as quickly as any, which under an emulated processor is a tenth of that, and wait longer
for the system (docs/virtual-car.md).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fieldkit.car.image import TREE
from fieldkit.car.run import CONSOLE, KERNEL_ARGUMENTS, MEMORY_MIB, Engine, Run
from fieldkit.car.workshop import CarError

#: What the guest has written to its disk, until the run has ended.
WRITTEN: Final = "disk.cow"
_NAME: Final = "user-mode"
#: Where the kernel keeps the guest's memory, where this is a file system in memory.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108
_MIB: Final = 1 << 20
#: All processes of the guest go with the kernel, however that goes.
_ALONE: Final = ("unshare", "--pid", "--fork", "--kill-child")
_AS_ROOT: Final = ("--map-root-user",)
_TO_OUTPUT: Final = """\
exec </dev/null >/dev/tty1 2>&1
stty -opost </dev/tty1
"""


def _command_line(run: Run, talk: str) -> Sequence[str]:
    if run.kernel is None:
        raise ValueError("there is no kernel for user mode")
    _check_memory()
    shared = {"TREE": TREE, "FOLDER": run.folder, "MODULES": run.kernel.modules}
    return (
        *(_ALONE if os.geteuid() == 0 else (*_ALONE, *_AS_ROOT)),
        str(run.kernel.program),
        *(f"mem={MEMORY_MIB}M", f"uml_dir={run.folder}/", f"umid={_NAME}"),
        *(f"ubd0={run.folder / WRITTEN},{run.image.disk}", "root=/dev/ubda", "rw"),
        *("rootfstype=ext2", "init=/usr/local/lib/car/init"),
        *(f"CAR_{name}={_plain(path)}" for name, path in shared.items()),
        *("con0=null,fd:2", f"con1={talk}", "console=tty0"),
        *KERNEL_ARGUMENTS.split(),
    )


def _check_memory() -> None:
    """Raise CarError if the guest would run out of memory that it believes to have."""
    free_mib = (there := os.statvfs(_MEMORY)).f_bavail * there.f_frsize // _MIB
    if free_mib < MEMORY_MIB:
        raise CarError(
            f"The virtual car needs {MEMORY_MIB} MiB in {_MEMORY}, where {free_mib} MiB are free. "
            f"A container gets more with --shm-size={MEMORY_MIB + MEMORY_MIB // 2}m, a host with "
            f"mount -o remount,size=75% {_MEMORY}."
        )


def _plain(path: Path) -> Path:
    """A path as the kernel's command line can hold it. Raises CarError."""
    if set(str(path)) & set(" \t\n\"',"):
        raise CarError(
            f"The virtual car cannot share {path}: it has a space, quote or comma in it."
        )
    return path


ENGINE: Final = Engine(
    name="the kernel in user mode",
    errors=CONSOLE,
    job=lambda run: _command_line(run, "null,fd:1"),
    console=lambda run: _command_line(run, "fd:0,fd:1"),
    to_output=_TO_OUTPUT,
    terminal="/dev/tty1",
)
