"""Several phones of one jack: invited by the owner's, each with a key of its own, and removed."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cigarjack import family_rules
from cigarjack.client import JackClientError, Label, PairedJack
from cigarjack.memory import Memory
from cigarjack.pairing import PairingDesk
from cigarjack.pairing_rules import Member, PairingState
from cigarjack.services import Services
from tests.cigarjack.parties import (
    NOW_S,
    Jack,
    Phone,
    Server,
    a_jack,
    new_id,
    owner_of,
    served,
)
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.instructions import MemberInvitation, MemberRemoval
from twochannel.protocol.limits import MAX_MEMBERS, PAIRING_WINDOW_S
from twochannel.protocol.statements import AuthCode, Pairing
from twochannel.protocol.wire import base64url


def a_secret() -> str:
    return base64url(secrets.token_bytes(16))


def invitation(jack: str, phone: Phone, secret: str, epoch: int = 1) -> str:
    statement = MemberInvitation(
        iss=phone.id,
        aud=jack,
        jti=new_id(),
        key=phone.signer.key.jwk,
        epoch=epoch,
        secret_sha256=family_rules.secret_sha256(secret),
    )
    return envelope.sign(statement, phone.signer)


def removal(jack: str, by: Phone, member: Phone, epoch: int = 1) -> str:
    statement = MemberRemoval(
        iss=by.id,
        aud=jack,
        jti=new_id(),
        iat=NOW_S,
        exp=NOW_S + 60,
        sub=jack,
        key=by.signer.key.jwk,
        phone=member.id,
        epoch=epoch,
    )
    return envelope.sign(statement, by.signer)


async def owned(services: Services, desk: PairingDesk, phone: Phone, server: Server) -> PairedJack:
    label = await services.open_pairing()
    return await phone.pair(services.pairing_port or 0, str(label), server)


async def joined(
    services: Services, owner: Phone, pin: PairedJack, member: Phone, server: Server
) -> PairedJack:
    """As in a car: the owner's phone invites over its own connection, the other one pairs."""
    secret = a_secret()
    async with owner.client(services.port or 0, pin.pin) as client:
        await client.invite(invitation(pin.pin.jack, owner, secret))
    label = str(Label(pin.pin.jack, secret))
    return await member.pair(services.pairing_port or 0, label, server)


async def code_of(
    services: Services, phone: Phone, paired: PairedJack, server: Server, payment: str
) -> AuthCode:
    challenge = server.signed_challenge(paired.pin.jack, phone.id, sub=payment)
    async with phone.client(services.port or 0, paired.pin) as client:
        compact = await client.auth_code(challenge)
    return AuthCode.from_claims(envelope.unverified_claims(compact))


async def refused(act: Callable[[], Awaitable[object] | None]) -> ErrorCode:
    try:
        if (result := act()) is not None:
            await result
    except CodedError as error:
        return error.code
    raise AssertionError("it was not refused")


