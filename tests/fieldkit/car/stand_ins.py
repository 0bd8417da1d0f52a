"""A program in QEMU's place, which ends as it may."""

from __future__ import annotations

import sys

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


def ends(run: Run, ending: str) -> None:
    """From now on the machine ends like this."""
    program = run.folder.parent / "qemu-system-x86_64"
    program.write_text(_STAND_IN.format(python=sys.executable, ending=ending))
    program.chmod(0o755)
