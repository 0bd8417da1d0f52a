"""Builds the parts of the virtual car: each once for each set of inputs, then kept.

::

    <cache>/<fingerprint>/     what was made, with its build.log
    <cache>/lock               held while one is built
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from fieldkit.car import packages

#: An older one may be that of another branch.
_KEPT: Final = 2
_SHOWN_LINES: Final = 12
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108
_ON_DISK: Final = Path("/var/tmp")  # noqa: S108
#: Twice what a root file system takes.
_SCRATCH_BYTES: Final = 2 << 30
#: How mmdebstrap and the scripts that it runs say what they begin.
_STEP: Final = re.compile(r"(?:I|car): ([\w ]+)\.\.\.$")

Progress = Callable[[str], None]


class CarError(Exception):
    """The virtual car cannot be built or run. The text is for a person and says what to do."""


class Workshop:
    """One build, in a folder of its own. ``progress`` is told each step."""

    def __init__(self, folder: Path, log: IO[str], progress: Progress) -> None:
        self.folder = folder
        self.progress = progress
        self._log = log

    def run(self, failure: str, command: Sequence[str]) -> None:
        """Run a program in the folder to its end. CarError begins with ``failure``."""
        environment = os.environ | {
            "PATH": packages.host_path(os.environ),
            "TMPDIR": str(_scratch()),
            "LC_ALL": "C.UTF-8",
        }
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        with process as running:
            lines = list(self._listen(running.stdout))
        if process.returncode:
            shown = "\n".join(f"  {line}" for line in lines[-_SHOWN_LINES:])
            raise CarError(f"{failure} ({command[0]}: exit code {process.returncode}):\n{shown}")

    def _listen(self, output: IO[str] | None) -> Iterator[str]:
        for line in output or ():
            self._log.write(line)
            if step := _STEP.match(line):
                self.progress(f"Debian {packages.SUITE}: {step[1]}")
            yield line.rstrip()


def cache(part: str) -> Path:
    """The folder where what was made of a part is kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cigarjack" / part


def files_digest(folder: Path) -> bytes:
    """What the names and contents of a folder's files come to."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.digest()


def made(
    kept: Path, fingerprint: str, progress: Progress, make: Callable[[Workshop], None]
) -> Path:
    """The folder in ``kept`` of that fingerprint, made if need be. Raises CarError.

    When it is interrupted, nothing is left behind.
    """
    kept.mkdir(parents=True, exist_ok=True)
    finished = kept / fingerprint
    with _alone(kept, progress):
        if not finished.is_dir():
            _make(finished, progress, make)
            forget_old(finished)
    return finished


def _make(finished: Path, progress: Progress, make: Callable[[Workshop], None]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="building-", dir=finished.parent))
    try:
        with (folder / "build.log").open("w", encoding="utf-8") as log:
            make(Workshop(folder, log, progress))
        folder.chmod(0o755)
        folder.rename(finished)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def forget_old(newest: Path) -> None:
    """Remove what no recent inputs want. A machine that still runs on one keeps its files."""
    others = sorted(
        (folder for folder in newest.parent.iterdir() if folder.is_dir() and folder != newest),
        key=lambda folder: folder.stat().st_mtime,
        reverse=True,
    )
    for folder in others[_KEPT - 1 :]:
        shutil.rmtree(folder)


@contextmanager
def _alone(kept: Path, progress: Progress) -> Iterator[None]:
    """Let one build run at a time."""
    with (kept / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another build")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _scratch() -> Path:
    """Where a root file system is unpacked: in memory where there is enough, which is twice as
    quick as a busy disk. Packages run their own programs there, so it must allow them to.
    """
    memory = os.statvfs(_IN_MEMORY)
    roomy = memory.f_bavail * memory.f_frsize >= _SCRATCH_BYTES and _free_memory_bytes() >= (
        2 * _SCRATCH_BYTES
    )
    return _ON_DISK if memory.f_flag & os.ST_NOEXEC or not roomy else _IN_MEMORY


def _free_memory_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
