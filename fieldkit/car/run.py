"""One run of the virtual car."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit.car.image import Image

#: The folder of a run, as the guest sees it.
GUEST_FOLDER: Final = "/car"
#: The file in it that is run, which every run has.
JOB: Final = "job"
CONSOLE: Final = "console.log"

#: A job that says nothing for longer than a person waits has hung.
DEADLINE_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the car: what it boots, and the folder it shares.

    ``disk``: a raw image of the caller's, /dev/vdb in the guest, that keeps what is written.
    """

    image: Image
    folder: Path
    deadline_s: float | None = DEADLINE_S
    disk: Path | None = None
