"""Several phones of one jack over GATT: each is recognised by its own link key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cigarjack import inviting as module
from cigarjack.client import JackClient, JackClientError, gatt_channel
from cigarjack.pairing_rules import Member
from tests.cigarjack.parties import NOW_S, Jack, Phone, Server, owner_of
from tests.cigarjack.test_beaconing import tell_time
from tests.cigarjack.test_inviting import house
from tests.cigarjack.test_link_service import Host, pin_of
from twochannel.protocol import envelope
from twochannel.protocol.invitation import invitation_key
from twochannel.protocol.statements import AuthCode

OWNERS, MEMBERS = bytes(32), b"m" * 32


def shared(jack: Jack, phone: Phone, other: Phone, server: Server) -> None:
    member = Member(other.id, other.certificate, MEMBERS)
    jack.adopt(replace(owner_of(phone, server), members=(member,)))


async def test_each_phone_gets_its_auth_code_and_a_stranger_nothing(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    other = Phone()
    shared(unpaired, phone, other, server)
    for who, link_key in ((other, MEMBERS), (phone, OWNERS)):
        async with Host(unpaired) as host:
            pin = pin_of(unpaired, link_key)
            async with JackClient(gatt_channel(host.phone, pin), pin) as client:
                challenge = server.signed_challenge(unpaired.id, who.id)
                compact = await client.auth_code(challenge)
        assert AuthCode.from_claims(envelope.unverified_claims(compact)).phone == who.id
    async with Host(unpaired) as host:
        pin = pin_of(unpaired, b"s" * 32)
        async with JackClient(gatt_channel(host.phone, pin), pin) as client:
            with pytest.raises(JackClientError):
                await client.status()
        assert not await host.proven()


async def test_a_removed_members_session_ends(unpaired: Jack, phone: Phone, server: Server) -> None:
    shared(unpaired, phone, Phone(), server)
    async with Host(unpaired) as host:
        pin = pin_of(unpaired, MEMBERS)
        async with JackClient(gatt_channel(host.phone, pin), pin) as client:
            await client.status()
            unpaired.adopt(owner_of(phone, server))
            with pytest.raises(JackClientError):
                await client.status()


async def test_a_call_is_answered_with_the_callers_invitation(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    shared(unpaired, phone, Phone(), server)
    tell_time(unpaired)
    async with house(unpaired) as at:
        at.hear_call(NOW_S + 1, link_key=MEMBERS)
        await at.until_invited_under(invitation_key(MEMBERS))
        at.hear_call(NOW_S, link_key=OWNERS)  # its clock is another's
        await at.until_invited_under(invitation_key(OWNERS))


async def test_without_the_time_each_phone_is_invited_in_turn(
    unpaired: Jack, phone: Phone, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN_S", 0.05)
    shared(unpaired, phone, Phone(), server)
    async with house(unpaired) as at:
        for link_key in (MEMBERS, OWNERS, MEMBERS):
            await at.until_invited_under(invitation_key(link_key))
