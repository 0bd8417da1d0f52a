"""The disk of the virtual car, with its kernel: built once for each set of inputs, then kept.

::

    <cache>/<fingerprint>/
        disk.img       the root file system, ext4; never written to, see fieldkit.car.machine
        vmlinuz        Debian's kernel, as packaged
        initramfs
        build.log

The work tree is not part of it, so that a change of code needs no rebuild.
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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from fieldkit.car import packages

#: The work tree: what the guest sees as /opt/cigarjack.
TREE: Final = Path(__file__).parents[2]
_GUEST_FILES: Final = Path(__file__).parent / "guest"
_LOCK_FILE: Final = TREE / "constraints.txt"

_ARCHIVE: Final = "root.tar"
#: Run in the folder of the build. A gibibyte of the disk stays free; its file is sparse. The
#: files in it belong to whom the archive says, hence the removal by the same user. Devices are
#: left out: a user who is not root may not make them, and the kernel makes its own.
_MAKE_DISK: Final = f"""\
trap 'rm -rf root' EXIT
mkdir root
tar -xf {_ARCHIVE} -C root --exclude='./dev/*'
cp root/boot/vmlinuz root/boot/initramfs .
mke2fs -q -t ext4 -m 0 -L car -d root disk.img $(($(du -sm root | cut -f1) * 5 / 4 + 1024))M
"""
#: An older image may be that of another branch.
_IMAGES_KEPT: Final = 2
_SHOWN_LINES: Final = 12
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108
_ON_DISK: Final = Path("/var/tmp")  # noqa: S108
#: Twice what a root file system takes.
_SCRATCH_BYTES: Final = 2 << 30
#: How mmdebstrap and guest/prepare.sh say what they begin.
_STEP: Final = re.compile(r"(?:I|car): ([\w ]+)\.\.\.$")

Progress = Callable[[str], None]


class CarError(Exception):
    """The virtual car cannot be built or run. The text is for a person and says what to do."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.folder / "initramfs"


def check_host() -> None:
    """Raise CarError with the command that installs what is missing."""
    missing = packages.missing_on_host(os.environ, root=os.geteuid() == 0)
    if missing:
        raise CarError(f"The virtual car needs more programs: apt-get install {' '.join(missing)}")


def cached() -> Image | None:
    """The image of the present inputs, None if it has not been built. Raises CarError."""
    image = Image(_cache() / fingerprint())
    return image if image.folder.is_dir() else None


def build(progress: Progress) -> Image:
    """The image of the present inputs, built if need be. Raises CarError.

    ``progress`` is told each step. When it is interrupted, nothing is left behind.
    """
    check_host()
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache, progress):
        image = cached()
        if image is None:
            image = _build(cache, progress)
            forget_old(cache, image)
    return image


def _build(cache: Path, progress: Progress) -> Image:
    finished = Image(cache / fingerprint())
    folder = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
    try:
        with (folder / "build.log").open("w", encoding="utf-8") as log:
            work = _Workshop(folder, log, progress)
            work.collect_wheels()
            work.bootstrap()
            work.make_disk()
        folder.chmod(0o755)
        folder.rename(finished.folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return finished


class _Workshop:
    """One build, in a folder of its own."""

    def __init__(self, folder: Path, log: IO[str], progress: Progress) -> None:
        self._folder = folder
        self._log = log
        self._progress = progress
        self._kit = folder / "car"
        shutil.copytree(_GUEST_FILES, self._kit)

    def collect_wheels(self) -> None:
        self._progress("Downloading Python packages")
        wheels = self._kit / "wheels"
        wheels.mkdir()
        requirements = wheels / "requirements.txt"
        requirements.write_text(packages.guest_requirements(_lock_text()), encoding="utf-8")
        self._run(
            "The Python packages cannot be downloaded", packages.download(requirements, wheels)
        )

    def bootstrap(self) -> None:
        command = _bootstrap(self._kit, self._folder / _ARCHIVE)
        self._run("Debian cannot be installed in the image", command)
        shutil.rmtree(self._kit)

    def make_disk(self) -> None:
        self._progress("Disk image")
        self._run("The disk image cannot be made", (*_as_root(), "sh", "-ec", _MAKE_DISK))
        (self._folder / _ARCHIVE).unlink()

    def _run(self, failure: str, command: Sequence[str]) -> None:
        environment = os.environ | {
            "PATH": packages.host_path(os.environ),
            "TMPDIR": str(_scratch()),
            "LC_ALL": "C.UTF-8",
        }
        process = subprocess.Popen(
            command,
            cwd=self._folder,
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
                self._progress(f"Debian {packages.SUITE}: {step[1]}")
            yield line.rstrip()


def _bootstrap(kit: Path, archive: Path) -> Sequence[str]:
    return (
        *("mmdebstrap", "--variant=minbase", "--mode=auto", "--format=tar"),
        f"--include={','.join(packages.DEBIAN)}",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")),
        "--skip=cleanup/reproducible/machine-id",
        f'--customize-hook=copy-in "{kit}" /opt',
        '--customize-hook=chroot "$1" /opt/car/prepare.sh',
        *(packages.SUITE, str(archive)),
    )


def _as_root() -> Sequence[str]:
    """What precedes a command that must see itself as root, for the owners of files it makes."""
    return () if os.geteuid() == 0 else ("unshare", "--map-root-user", "--map-auto")


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


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cigarjack" / "car"


def _lock_text() -> str:
    try:
        return _LOCK_FILE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CarError(
            f"There is no {_LOCK_FILE}: run the virtual car from a work tree of the project."
        ) from None


def fingerprint() -> str:
    """What an image is made of. Programs of the host are not: they only pack it."""
    digest = hashlib.sha256()
    commands = (*_bootstrap(Path("kit"), Path(_ARCHIVE)), _MAKE_DISK)
    for part in (*commands, packages.guest_requirements(_lock_text())):
        digest.update(part.encode() + b"\0")
    for file in sorted(_GUEST_FILES.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@contextmanager
def _alone(cache: Path, progress: Progress) -> Iterator[None]:
    """Let one build run at a time."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another build")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def forget_old(cache: Path, newest: Image) -> None:
    """Remove images that no recent inputs want. A machine that still runs one keeps its files."""
    images = sorted(
        (folder for folder in cache.iterdir() if folder.is_dir() and folder != newest.folder),
        key=lambda folder: folder.stat().st_mtime,
        reverse=True,
    )
    for folder in images[_IMAGES_KEPT - 1 :]:
        shutil.rmtree(folder)
