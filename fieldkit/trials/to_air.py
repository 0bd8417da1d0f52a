"""Recorded adverts on the virtual air once more: same address, payload, level and timing.

The controller of the terminal receives them as they were received, so that nothing is lost or
faded a second time; what its host does with them is as real as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fieldkit.air_control import AirControl
from fieldkit.trials.archive import Trial
from fieldkit.trials.lane_recording import LaneRecording
from twochannel.radio import adverts
from twochannel.radio.port import Sighting

#: How often it is looked whether the terminal's radio has begun to scan.
_LOOK_EVERY_S: Final = 0.05

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Played:
    """``unheard``: adverts that came while nobody scanned. ``latest_s``: the worst delay of one."""

    adverts: int
    unheard: int
    took_s: float
    latest_s: float


def sightings(trial: Trial, recording: LaneRecording) -> list[Sighting]:
    """The adverts of one run of a terminal, as its radio delivered them. Raises TrialError."""
    of_lane = (recording.machine, recording.lane)
    (record,) = [each for each in trial.agents if (each.machine, each.agent) == of_lane]
    (run,) = [each for each in record.runs if each.number == recording.run]
    return [
        Sighting(
            advert.address,
            advert.service_uuid,
            advert.service_data,
            advert.rssi_dbm,
            advert.mono_us / 1e6,
            random_address=advert.random_address,
        )
        for advert in trial.adverts(record, run)
    ]


async def play(
    control: AirControl,
    controller: str,
    heard: Sequence[Sighting],
    *,
    speed: float = 1.0,
    progress: Progress = lambda _number: None,
) -> Played:
    """Let ``controller`` receive all of ``heard``, ``speed`` times as fast as they came.

    Begins once its host scans, so that the first is not lost. ``progress`` is told how many were
    sent. Raises CommandError if the air has no such controller, ConnectionError.
    """
    if not heard:
        return Played(0, 0, 0.0, 0.0)
    await _send_first(control, controller, heard[0])
    progress(1)
    loop = asyncio.get_running_loop()
    began_s, first_s = loop.time(), heard[0].heard_at_s
    unheard, latest_s = 0, 0.0
    for number, sighting in enumerate(heard[1:], start=2):
        due_s = began_s + (sighting.heard_at_s - first_s) / speed
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        unheard += not await _send(control, controller, sighting)
        latest_s = max(latest_s, loop.time() - due_s)
        progress(number)
    return Played(len(heard), unheard, loop.time() - began_s, latest_s)


async def _send_first(control: AirControl, controller: str, sighting: Sighting) -> None:
    while True:
        if await _send(control, controller, sighting):
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def _send(control: AirControl, controller: str, sighting: Sighting) -> bool:
    data = adverts.advertising_data(sighting.service_uuid, sighting.service_data)
    return await control.deliver(
        controller, sighting.address, data, sighting.rssi_dbm, random=sighting.random_address
    )
