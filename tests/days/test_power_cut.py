"""The power of a machine is cut while an agent's recorders write: at most the last second is lost.

The machine is the virtual car, switched off as a plug would do it; its file system is ext4. Takes
some minutes: ``pytest tests/days/test_power_cut.py``. Needs what ``fieldkit car build`` needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldkit.car import image
from fieldkit.car.machine import run_job
from fieldkit.car.packages import host_path
from fieldkit.car.run import Run
from twochannel.radio import btsnoop
from twochannel.ring import SYNC_EVERY_S, pieces

CUTS = 3
#: Of the machine's own clock: some turns of the rings, which hold an eighth of a MiB a piece.
WRITES_S = 20
#: Emulated, to bring a second's writing to disk takes a while itself.
TOLERANCE_S = 0.5
DISK_MIB = 64
BOOT_DEADLINE_S = 400
SCRIPT = """\
mount /dev/vdb /mnt && exec python -u /car/writer.py
"""
#: Tells each record once both recorders have taken it.
WRITER = """\
import time
from pathlib import Path
from twochannel.advert_recording import AdvertRecording
from twochannel.radio.port import Sighting
from twochannel.ring import Keep
from twochannel.trace import Trace

keep = Keep(mib=1)
trace = Trace("terminal", Path("/mnt/lane-1/trace.jsonl"), boot="one", keep=keep)
adverts = AdvertRecording(Path("/mnt/lane-1/adverts.btsnoop"), keep)
number = 0
while True:
    mono_ns = time.monotonic_ns()
    heard = Sighting("C0:00:00:00:00:01", 0xFEAA, number.to_bytes(18), -60, mono_ns / 1e9)
    adverts.take(heard, mono_ns // 1000)
    trace.event("code_heard", number=number)
    print(number, time.monotonic_ns())
    number += 1
    time.sleep(0.01)
"""


@dataclass(frozen=True, slots=True)
class Told:
    number: int
    mono_ns: int


async def cut_short(disk: Path, folder: Path) -> list[Told]:
    """Let the machine write, and pull the plug; what it had told by then."""
    told: list[Told] = []
    written = asyncio.Event()
    begun = b""

    def listen(output: bytes) -> None:
        nonlocal begun
        *lines, begun = (begun + output).split(b"\n")
        told.extend(Told(*map(int, line.split())) for line in lines)
        if told and told[-1].mono_ns - told[0].mono_ns > WRITES_S * 1e9:
            written.set()

    (folder / "writer.py").write_text(WRITER)
    built = image.cached() or image.build(print)
    running = asyncio.create_task(run_job(Run(built, folder, None, disk), SCRIPT, listen))
    try:
        async with asyncio.timeout(BOOT_DEADLINE_S):
            await written.wait()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return told


def as_it_boots_again(disk: Path, into: Path) -> Path:
    """The files after the file system's own repair; the folder of the agent."""
    repaired = run("e2fsck", "-p", str(disk))
    assert repaired.returncode in {0, 1}, repaired.stdout
    assert run("debugfs", "-R", f"rdump /lane-1 {into}", str(disk)).returncode == 0
    return into / "lane-1"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": host_path(os.environ)}
    return subprocess.run(
        command, env=os.environ | path, capture_output=True, text=True, check=False
    )


def kept_events(folder: Path) -> list[int]:
    """The numbers in the trace. A last line that is not whole is none."""
    written = b"".join(file.read_bytes() for _, file in pieces(folder / "trace.jsonl"))
    return [json.loads(line)["number"] for line in written.split(b"\n")[:-1]]


def kept_adverts(folder: Path) -> list[int]:
    found = []
    for _, file in pieces(folder / "adverts.btsnoop"):
        found += [
            int.from_bytes(record.service_data) for record in btsnoop.decode(file.read_bytes())
        ]
    return found


@pytest.mark.parametrize("cut", range(CUTS))
async def test_a_cut_takes_no_more_than_the_last_second(tmp_path: Path, cut: int) -> None:
    disk, shared = tmp_path / "disk.img", tmp_path / "car"
    shared.mkdir()
    assert run("mke2fs", "-q", "-t", "ext4", str(disk), f"{DISK_MIB}M").returncode == 0
    told = await cut_short(disk, shared)
    folder = as_it_boots_again(disk, tmp_path)
    for kept in (kept_events(folder), kept_adverts(folder)):
        # One after the other without a gap; the oldest pieces went when the ring was full.
        assert kept == list(range(kept[0], kept[-1] + 1))
        lost = [one for one in told if one.number > kept[-1]]
        lost_s = (told[-1].mono_ns - lost[0].mono_ns) / 1e9 if lost else 0.0
        print(f"cut {cut}: {len(told)} told, {len(lost)} lost: {lost_s:.2f} s")
        assert lost_s <= SYNC_EVERY_S + TOLERANCE_S
