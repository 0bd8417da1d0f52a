"""The machine that measured. It is described, never named."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twochannel.state_folder import UNKNOWN, filesystem_of

#: x86 has the model under the first name, a Raspberry Pi under one of the others.
_MODEL_FIELDS: Final = ("model name", "Model", "Hardware")


@dataclass(frozen=True, slots=True)
class Machine:
    """``cores``: those that this process may use. ``filesystem``: where the agents' state lies."""

    cpu: str
    cores: int
    python: str
    kernel: str
    filesystem: str

    def __str__(self) -> str:
        return (
            f"{self.cores} x {self.cpu}, Python {self.python}, Linux {self.kernel}, "
            f"state on {self.filesystem}"
        )


def describe(folder: Path) -> Machine:
    """This machine, with the file system of ``folder``. Raises OSError where there is no /proc."""
    return Machine(
        cpu=cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        kernel=platform.release(),
        filesystem=filesystem_of(
            folder.resolve(), Path("/proc/self/mounts").read_text(encoding="utf-8")
        ),
    )


def cpu_model(cpuinfo: str) -> str:
    """The model in the text of ``/proc/cpuinfo``."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    return next((fields[name] for name in _MODEL_FIELDS if fields.get(name)), UNKNOWN)
