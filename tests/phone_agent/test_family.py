"""A member is removed while the jack is out of reach: the jack hears of it when it is back."""

from __future__ import annotations

import secrets
from dataclasses import replace

from cigarjack.pairing_rules import Member
from phone_agent.database import FILE_NAME, Database
from phone_agent.wallet import Wallet
from tests.cigarjack.parties import Jack, Phone, served
from tests.phone_agent.owners_phone import OwnersPhone, eventually
from tests.phone_agent.scripted_server import ScriptedServer


def shared(jack: Jack, phone: OwnersPhone, server: ScriptedServer, epoch: int = 1) -> str:
    """A jack of this phone's with another phone beside it; the id of that one."""
    phone.pair(jack, server, epoch=epoch)
    owner = jack.memory.pairing_state().owner
    assert owner is not None
    other = Phone()
    member = Member(other.id, other.certificate, secrets.token_bytes(32))
    jack.adopt(replace(owner, members=(member,)))
    return other.id


def members(jack: Jack) -> list[str]:
    owner = jack.memory.pairing_state().owner
    assert owner is not None
    return [member.phone for member in owner.members]


def owed(phone: OwnersPhone, jack: Jack) -> int:
    with Database.open(phone.state / FILE_NAME) as database:
        return len(Wallet(database).owed(jack.id))


async def removed(phone: OwnersPhone, jack: Jack, member: str) -> bool:
    """Whether the jack was told at once."""
    told = await phone.command("POST", f"/v1/family/{jack.id}/removals/{member}")
    assert (told["jack"], told["phone"]) == (jack.id, member)
    return bool(told["jack_told"])


async def test_a_jack_in_reach_is_told_at_once(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    member = shared(jack, phone, server)
    async with served(jack), phone.running():
        await phone.until_traced("time_synchronised")
        assert await removed(phone, jack, member)
        assert members(jack) == []
    assert owed(phone, jack) == 0


async def test_a_jack_out_of_reach_is_told_when_it_is_back_and_the_phone_was_off_meanwhile(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    member = shared(jack, phone, server)
    async with phone.running():
        assert not await removed(phone, jack, member)
    assert server.registered  # what counts
    assert owed(phone, jack) == 1
    async with served(jack), phone.running():
        await eventually(lambda: members(jack) == [], "the member is gone")
        await eventually(lambda: owed(phone, jack) == 0, "nothing is owed")


async def test_who_is_invited_anew_is_not_put_out_by_an_old_removal(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    member = shared(jack, phone, server)
    async with phone.running():
        assert not await removed(phone, jack, member)
        async with served(jack):
            invited = await phone.command("POST", f"/v1/family/{jack.id}/invitations")
            assert invited["jack"] == jack.id
            assert members(jack) == []
            assert owed(phone, jack) == 0


async def test_a_jack_of_another_pairing_refuses_and_is_not_asked_for_ever(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    member = shared(jack, phone, server, epoch=2)
    phone.wallet(lambda wallet: wallet.owe(jack.id, "0", "not.a.statement"))
    async with served(jack), phone.running():
        await eventually(lambda: owed(phone, jack) == 0, "nothing is owed")
    assert members(jack) == [member]


def test_a_new_pairing_ends_what_was_owed_in_the_old_one(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    phone.wallet(lambda wallet: wallet.owe(jack.id, "0", "a.b.c"))
    assert owed(phone, jack) == 1
    phone.pair(jack, server, epoch=2)
    assert owed(phone, jack) == 0
