"""A recorded trial on the air once more, below the kernel: BlueZ hears it, and a whole terminal."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.car.bluetooth import CarBluetooth
from tests.payment_device.processes import Device
from tests.payment_device.scripted_server import ScriptedServer
from tests.recorded import EXAMPLE, heard_by, heard_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: So that what is emulated keeps up.
_SPEED = "2"
#: bluetoothd tells what has changed when it has nothing else to do: two adverts of one device that
#: come while it is busy are told as one.
_TOLD_AT_LEAST = 0.97


async def test_a_terminal_on_bluez_hears_the_trial_again(
    car: CarBluetooth, restored: None, tmp_path: Path
) -> None:
    """Its own recording holds the same codes and levels, in the same order, but for a few."""
    async with ScriptedServer().running() as server:
        device = Device(tmp_path / "t", car.radio("terminal"))
        await device.enrol(server)
        async with device.running():
            line = ["-m", "fieldkit", "replay", str(EXAMPLE), "--lane", "lane-1", "--speed", _SPEED]
            line += ["--to-air", car.control, "--controller", "terminal"]
            replay = await asyncio.create_subprocess_exec(sys.executable, *line)
            assert await replay.wait() == 0
    heard, sent = heard_by(device.state), heard_in(EXAMPLE, "lane-1")
    left = iter(sent)
    assert all(advert in left for advert in heard)
    assert len(heard) >= _TOLD_AT_LEAST * len(sent)
