"""Guides a person with a car from place to place, and writes what ``calibration`` derives."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
import tomlkit
from tomlkit.exceptions import TOMLKitError

from payment_device.calibration import Calibration, CalibrationError, Reading, derive, reading_of
from twochannel.keystore.file import write_private
from twochannel.protocol import beacon
from twochannel.protocol.errors import FrameError
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Radio

_WHERE: Final = {
    True: "as a customer stands, each time a little further ahead or back",
    False: "where it must not be charged: in the next lane, or next in the queue",
}
#: How often the progress bar moves.
_STEP_S: Final = 0.25


def measure(radio: str, here: int, away: int, seconds: float) -> Calibration:
    """Ask for a car at each place and listen there.

    Raises CalibrationError, RadioError; click.Abort when standard input ends.
    """
    asyncio.run(_listen(radio, 0.0))  # a radio that is not there is told before anyone drives
    places = [True] * here + [False] * away
    readings = []
    for number, is_here in enumerate(places, start=1):
        click.echo(f"Place {number} of {len(places)}: put the car {_WHERE[is_here]}.", err=True)
        readings.append(_reading(radio, f"place {number}", is_here, seconds))
    return derive(readings)


def _reading(radio: str, place: str, here: bool, seconds: float) -> Reading:
    """One place, again and again until it was measured well."""
    while True:
        click.prompt("Press Enter when it stands", default="", show_default=False, err=True)
        try:
            reading = reading_of(place, here, asyncio.run(_listen(radio, seconds)))
        except CalibrationError as error:
            click.echo(f"Not measured: {error}.", err=True)
            continue
        level_dbm, times = reading.level_dbm, len(reading.rssi_dbm)
        click.echo(f"{level_dbm:.0f} dBm, heard {times} times.", err=True)
        return reading


async def _listen(name: str, seconds: float) -> list[tuple[bytes, int]]:
    """Code and level of every jack's advert in this time. Raises RadioError."""
    adverts: list[tuple[bytes, int]] = []
    async with open_radio(name) as radio:
        listening = asyncio.create_task(_collect(radio, adverts))
        steps = round(seconds / _STEP_S)
        with click.progressbar(range(steps), label="Listening", file=sys.stderr) as bar:
            for _ in bar:
                done, _pending = await asyncio.wait([listening], timeout=_STEP_S)
                if done:
                    await listening
        listening.cancel()
    return adverts


async def _collect(radio: Radio, adverts: list[tuple[bytes, int]]) -> None:
    async for sighting in radio.scanner.sightings():
        if sighting.service_uuid != beacon.SERVICE_UUID:
            continue
        with contextlib.suppress(FrameError):
            code = beacon.BeaconFrame.decode(sighting.service_data).code
            adverts.append((code, sighting.rssi_dbm))


def write(found: Calibration, file: Path) -> None:
    """Put the thresholds into the settings; everything else in the file stays as it is.

    A power cut leaves the old file or the new one. Raises CalibrationError if the file cannot be
    read or written.
    """
    try:
        document = tomlkit.parse(file.read_text(encoding="utf-8") if file.exists() else "")
        document["min_rssi_dbm"] = found.min_rssi_dbm
        document["margin_db"] = found.margin_db
        write_private(file, tomlkit.dumps(document).encode())
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise CalibrationError(f"{file} cannot be changed ({error}); mend it by hand") from None


def members(found: Calibration) -> dict[str, Any]:
    """For programs."""
    return asdict(found)


def told(found: Calibration, state: Path | None) -> str:
    """For people; ``state``: where it was written, None if it was not."""
    lines = [
        f"Cars here are heard with {found.here_dbm:.0f} dBm on average.",
        f"min_rssi_dbm = {found.min_rssi_dbm:g}: {_share(found.missed)} of the cars that are here "
        "will seem too far away; the attendant can pick them.",
    ]
    if found.mistaken is not None and found.wrong is not None and found.ambiguous is not None:
        lines += [
            f"Cars at the nearest other place: {found.away_dbm:.0f} dBm. "
            f"{_share(found.mistaken)} of them will seem to be here if the car here has no jack.",
            f"margin_db = {found.margin_db:g}: with both there the wrong one is chosen in "
            f"{_share(found.wrong)} of the cases, and the attendant asked in "
            f"{_share(found.ambiguous)}.",
        ]
    lines.append(
        "Nothing was changed."
        if state is None
        else f"Written to {state / 'config.toml'}. Now start: payment-device run"
    )
    return "\n".join(lines)


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "less than 0.1%"
