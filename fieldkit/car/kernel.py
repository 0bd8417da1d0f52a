"""The car's kernel for user mode: the source of Debian's, compiled to run as a process of the host.

::

    <cache>/<fingerprint>/
        linux          the kernel, a program (docs/decisions/0024-car-in-user-mode.md)
        modules/       what the guest sees as /lib/modules
        build.log

It is compiled by Debian's own compiler in a Debian of its own, so that the host needs none.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit.car import packages, workshop
from fieldkit.car.workshop import Progress, Workshop

_FILES: Final = Path(__file__).parent / "kernel"
#: Debian's kernel is chosen by the same list.
_KNOWN_BAD: Final = Path(__file__).parent / "guest" / "known-bad-kernels"
_TOOLS: Final = ("bc", "bison", "flex", "gcc", "kmod", "libc6-dev", "make", "mawk", "xz-utils")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A built kernel."""

    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "linux"

    @property
    def modules(self) -> Path:
        return self.folder / "modules"


def cached() -> Kernel | None:
    """The kernel of the present inputs, None if it has not been built."""
    kernel = Kernel(_cache() / fingerprint())
    return kernel if kernel.folder.is_dir() else None


def build(progress: Progress) -> Kernel:
    """The kernel of the present inputs, built if need be. Raises CarError.

    ``progress`` is told each step. When it is interrupted, nothing is left behind.
    """
    return Kernel(workshop.made(_cache(), fingerprint(), progress, _make))


def _make(shop: Workshop) -> None:
    kit = shop.folder / "kernel"
    shutil.copytree(_FILES, kit)
    shutil.copy(_KNOWN_BAD, kit)
    shop.run("The kernel cannot be compiled", _compile(kit, shop.folder))
    shutil.rmtree(kit)


def _compile(kit: Path, to: Path) -> Sequence[str]:
    return (
        *packages.bootstrap("null", _TOOLS),
        f'--customize-hook=copy-in "{kit}" /opt',
        '--customize-hook=chroot "$1" /opt/kernel/build.sh',
        f'--customize-hook=copy-out /out/linux /out/modules "{to}"',
        *(packages.SUITE, "-"),
    )


def _cache() -> Path:
    return workshop.cache("car-kernel")


def fingerprint() -> str:
    """What a kernel is made of, but for the version that the release has by then."""
    digest = hashlib.sha256()
    for part in _compile(Path("kit"), Path("to")):
        digest.update(part.encode() + b"\0")
    digest.update(workshop.files_digest(_FILES))
    digest.update(_KNOWN_BAD.read_bytes())
    return digest.hexdigest()[:16]
