"""What no software can go below, leg by leg: in milliseconds where it is known. Pure.

Known is what the radio takes (``fieldkit.bench.radio_floor``). How fast networks, processors and
people are a recording does not tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cigarjack.beaconing import INTERVAL_MS
from fieldkit.bench.radio_floor import Broadcasting, air_time_us
from payment_device.lane_radio import LANE_INTERVAL_MS
from payment_device.sightings import LaneRules
from twochannel.protocol import lane
from twochannel.radio.adverts import advertising_data


@dataclass(frozen=True, slots=True)
class Floor:
    """``least_ms``: None where it is not known here. ``text``: what it is made of."""

    least_ms: float | None
    text: str


_RULES: Final = LaneRules()
_BEACON_MS: Final = Broadcasting(INTERVAL_MS, 1.0).spacing_ms
_LANE_MS: Final = Broadcasting(LANE_INTERVAL_MS, 1.0).spacing_ms
_LANE_FRAME: Final = advertising_data(lane.SERVICE_UUID, bytes(lane.FRAME_LENGTH))
_LANE_FRAME_MS: Final = air_time_us(len(_LANE_FRAME)) / 1000
_LEGS: Final = {
    "heard": Floor(
        0.0,
        f"nothing for a car that stands; for one that has just come {_RULES.settle_s:g} s, in "
        f"which {_RULES.settle_samples} adverts arrive, one every {_BEACON_MS:g} ms",
    ),
    "requested": Floor(None, "one way over the terminal's network"),
    "challenged": Floor(None, "one way over the phone's network"),
    "auth_code": Floor(
        _LANE_FRAME_MS,
        f"one advert of the lane on the air, which the jack has to hear if it has not yet, and "
        f"{_LANE_MS:g} ms for each that is lost; there and back over Wi-Fi, or over Bluetooth the "
        "jack's next invitation",
    ),
    "confirmed": Floor(None, "one way over the phone's network, and the owner where asked"),
    "settled": Floor(None, "the card processor, and one way over the terminal's network"),
}
FLOORS: Final = _LEGS | {
    "total": Floor(
        sum(floor.least_ms for floor in _LEGS.values() if floor.least_ms is not None),
        "the sum of what is known; networks, processor and owner come on top",
    )
}
