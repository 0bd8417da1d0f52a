"""What the lane hears and what it writes down of it."""

from __future__ import annotations

import os
import time
from collections import Counter

from tests.payment_device.lane import CODE, Bench, until
from twochannel.protocol import beacon
from twochannel.protocol.lane import NONCE_LENGTH, LaneFrame
from twochannel.protocol.lane import SERVICE_UUID as LANE_SERVICE_UUID
from twochannel.radio.port import Sighting

#: An Eddystone-URL frame, which comes under the service UUID of ours.
URL_FRAME = bytes.fromhex("10ee03676f6f676c65")


def hear(lane: Bench, uuid: int, data: bytes, rssi_dbm: int, at_s: float | None = None) -> None:
    assert lane.air.radio is not None
    heard_at_s = time.monotonic() if at_s is None else at_s
    lane.air.radio.hear(Sighting("", uuid, data, rssi_dbm, heard_at_s))


async def test_foreign_adverts_are_counted_and_do_no_harm(lane: Bench) -> None:
    for batch in range(1, 11):
        for number in range(1000):
            hear(lane, 0xFE95, number.to_bytes(8), -40)
        hear(lane, beacon.SERVICE_UUID, URL_FRAME, -40)
        await until(lambda wanted=batch: lane.radio.foreign_frames == wanted)  # type: ignore[misc]
    assert [jack.code for jack in lane.radio.nearby()] == [CODE]
    lane.air.jack()
    assert (await lane.charge())["paid"]


async def test_lane_frames_of_other_lanes_are_not_jacks(lane: Bench) -> None:
    hear(lane, LANE_SERVICE_UUID, LaneFrame(os.urandom(NONCE_LENGTH)).encode(), -30)
    assert (await lane.charge())["paid"]


async def test_the_trace_is_bounded_per_code_and_in_all(lane: Bench) -> None:
    codes = [number.to_bytes(2) + bytes(6) for number in range(400)]
    frames = [beacon.BeaconFrame(0, code).encode() for code in codes]
    second = float(int(time.monotonic()) + 100)
    for number in range(50):
        hear(lane, beacon.SERVICE_UUID, frames[0], -90, second + number / 100)
    for number, frame in enumerate(frames[1:]):
        hear(lane, beacon.SERVICE_UUID, frame, -90, second + 0.5 + number / 1000)
    hear(lane, beacon.SERVICE_UUID, frames[0], -31, second + 1)
    await until(lambda: any(line.get("rssi_dbm") == -31 for line in lane.trace_lines()))
    heard = Counter(line["jack"] for line in lane.trace_lines() if line.get("rssi_dbm") == -90)
    assert heard["0000"] == 10
    assert heard.total() == 200
    assert max(heard[code.hex()[:4]] for code in codes[1:]) == 1
