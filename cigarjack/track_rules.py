"""PURE. What of gpsd's reports becomes the jack's track, and when.

The reports are gpsd's JSON (gpsd_json(5), class TPV): ``mode`` 2 or 3 with a fix, ``lat`` and
``lon`` in degrees (WGS 84), ``track`` in degrees from true north, ``speed`` in m/s, ``eph`` in
metres, the estimated horizontal error.
"""

from __future__ import annotations

from datetime import UTC
from enum import IntEnum
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

#: As fast as a slow walk; receivers that stand still tell less.
MOVING_MPS: Final = 0.5
#: Between two places of a car that stands.
STANDING_S: Final = 10
#: 1 cm: a receiver knows no more, and digits that tell nothing fill the ring.
_DEGREE_DIGITS: Final = 7


class _Mode(IntEnum):
    FLAT = 2
    FULL = 3


class Fix(BaseModel):
    """A report with a place. What the receiver did not tell is None."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    report: Annotated[Literal["TPV"], Field(alias="class")]
    mode: _Mode
    time: AwareDatetime | None = None
    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]
    eph: Annotated[float, Field(ge=0)] | None = None
    speed: Annotated[float, Field(ge=0)] | None = None
    track: Annotated[float, Field(ge=0, le=360)] | None = None

    @property
    def members(self) -> dict[str, object]:
        """As the trace has it (docs/trace.md, ``position``)."""
        return {
            "lat_deg": round(self.lat, _DEGREE_DIGITS),
            "lon_deg": round(self.lon, _DEGREE_DIGITS),
            "accuracy_m": self.eph,
            "speed_mps": self.speed,
            "heading_deg": self.track,
            "fix": "3d" if self.mode is _Mode.FULL else "2d",
        }


def fix_of(line: bytes) -> Fix | None:
    """The place in a line of gpsd; None for any other bytes."""
    try:
        return Fix.model_validate_json(line)
    except ValidationError:
        return None


class Spacing:
    """Which places are noted: one a second while the car moves, one in ten while it stands.

    Seconds are the receiver's own, so that a report that is late on its way skips none; where it
    tells no time they are the caller's.
    """

    def __init__(self) -> None:
        self._noted_s: int | None = None

    def due(self, fix: Fix, now_s: float) -> bool:
        """Whether ``fix`` is noted; ``now_s`` of any clock that counts seconds evenly."""
        second = int(now_s if fix.time is None else fix.time.astimezone(UTC).timestamp())
        least_s = 1 if (fix.speed or 0.0) >= MOVING_MPS else STANDING_S
        before = self._noted_s
        # A receiver that found out the date late goes back; it begins anew.
        due = before is None or second < before or second - before >= least_s
        if due:
            self._noted_s = second
        return due