async def test_two_phones_get_auth_codes_for_one_payment_each_with_its_own(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    other = Phone()
    jack = unpaired
    async with served(jack) as (services, desk):
        owner = await owned(services, desk, phone, server)
        member = await joined(services, phone, owner, other, server)
        said = Pairing.from_claims(envelope.unverified_claims(member.pairing))
        assert (said.sub, said.owner, said.epoch) == (other.id, phone.id, owner.pin.epoch)
        assert member.pin.link_key != owner.pin.link_key
        payment = new_id()
        codes = [
            await code_of(services, who, paired, server, payment)
            for who, paired in ((phone, owner), (other, member))
        ]
    assert [code.phone for code in codes] == [phone.id, other.id]
    assert codes[0].counter < codes[1].counter


async def test_a_removed_member_gets_no_connection_and_no_auth_code(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    other = Phone()
    jack = unpaired
    async with served(jack) as (services, desk):
        owner = await owned(services, desk, phone, server)
        member = await joined(services, phone, owner, other, server)
        kept = server.signed_challenge(jack.id, other.id)
        async with phone.client(services.port or 0, owner.pin) as client:
            await client.remove_member(removal(jack.id, phone, other))
        assert await refused(lambda: jack.chip.auth_code(kept)) is ErrorCode.EPOCH_OUTDATED
        assert desk.window.remaining_s == 0
        services.renew_soon()
        assert services._renewal is not None
        await services._renewal
        with pytest.raises(JackClientError):
            await code_of(services, other, member, server, new_id())
        await code_of(services, phone, owner, server, new_id())


async def test_an_invitation_serves_once_and_none_after_its_window(
    unpaired: Jack, phone: Phone, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    jack = unpaired
    jack.adopt(owner_of(phone, server))
    desk, secret = jack.desk(), a_secret()
    compact = invitation(jack.id, phone, secret)

    async def pair(who: Phone) -> object:
        request = who.request(jack.id, server.identity(), claim_secret=secret)
        return await desk.pair(envelope.sign(request, who.signer))

    desk.invite(compact)
    desk.invite(compact)
    await pair(Phone())
    desk.open_window()
    assert await refused(lambda: pair(Phone())) is ErrorCode.CLAIM_REFUSED
    assert await refused(lambda: desk.invite(compact)) is ErrorCode.STATEMENT_REPLAYED
    secret = a_secret()
    desk.invite(invitation(jack.id, phone, secret))
    later_s = time.monotonic() + PAIRING_WINDOW_S
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    desk.open_window()
    assert await refused(lambda: pair(Phone())) is ErrorCode.CLAIM_REFUSED


async def test_pairing_anew_throws_everybody_out_and_voids_invitations(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    jack = unpaired
    desk, other, next_owner, secret = jack.desk(), Phone(), Phone(), a_secret()
    jack.adopt(owner_of(phone, server))
    desk.invite(invitation(jack.id, phone, secret))
    request = other.request(jack.id, server.identity(), claim_secret=secret)
    await desk.pair(envelope.sign(request, other.signer))
    unused = a_secret()
    desk.invite(invitation(jack.id, phone, unused))
    label = desk.open_window()
    request = next_owner.request(jack.id, server.identity(), claim_secret=label.claim_secret)
    await desk.pair(envelope.sign(request, next_owner.signer))
    owner = jack.memory.pairing_state().owner
    assert owner is not None
    assert (owner.phone, owner.members, owner.epoch) == (next_owner.id, (), 2)
    for gone in (phone, other):
        compact = server.signed_challenge(jack.id, gone.id)
        assert await refused(partial(jack.chip.auth_code, compact)) is ErrorCode.EPOCH_OUTDATED
    desk.open_window()
    signer = Phone()
    late = signer.request(jack.id, server.identity(), claim_secret=unused)
    compact = envelope.sign(late, signer.signer)
    assert await refused(lambda: desk.pair(compact)) is ErrorCode.CLAIM_REFUSED
    again = invitation(jack.id, phone, a_secret())
    assert await refused(lambda: desk.invite(again)) is ErrorCode.ISSUER_WRONG


async def test_only_the_owners_phone_invites_and_removes(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    jack = unpaired
    desk, member, stranger, secret = jack.desk(), Phone(), Phone(), a_secret()
    fresh = invitation(jack.id, phone, secret)
    assert await refused(lambda: desk.invite(fresh)) is ErrorCode.NOT_READY
    jack.adopt(owner_of(phone, server))
    desk.invite(fresh)
    request = member.request(jack.id, server.identity(), claim_secret=secret)
    await desk.pair(envelope.sign(request, member.signer))
    for who in (member, stranger):
        forged = invitation(jack.id, who, a_secret())
        assert await refused(partial(desk.invite, forged)) is ErrorCode.ISSUER_WRONG
        for whom in (phone, member):
            compact = removal(jack.id, who, whom)
            assert await refused(partial(desk.remove, compact)) is ErrorCode.ISSUER_WRONG
    outdated = invitation(jack.id, phone, a_secret(), epoch=2)
    assert await refused(lambda: desk.invite(outdated)) is ErrorCode.EPOCH_OUTDATED
    await desk.remove(removal(jack.id, phone, phone))
    owner = jack.memory.pairing_state().owner
    assert owner is not None
    assert owner.answers(phone.id)
    assert owner.answers(member.id)


async def test_whom_an_invitation_does_not_admit(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    jack = unpaired
    jack.adopt(owner_of(phone, server))
    desk = jack.desk()

    async def join(who: Phone, at: Server) -> object:
        secret = a_secret()
        desk.invite(invitation(jack.id, phone, secret))
        request = who.request(jack.id, at.identity(), claim_secret=secret)
        return await desk.pair(envelope.sign(request, who.signer))

    assert await refused(lambda: join(phone, server)) is ErrorCode.ISSUER_WRONG
    assert await refused(lambda: join(Phone(), Server())) is ErrorCode.KEY_UNKNOWN
    members = [Phone() for _ in range(MAX_MEMBERS)]
    for member in members:
        await join(member, server)
    assert await refused(lambda: join(Phone(), server)) is ErrorCode.CLAIM_REFUSED
    await join(members[0], server)


async def test_a_memory_of_the_first_version_is_brought_up(
    tmp_path: Path, phone: Phone, server: Server
) -> None:
    path = tmp_path / "memory.sqlite3"
    owner, payment = owner_of(phone, server, epoch=3), new_id()
    with Memory.create(path, "s" * 22) as memory, memory.transaction():
        memory.store_pairing_state(PairingState(owner, None, 1))
    with sqlite3.connect(path) as db:
        db.executescript(
            "DROP TABLE auth_codes; DROP TABLE members; DROP TABLE invitations;"
            "CREATE TABLE auth_codes (payment TEXT PRIMARY KEY, challenge_digest TEXT NOT NULL,"
            " auth_code TEXT NOT NULL, epoch INTEGER NOT NULL, counter INTEGER NOT NULL UNIQUE,"
            " iat INTEGER NOT NULL, exp INTEGER NOT NULL) STRICT; PRAGMA user_version = 1;"
        )
        db.execute(
            "INSERT INTO auth_codes VALUES (?, 'digest', 'code', 3, 7, 1, 2)",
            (payment,),
        )
    with Memory(path) as memory:
        assert memory.pairing_state().owner == owner
        answered = memory.answered(payment, phone.id)
        assert answered is not None
        assert (answered.counter, answered.challenge_digest) == (7, "digest")
        assert memory.answered(payment, Phone().id) is None


def test_a_jack_starts_with_its_members(tmp_path: Path, phone: Phone, server: Server) -> None:
    owner = owner_of(phone, server)
    kept = Member("m" * 43, b"certificate", bytes(32))
    with a_jack(tmp_path) as jack:
        jack.adopt(replace(owner, members=(kept,)))
    with a_jack(tmp_path) as again:
        stored = again.memory.pairing_state().owner
        assert stored is not None
        assert stored.members == (kept,)
