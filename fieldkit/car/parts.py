"""All that the virtual car needs here: its disk and, unless QEMU runs it, a kernel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fieldkit.car import image, kernel, qemu
from fieldkit.car.image import Image
from fieldkit.car.kernel import Kernel
from fieldkit.car.run import DEADLINE_S, Run
from fieldkit.car.workshop import Progress


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run boots. ``kernel`` None: QEMU runs the image's own."""

    image: Image
    kernel: Kernel | None

    def run(self, folder: Path, deadline_s: float | None = DEADLINE_S) -> Run:
        """A run of these that shares ``folder``."""
        return Run(self.image, folder, deadline_s, kernel=self.kernel)


def ready(progress: Progress) -> Parts:
    """Everything, built if need be. Raises CarError. ``progress`` is told each step of a build."""
    image.check_host()
    if qemu.is_wanted():
        return Parts(_disk(progress), None)
    with ThreadPoolExecutor() as both:
        compiling = both.submit(_kernel, progress)
        return Parts(_disk(progress), compiling.result())


def _disk(progress: Progress) -> Image:
    return image.cached() or image.build(progress)


def _kernel(progress: Progress) -> Kernel:
    return kernel.cached() or kernel.build(progress)
