"""The thief of the replay journey: records a jack's code at one place, sends it at another.

Two radios stand for a recorder beside the car and a player at another lane, with a fast network
between them. What the ear hears as a beacon, the mouth sends again byte for byte, as often as a
jack would: ``python -m fieldkit.attacker --ear RADIO --mouth RADIO``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from typing import Final

import click

from twochannel.protocol import beacon
from twochannel.protocol.errors import FrameError
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Radio, RadioError, Sighting

#: As a jack does (docs/protocol.md, Channel one).
_INTERVAL_MS: Final = 100


async def replay(ear: Radio, mouth: Radio, announce: Callable[[str], None]) -> None:
    """Send each new code that ``ear`` hears by ``mouth``, until it is cancelled.

    ``announce`` gets one JSON line when the first is on the air. Raises RadioError.
    """
    sent = b""
    async for sighting in ear.scanner.sightings():
        if not _is_beacon(sighting) or sighting.service_data == sent:
            continue
        broadcast = Broadcast(sighting.service_uuid, sighting.service_data, _INTERVAL_MS)
        await mouth.advertiser.broadcast(broadcast)
        if not sent:
            announce(json.dumps({"event": "ready"}))
        sent = sighting.service_data


def _is_beacon(sighting: Sighting) -> bool:
    if sighting.service_uuid != beacon.SERVICE_UUID:
        return False
    try:
        beacon.BeaconFrame.decode(sighting.service_data)
    except FrameError:
        return False
    return True


async def _run(ear: str, mouth: str) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    async with open_radio(ear) as hearing, open_radio(mouth) as sending:
        with contextlib.suppress(asyncio.CancelledError):
            await replay(hearing, sending, _announce)


@click.command()
@click.option("--ear", required=True, help="Radio beside the car, for example bumble:tcp-client:…")
@click.option("--mouth", required=True, help="Radio at the lane to be deceived.")
def main(ear: str, mouth: str) -> None:
    """Replay the beacon codes heard at one place at another, on a bench. Ends on SIGTERM."""
    try:
        asyncio.run(_run(ear, mouth))
    except RadioError as error:
        raise click.ClickException(str(error)) from error


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
