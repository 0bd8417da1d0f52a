"""The pairing desk and its window: what it stores before it answers."""

from __future__ import annotations

import asyncio

import pytest

from cigarjack import pairing
from cigarjack.pairing import PairingWindow
from cigarjack.pairing_rules import Owner
from tests.cigarjack.parties import NOW_MS, Jack, Phone, Server, a_jack, new_id
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.limits import MAX_CLAIM_TRIES
from twochannel.protocol.statements import Pairing, Time
from twochannel.protocol.wire import base64url

WRONG = "w" * 21 + "A"


def signed(phone: Phone, jack: Jack, server: Server, secret: str | None) -> str:
    asked = phone.request(jack.id, server.identity(), claim_secret=secret)
    return envelope.sign(asked, phone.signer)


def secret_of(jack: Jack) -> str | None:
    return jack.memory.pairing_state().claim_secret


async def refusal(desk: pairing.PairingDesk, compact: str) -> ErrorCode:
    with pytest.raises(CodedError) as refused:
        await desk.pair(compact)
    return refused.value.code


async def test_a_pairing_is_stored_before_it_takes_effect(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    stored: list[Owner | None] = []
    desk = unpaired.desk(lambda _owner: stored.append(unpaired.memory.pairing_state().owner))
    label = desk.open_window()
    assert label.thumbprint == unpaired.id
    answer = await desk.pair(signed(phone, unpaired, server, label.claim_secret))
    assert [owner.phone for owner in stored if owner] == [phone.id]
    statement = envelope.verify(str(answer["pairing"]), Pairing, unpaired.identity.signer.key)
    assert (statement.sub, statement.epoch, statement.aud) == (phone.id, 1, server.id)
    assert statement.identity == desk.identity
    assert not desk.window.is_open
    assert await refusal(desk, signed(phone, unpaired, server, None)) is ErrorCode.PAIRING_CLOSED


async def test_a_closed_window_admits_nobody(unpaired: Jack, phone: Phone, server: Server) -> None:
    compact = signed(phone, unpaired, server, secret_of(unpaired))
    assert await refusal(unpaired.desk(), compact) is ErrorCode.PAIRING_CLOSED


async def test_the_lock_outlives_a_restart_and_ends_with_a_reset(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    desk = unpaired.desk()
    secret = desk.open_window().claim_secret
    for _ in range(MAX_CLAIM_TRIES):
        assert await refusal(desk, signed(phone, unpaired, server, WRONG)) is (
            ErrorCode.CLAIM_REFUSED
        )
    right = signed(phone, unpaired, server, secret)
    assert await refusal(desk, right) is ErrorCode.CLAIM_REFUSED
    with a_jack(unpaired.folder.path) as restarted:
        with pytest.raises(CodedError, match="locked"):
            restarted.desk().open_window()
        pairing.reset(restarted.memory)
        desk = restarted.desk()
        desk.open_window()
        assert (await desk.pair(right))["port"] == 1


async def test_two_phones_at_once_make_one_owner(unpaired: Jack, server: Server) -> None:
    desk = unpaired.desk()
    secret = desk.open_window().claim_secret
    requests = [signed(Phone(), unpaired, server, secret) for _ in range(3)]
    answers = await asyncio.gather(*map(desk.pair, requests), return_exceptions=True)
    assert len([answer for answer in answers if isinstance(answer, dict)]) == 1
    assert unpaired.memory.pairing_state().epoch == 1


async def test_a_window_that_closes_unused_voids_its_secret(paired: Jack) -> None:
    desk = paired.desk()
    assert desk.open_window().claim_secret == secret_of(paired)
    desk.tidy()
    assert secret_of(paired) is None


async def test_another_server_ends_the_trust_in_time(
    paired: Jack, phone: Phone, server: Server
) -> None:
    told = Time(iss=server.id, aud=paired.id, jti=new_id(), nonce=WRONG, time_ms=NOW_MS)
    paired.clock.hand_out(WRONG)
    paired.clock.accept(told)
    desk = paired.desk()
    same = signed(phone, paired, server, desk.open_window().claim_secret)
    await desk.pair(same)
    assert paired.clock.now_s() == NOW_MS // 1000
    await desk.pair(signed(phone, paired, Server(), desk.open_window().claim_secret))
    assert paired.clock.now_s() is None
    assert paired.memory.clock() is None


async def test_a_window_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "PAIRING_WINDOW_S", 0.05)
    window = PairingWindow()
    assert window.remaining_s == 0
    window.open()
    assert window.is_open
    async with asyncio.timeout(5):
        await window.wait_open()
        await window.wait_closed()
    assert window.remaining_s == 0


async def test_opening_again_lengthens_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "PAIRING_WINDOW_S", 0.05)
    window = PairingWindow()
    window.open()
    monkeypatch.setattr(pairing, "PAIRING_WINDOW_S", 30)
    window.open()
    assert window.remaining_s > 20
    waiting = asyncio.create_task(window.wait_closed())
    window.close()
    async with asyncio.timeout(5):
        await waiting


def test_the_secret_of_a_label_has_128_bits(unpaired: Jack) -> None:
    assert len(secret_of(unpaired) or "") == len(base64url(bytes(16)))
