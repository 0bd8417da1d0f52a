"""``payment-device calibrate`` as a process on virtual air, with a jack that is driven about."""

from __future__ import annotations

import asyncio
import os
import sys
import tomllib
from pathlib import Path

import pytest

from fieldkit.air import Air
from fieldkit.air_commands import Move
from payment_device.calibrating import write
from payment_device.calibration import Calibration, CalibrationError
from tests.payment_device.processes import DEADLINE_S, Ended, air, jack

FOUND = Calibration(-68.5, 11.0, -60.0, -75.0, 0.1, 0.02, 0.001, 0.2)


async def calibrate(opened: Air, state: Path, places_m: list[float], *flags: str) -> Ended:
    """Drive the jack to each place when the command asks for it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "payment_device", "--state", str(state), "calibrate", "--seconds", "2", *flags),
        env=os.environ | {"PAYMENT_DEVICE_RADIO": f"bumble:{opened.transports['terminal']}"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    told = b""
    async with asyncio.timeout(DEADLINE_S):
        for x_m in places_m:
            told += await process.stderr.readuntil(b"Press Enter")
            opened.perform(Move(move="jack", x=x_m, y=0.0))
            process.stdin.write(b"\n")
        stdout, stderr = await process.communicate()
    return Ended(process.returncode or 0, stdout.decode(), (told + stderr).decode())


async def test_a_lane_is_calibrated_place_by_place(tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text('# ours\nlog_level = "INFO"  # quiet\n')
    async with air() as opened, jack(opened):
        ended = await calibrate(opened, tmp_path, [1.5, 8.0], "--here", "1", "--away", "1")
    assert ended.exit_code == 0, ended
    # 59 dB at 1 m and 20 dB for each tenfold distance: -62.5 dBm here, -77 dBm away.
    assert "-63 dBm, heard" in ended.stderr
    assert "-77 dBm, heard" in ended.stderr
    assert "Place 2 of 2: put the car where it must not be charged" in ended.stderr
    written = settings.read_text()
    assert written.startswith('# ours\nlog_level = "INFO"  # quiet\n')
    found = tomllib.loads(written)
    assert -77 < found["min_rssi_dbm"] < -63.5
    assert found["margin_db"] >= 10
    assert f"min_rssi_dbm = {found['min_rssi_dbm']:g}: " in ended.stdout
    assert "Now start: payment-device run" in ended.stdout


async def test_a_place_without_a_jack_is_asked_for_again(tmp_path: Path) -> None:
    """And a dry run answers a program and writes nothing."""
    flags = ("--here", "1", "--away", "0", "--dry-run", "--json")
    async with air() as opened, jack(opened):
        ended = await calibrate(opened, tmp_path, [900.0, 2.0], *flags)
    assert "Not measured: the jack was heard only 0 times" in ended.stderr
    assert ended.answer["here_dbm"] == pytest.approx(-65, abs=0.5)
    assert (ended.answer["written"], ended.answer["away_dbm"]) == (False, None)
    assert not (tmp_path / "config.toml").exists()


async def test_nobody_is_sent_around_for_a_radio_that_is_not_there(tmp_path: Path) -> None:
    async with air() as opened:
        pass
    gone = await calibrate(opened, tmp_path, [])
    assert gone.exit_code == 1
    assert "Place 1" not in gone.stderr


def test_thresholds_are_written_beside_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("margin_db = 3  # old\n")
    write(FOUND, file)
    assert file.read_text() == "margin_db = 11.0  # old\nmin_rssi_dbm = -68.5\n"


def test_settings_that_are_no_toml_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("margin_db = \n")
    with pytest.raises(CalibrationError, match="mend it by hand"):
        write(FOUND, file)
    assert file.read_text() == "margin_db = \n"
