"""Programs in QEMU's or the kernel's place, which end as they may."""

from __future__ import annotations

import sys

from fieldkit.car.kernel import Kernel
from fieldkit.car.run import Run

#: Reads its shared folder from the command line, as QEMU does.
_STAND_IN = """\
#!{python}
import os, pathlib, signal, sys, time
shares = [word for word in sys.argv if word.startswith("local,path=")]
car = pathlib.Path(shares[0].split("path=")[1].split(",mount_tag")[0].replace(",,", ","))
console = car / "console.log"
{ending}
"""


#: Reads what it shares from the command line, as the kernel does.
_KERNEL = """\
#!{python}
import os, pathlib, signal, subprocess, sys, time
told = dict(word.split("=", 1) for word in sys.argv if "=" in word)
car = pathlib.Path(told["CAR_FOLDER"])
pathlib.Path(told["ubd0"].split(",")[0]).write_text("what the guest wrote")
{ending}
"""


def ends(run: Run, ending: str) -> None:
    """From now on the machine ends like this."""
    program = run.folder.parent / "qemu-system-x86_64"
    program.write_text(_STAND_IN.format(python=sys.executable, ending=ending))
    program.chmod(0o755)


def in_user_mode(run: Run, ending: str) -> Run:
    """The run with a kernel that ends like this."""
    kernel = Kernel(run.folder.parent / "kernel")
    kernel.folder.mkdir()
    kernel.program.write_text(_KERNEL.format(python=sys.executable, ending=ending))
    kernel.program.chmod(0o755)
    folder = run.folder.parent / "run"
    folder.mkdir()
    return Run(run.image, folder, run.deadline_s, kernel=kernel)
