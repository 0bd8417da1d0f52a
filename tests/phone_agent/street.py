"""A street without Wi-Fi: jack, phone and a stranger, each with a radio on an air without luck."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cigarjack.client import PairedJack
from fieldkit.air import Air, AirPlan, ControllerPlan
from fieldkit.propagation import Propagation
from phone_agent.jack_radio import listening, unnoted
from phone_agent.pairing import Inviting, Pairing, search
from tests.cigarjack.on_air import OnAir, on_air
from tests.cigarjack.parties import Jack, new_id
from tests.phone_agent.owners_phone import OwnersPhone
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.radio.backends import open_radio

STILL = Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0)


@asynccontextmanager
async def street() -> AsyncIterator[Air]:
    """Radios ``jack``, ``phone`` and ``stranger``, within a metre."""
    controllers = (
        ControllerPlan(name="jack"),
        ControllerPlan(name="phone", x=1),
        ControllerPlan(name="stranger", x=0.5),
    )
    async with Air(AirPlan(propagation=STILL, controllers=controllers)) as air:
        yield air


def radio_of(air: Air, name: str) -> str:
    return f"bumble:{air.transports[name]}"


@asynccontextmanager
async def jack_on(air: Air, jack: Jack) -> AsyncIterator[OnAir]:
    async with open_radio(radio_of(air, "jack")) as radio, on_air(jack, radio) as shown:
        yield shown


async def pair_over(
    air: Air, phone: OwnersPhone, server: ScriptedServer, label: str, search_s: float = 15.0
) -> tuple[PairedJack, str]:
    """Pair over Bluetooth alone."""
    pairing = Pairing(label, phone.identity, server.party.identity(), new_id)
    async with listening(unnoted(radio_of(air, "phone")), lambda: 0) as radio:
        assert radio is not None
        return await search([Inviting(radio, pairing)], lambda _text: None, search_s)
