"""The disk of the virtual car, with Debian's kernel: built once for each set of inputs, then kept.

::

    <cache>/<fingerprint>/
        disk.img       the root file system, ext2; never written to, see fieldkit.car.machine
        vmlinuz        Debian's kernel, as packaged
        initramfs
        build.log

The work tree is not part of it, so that a change of code needs no rebuild.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit.car import packages, workshop
from fieldkit.car.workshop import CarError, Progress, Workshop

#: The work tree: what the guest sees as /opt/cigarjack.
TREE: Final = Path(__file__).parents[2]
_GUEST_FILES: Final = Path(__file__).parent / "guest"
_LOCK_FILE: Final = TREE / "constraints.txt"

_ARCHIVE: Final = "root.tar"
#: Run in the folder of the build. Debian's kernel reads ext2 by its driver of ext4. A gibibyte of
#: the disk stays free; its file is sparse. The files in it belong to whom the archive says, hence
#: the removal by the same user. Devices are left out: a user who is not root may not make them, and
#: the kernel makes its own.
_MAKE_DISK: Final = f"""\
trap 'rm -rf root' EXIT
mkdir root
tar -xf {_ARCHIVE} -C root --exclude='./dev/*'
cp root/boot/vmlinuz root/boot/initramfs .
mke2fs -q -t ext2 -m 0 -L car -d root disk.img $(($(du -sm root | cut -f1) * 5 / 4 + 1024))M
"""


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


def ready(progress: Progress) -> Image:
    """The image of the present inputs, built unless it is there. As ``build``."""
    check_host()
    return cached() or build(progress)


def build(progress: Progress) -> Image:
    """The image of the present inputs, built if need be. Raises CarError.

    ``progress`` is told each step. When it is interrupted, nothing is left behind.
    """
    check_host()
    return Image(workshop.made(_cache(), fingerprint(), progress, _make))


def _make(shop: Workshop) -> None:
    kit = shop.folder / "car"
    shutil.copytree(_GUEST_FILES, kit)
    shop.progress("Downloading Python packages")
    wheels = kit / "wheels"
    wheels.mkdir()
    requirements = wheels / "requirements.txt"
    requirements.write_text(packages.guest_requirements(_lock_text()), encoding="utf-8")
    shop.run("The Python packages cannot be downloaded", packages.download(requirements, wheels))
    archive = shop.folder / _ARCHIVE
    shop.run("Debian cannot be installed in the image", _bootstrap(kit, archive))
    shutil.rmtree(kit)
    shop.progress("Disk image")
    shop.run("The disk image cannot be made", (*_as_root(), "sh", "-ec", _MAKE_DISK))
    archive.unlink()


def _bootstrap(kit: Path, archive: Path) -> Sequence[str]:
    return (
        *packages.bootstrap("tar", packages.DEBIAN),
        "--skip=cleanup/reproducible/machine-id",
        f'--customize-hook=copy-in "{kit}" /opt',
        '--customize-hook=chroot "$1" /opt/car/prepare.sh',
        *(packages.SUITE, str(archive)),
    )


def _as_root() -> Sequence[str]:
    """What precedes a command that must see itself as root, for the owners of files it makes."""
    return () if os.geteuid() == 0 else ("unshare", "--map-root-user", "--map-auto")


def _cache() -> Path:
    return workshop.cache("car")


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
    digest.update(workshop.files_digest(_GUEST_FILES))
    return digest.hexdigest()[:16]
