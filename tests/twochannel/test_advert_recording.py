"""Recorded adverts on disk: pieces, runs, and what a full disk leaves out."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from twochannel.advert_recording import FILE_NAME, AdvertRecording, to_microseconds, told
from twochannel.protocol import beacon
from twochannel.radio.btsnoop import HEADER, Record, decode
from twochannel.radio.port import Sighting
from twochannel.ring import Keep, pieces

FRAME = beacon.BeaconFrame(0, bytes(8)).encode()


def sighting(number: int) -> Sighting:
    return Sighting("2A:00:00:00:00:01", beacon.SERVICE_UUID, FRAME, -number % 100 - 20, number / 7)


def recorded(path: Path) -> list[tuple[int, list[Record]]]:
    return [(number, list(decode(file.read_bytes()))) for number, file in pieces(path)]


def take(recording: AdvertRecording, first: int, count: int) -> None:
    for number in range(first, first + count):
        recording.take(*to_microseconds(sighting(number)))


def test_what_was_heard_is_kept_with_its_time(tmp_path: Path) -> None:
    recording = AdvertRecording(tmp_path / FILE_NAME, Keep())
    take(recording, 0, 3)
    recording.close()
    ((number, records),) = recorded(tmp_path / FILE_NAME)
    assert number == recording.piece
    assert [record.rssi_dbm for record in records] == [sighting(n).rssi_dbm for n in range(3)]
    mono_us = [record.unix_us - recording.epoch_us for record in records]
    assert mono_us == [to_microseconds(sighting(number))[1] for number in range(3)]
    assert {record.dropped for record in records} == {0}


async def test_where_it_is_is_told_at_once_and_again_and_again() -> None:
    times = 0
    thrice = asyncio.Event()

    def tell() -> None:
        nonlocal times
        times += 1
        if times == 3:
            thrice.set()

    async with told(tell, every_s=0.01):
        assert times == 1
        async with asyncio.timeout(20):
            await thrice.wait()
    before = times
    await asyncio.sleep(0.05)
    assert times == before


def test_a_sighting_is_put_at_a_whole_microsecond() -> None:
    moved, mono_us = to_microseconds(sighting(1))
    assert (moved.heard_at_s, mono_us) == (0.142857, 142_857)
    assert to_microseconds(moved) == (moved, mono_us)


def test_every_run_begins_a_piece(tmp_path: Path) -> None:
    path, begun = tmp_path / FILE_NAME, []
    for _ in range(3):
        recording = AdvertRecording(path, Keep())
        begun.append(recording.piece)
        take(recording, 0, 2)
        recording.close()
    assert begun == [1, 2, 3]
    assert [(n, len(records)) for n, records in recorded(path)] == [(1, 2), (2, 2), (3, 2)]
    assert all(file.read_bytes().startswith(HEADER) for _, file in pieces(path))


def test_every_record_knows_how_many_came_before(tmp_path: Path) -> None:
    """So that what is left of a ring that has turned is still numbered."""
    path, count = tmp_path / FILE_NAME, 20_000
    recording = AdvertRecording(path, Keep(mib=1))
    take(recording, 0, count)
    recording.close()
    kept = recorded(path)
    assert kept[0][0] > recording.piece, "the first pieces are gone"
    numbers = [record.dropped + n for _, records in kept for n, record in enumerate(records)]
    assert numbers == list(range(count - len(numbers), count))
    assert [record.rssi_dbm for _, records in kept for record in records] == [
        sighting(number).rssi_dbm for number in numbers
    ]


def test_what_a_full_disk_took_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recording = AdvertRecording(tmp_path / FILE_NAME, Keep())
    take(recording, 0, 2)
    whole = os.write
    # A disk that has room for half a record; a real one cannot be had on demand without root.
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:40]))
    take(recording, 2, 3)
    monkeypatch.undo()
    take(recording, 5, 2)
    recording.close()
    ((_, records),) = recorded(tmp_path / FILE_NAME)
    assert [record.dropped for record in records] == [0, 0, 3, 3]
    assert [record.rssi_dbm for record in records] == [
        sighting(number).rssi_dbm for number in (0, 1, 5, 6)
    ]
    assert [entry.message for entry in caplog.records] == ["recording_incomplete"]


def test_a_disk_that_is_full_at_the_start_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:5]))
    recording = AdvertRecording(tmp_path / FILE_NAME, Keep())
    take(recording, 0, 2)
    monkeypatch.undo()
    take(recording, 2, 1)
    recording.close()
    ((_, records),) = recorded(tmp_path / FILE_NAME)
    assert [record.dropped for record in records] == [2]
