"""A jack's radio side, on whatever radio a test has: its ear, its beacon, its invitations."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cigarjack.beaconing import Beaconing
from cigarjack.inviting import Inviting
from cigarjack.pairing import PairingDesk
from tests.cigarjack.parties import Jack, link_service, silent_trace
from twochannel.radio.port import Radio
from twochannel.radio.watch import all_of

TX_POWER_DBM = -20


def beaconing_of(jack: Jack) -> Beaconing:
    agreement = jack.identity.agreement
    return Beaconing(jack.memory, agreement, jack.clock, silent_trace(), TX_POWER_DBM)


def inviting_of(jack: Jack, desk: PairingDesk, beaconing: Beaconing) -> Inviting:
    inviting = Inviting(
        jack.id,
        jack.memory,
        jack.clock,
        desk.window,
        beaconing,
        link_service(jack, desk),
        silent_trace(),
        random_bytes=secrets.token_bytes,
    )

    def changed() -> None:
        beaconing.reconsider()
        inviting.reconsider()

    jack.changed = changed
    return inviting


@dataclass(frozen=True)
class OnAir:
    """What of the jack is on the air."""

    desk: PairingDesk
    beaconing: Beaconing
    inviting: Inviting


@asynccontextmanager
async def on_air(jack: Jack, radio: Radio, desk: PairingDesk | None = None) -> AsyncIterator[OnAir]:
    """``jack`` on ``radio`` while the block runs; without ``desk`` with one of its own."""
    desk = desk or jack.desk()
    beaconing = beaconing_of(jack)
    inviting = inviting_of(jack, desk, beaconing)
    duties = asyncio.ensure_future(
        all_of(
            jack.ear.listen(radio.scanner, inviting.take),
            beaconing.run(radio.advertiser),
            inviting.run(radio.peripheral),
        )
    )
    try:
        async with asyncio.timeout(10):
            await beaconing.settled.wait()
        yield OnAir(desk, beaconing, inviting)
        if duties.done():
            duties.result()
    finally:
        duties.cancel()
        await asyncio.gather(duties, return_exceptions=True)
