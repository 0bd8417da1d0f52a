"""The memory of lane nonces: a minute long, bounded, and not to be flooded out."""

from __future__ import annotations

from cigarjack.lane_memory import MAX_NONCES, LaneMemory
from twochannel.protocol.lane import lane_digest
from twochannel.protocol.limits import LANE_NONCE_MEMORY_S


def nonce(number: int) -> bytes:
    return number.to_bytes(12)


def test_a_nonce_is_new_once_and_found_by_its_digest() -> None:
    memory = LaneMemory()
    digest = lane_digest(nonce(1))
    assert memory.find(digest, 0.0) is None
    assert memory.remember(nonce(1), 0.0) == digest
    assert memory.remember(nonce(1), 1.0) is None
    assert memory.find(digest, 1.0) == nonce(1)


def test_a_minute_after_its_last_hearing_a_nonce_is_forgotten() -> None:
    memory = LaneMemory()
    memory.remember(nonce(1), 0.0)
    memory.remember(nonce(2), 5.0)
    memory.remember(nonce(1), 10.0)
    assert memory.find(lane_digest(nonce(2)), 5.0 + LANE_NONCE_MEMORY_S) == nonce(2)
    assert memory.find(lane_digest(nonce(2)), 5.1 + LANE_NONCE_MEMORY_S) is None
    assert memory.find(lane_digest(nonce(1)), 10.0 + LANE_NONCE_MEMORY_S) == nonce(1)
    assert memory.find(lane_digest(nonce(1)), 10.1 + LANE_NONCE_MEMORY_S) is None
    assert len(memory) == 0


def test_a_flood_does_not_push_out_a_lane_that_goes_on_speaking() -> None:
    memory = LaneMemory()
    for number in range(1, 3 * MAX_NONCES):
        memory.remember(nonce(number), number / 10_000)
        if number % 1000 == 0:
            memory.remember(nonce(0), number / 10_000)
    assert len(memory) == MAX_NONCES
    assert memory.find(lane_digest(nonce(0)), 1.3) == nonce(0)
    assert memory.find(lane_digest(nonce(1)), 1.3) is None
