"""What starts a program on a simulated machine (``fieldkit.trials.machine``) of this host.

``python -m fieldkit.trials.inside_machine FOLDER PYTHON -m MODULE …`` becomes that program, with
the clocks and the boot id of the machine that FOLDER describes: a time namespace shifts
CLOCK_MONOTONIC and CLOCK_BOOTTIME, a mount namespace has another boot id, and the wall clock as
Python tells it is shifted by what FOLDER says at that moment. Needs a kernel with time namespaces,
and root, or that it lets everybody make namespaces of users. Imports little, for every agent's
start passes here.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import runpy
import struct
import sys
import time
from pathlib import Path
from typing import Final

#: Nanoseconds by which CLOCK_MONOTONIC and CLOCK_BOOTTIME are shifted, as decimal text.
SHIFT: Final = "monotonic_shift_ns"
#: Nanoseconds by which the wall clock is, 8 bytes: it may be set while programs run.
WALL: Final = "wall_shift"
BOOT_ID: Final = "boot_id"
WALL_FORMAT: Final = struct.Struct("<q")
#: linux/sched.h and linux/mount.h
_NEWNS, _NEWTIME, _NEWUSER = 0x0002_0000, 0x0000_0080, 0x1000_0000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x4_0000
_KERNELS_BOOT_ID: Final = b"/proc/sys/kernel/random/boot_id"
_CLOCKS_OF_CHILDREN: Final = Path("/proc/self/ns/time_for_children")
_NS_PER_S: Final = 1_000_000_000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def enter(folder: Path) -> None:
    """Be on that machine from now on. Raises OSError where the kernel does not grant it."""
    user, group = os.getuid(), os.getgid()
    wanted = _NEWNS | _NEWTIME | (_NEWUSER if user else 0)
    _demand(_LIBC.unshare(wanted), "namespaces of time and mounts")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _shift_clocks(int((folder / SHIFT).read_text()))
    _demand(_LIBC.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mounts of its own")
    source = os.fsencode(folder / BOOT_ID)
    _demand(_LIBC.mount(source, _KERNELS_BOOT_ID, None, _MS_BIND, None), "a boot id of its own")


def _shift_clocks(by_ns: int) -> None:
    seconds, rest_ns = divmod(by_ns, _NS_PER_S)
    offsets = "".join(f"{clock} {seconds} {rest_ns}\n" for clock in ("monotonic", "boottime"))
    Path("/proc/self/timens_offsets").write_text(offsets)
    with _CLOCKS_OF_CHILDREN.open("rb") as namespace:
        _demand(_LIBC.setns(namespace.fileno(), _NEWTIME), "clocks of its own")


def shift_wall_clock(file: Path) -> None:
    """Let Python's ``time`` tell the wall clock of the machine."""
    with file.open("rb") as opened:
        shift = mmap.mmap(opened.fileno(), WALL_FORMAT.size, access=mmap.ACCESS_READ)
    real_ns = time.time_ns

    def wall_ns() -> int:
        (by_ns,) = WALL_FORMAT.unpack_from(shift)
        return real_ns() + int(by_ns)

    clocks = {"time_ns": wall_ns, "time": lambda: wall_ns() / _NS_PER_S}
    for name, clock in clocks.items():
        setattr(time, name, clock)


def _demand(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"the kernel does not grant {what}")


def main() -> None:
    """Arguments: the folder, a Python that is not used, ``-m``, a module, and its arguments."""
    folder, _, option, module, *arguments = sys.argv[1:]
    if option != "-m":
        raise SystemExit("only modules can be started on a simulated machine: -m MODULE")
    try:
        enter(Path(folder))
    except OSError as error:
        raise SystemExit(f"No simulated machine here: {error.strerror}.") from None
    shift_wall_clock(Path(folder) / WALL)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
