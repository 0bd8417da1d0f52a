"""Finding the jack on a label: real jacks, real mDNS, and others who answer first."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cigarjack.announcement import Announcement, Notice
from cigarjack.client import PairedJack
from phone_agent.jack_finder import JackFinder
from phone_agent.pairing import Announced, JackNotFoundError, Pairing, search
from tests.cigarjack.parties import LOOPBACK, Jack, a_jack, new_id, served
from tests.phone_agent.owners_phone import NOWHERE, OwnersPhone
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.errors import CodedError, ErrorCode

#: Only a test that expects to find nothing waits for it.
BRIEFLY_S = 0.5


async def find(
    label: str, phone: OwnersPhone, server: ScriptedServer, search_s: float = 15.0
) -> tuple[PairedJack, str, list[str]]:
    told: list[str] = []
    pairing = Pairing(label, phone.identity, server.party.identity(), new_id)
    async with JackFinder([LOOPBACK]) as finder:
        paired, host = await search([Announced(finder, pairing)], told.append, search_s)
    return paired, host, told


async def test_the_jack_on_the_label_is_found_among_others(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, tmp_path: Path
) -> None:
    with a_jack(tmp_path / "other") as other:
        async with AsyncExitStack() as stack:
            dead = await stack.enter_async_context(Announcement(secrets.token_hex(8), [LOOPBACK]))
            await dead.tell(Notice(0, None, NOWHERE))
            others, _ = await stack.enter_async_context(served(other))
            await others.open_pairing()
            services, _ = await stack.enter_async_context(served(jack))
            label = await services.open_pairing()
            paired, host, _ = await find(str(label), phone, server)
    assert paired.pin.jack == jack.id
    assert host == LOOPBACK
    owner = jack.memory.pairing_state().owner
    assert owner is not None
    assert owner.phone == phone.id


async def test_the_right_jack_that_refuses_ends_the_search(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    async with served(jack) as (services, _):
        label = await services.open_pairing()
        wrong = f"CJ1:{label.thumbprint}:{'A' * 22}"
        with pytest.raises(CodedError) as refused:
            await find(wrong, phone, server)
    assert refused.value.code is ErrorCode.CLAIM_REFUSED


async def test_a_jack_that_is_not_there_is_told_with_what_to_do(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    async with served(jack) as (services, _):
        await services.open_pairing()
        label = f"CJ1:{phone.id}:{'A' * 22}"
        with pytest.raises(JackNotFoundError, match="pair open"):
            await find(label, phone, server, BRIEFLY_S)
