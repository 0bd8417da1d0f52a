"""What traces and a witness come to."""

from __future__ import annotations

from fieldkit.car.measures import figures
from fieldkit.sniffer import HeardCode
from fieldkit.trace import TraceEvent

MS = 1_000_000


def event(name: str, at_ms: int, boot: str = "b", **fields: object) -> TraceEvent:
    return TraceEvent("agent", "jack", name, None, at_ms * MS, 0, boot, "system", fields)


def heard(*at_ms_and_dbm: tuple[int, int]) -> list[TraceEvent]:
    return [event("code_heard", at_ms, rssi_dbm=dbm) for at_ms, dbm in at_ms_and_dbm]


def aired(handle: str, *at_ms: int) -> list[HeardCode]:
    return [HeardCode(handle, at * MS) for at in at_ms]


def test_intervals_and_blind_windows_are_those_of_the_window() -> None:
    on_air = aired("aaaa", 0, 5000, 5100, 5200, 5450, 9000)
    taken = heard((5100, -60), (5500, -61), (5600, -63), (9000, -40))
    found = figures(on_air, taken, [], (4000 * MS, 6000 * MS))
    assert found is not None
    assert found.adverts == 4
    assert (found.interval_median_ms, found.silent_ms) == (100.0, 250)
    assert 100 < found.interval_p99_ms <= 250
    assert (found.blind_ms, found.rssi_values, found.rssi_step_db) == (400, 3, 1)
    assert found.code_changes_ms == []


def test_a_code_change_is_from_the_last_of_one_to_the_first_of_the_next() -> None:
    on_air = aired("aaaa", 100, 200) + aired("bbbb", 350, 450) + aired("cccc", 9000)
    rotated = [
        event("beacon_rotated", 0, handle="aaaa"),
        event("beacon_rotated", 250, handle="bbbb"),
        event("beacon_rotated", 8900, boot="next", handle="cccc"),
    ]
    taken = heard((100, -60), (200, -60))
    found = figures(on_air, taken, rotated, (0, 1000 * MS))
    assert found is not None
    assert found.code_changes_ms == [150]
    assert (found.rssi_values, found.rssi_step_db) == (1, 0)


def test_the_silence_of_a_jack_that_invites_is_no_code_change() -> None:
    on_air = aired("aaaa", 100, 200) + aired("bbbb", 16_800) + aired("cccc", 25_000)
    of_jack = [
        event("beacon_rotated", 0, handle="aaaa"),
        event("inviting", 190, occasion="called"),
        event("beacon_rotated", 8_900, handle="bbbb"),
        event("beacon_rotated", 24_700, handle="cccc"),
    ]
    found = figures(on_air, heard((100, -60), (200, -60)), of_jack, (0, 1000 * MS))
    assert found is not None
    assert found.code_changes_ms == [8_200]


def test_nothing_comes_to_nothing() -> None:
    assert figures([], heard((1, -60), (2, -60)), [], (0, 10 * MS)) is None
    assert figures(aired("aaaa", 1, 2), [], [], (0, 10 * MS)) is None
