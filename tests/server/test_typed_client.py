"""The published client, typed, at a real server: everything that a terminal and a phone may ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from server.client import EnrolmentCode, ServerClient, ServerPin, meet
from server.contact import ServerUnreachableError
from tests.adversaries.scene import findings
from tests.server.bench import DEADLINE_S, Bench
from tests.server.devices import Devices, lane_nonce, new_id, new_signer
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.lane import lane_digest
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode, RefundStatus, Status
from twochannel.protocol.statements import Role, SightingReport

PLACE = SightingReport(rssi_dbm=-50, heard_ms_ago=10, other_jacks=0)


def euros(value: int) -> Amount:
    return Amount(value=value, currency="EUR")


@dataclass
class Parties:
    """Both clients, at the devices that ``bench`` has enrolled, and what they kept."""

    bench: Bench
    terminal: ServerClient
    phone: ServerClient
    kept: list[str] = field(default_factory=list)

    @property
    def devices(self) -> Devices:
        return self.bench.devices

    async def request(self, capture: CaptureMode, value: int = 450) -> tuple[str, str]:
        """A pending payment: its request and its challenge."""
        payment = new_id()
        asked = await self.terminal.request_payment(
            payment,
            code=self.devices.code(),
            lane="Lane 1",
            lane_digest=lane_digest(lane_nonce(payment)),
            amount=euros(value),
            capture=capture,
            reference=f"order-{payment[:8]}",
            sighting=PLACE,
            keep=self.kept.append,
        )
        assert (asked.id, asked.status, asked.amount) == (payment, Status.PENDING, euros(value))
        return self.kept[-1], self.bench.statement(payment, "challenge+jwt")

    async def approve(self, challenge: str) -> Status:
        claims = unverified_claims(challenge)
        whole = self.devices.confirmation_claims(str(claims["sub"]), challenge)
        answer = await self.phone.approve(
            challenge, whole["auth_code"], self.devices.method_id, keep=self.kept.append, wait_s=20
        )
        return answer.status


async def pinned(bench: Bench, role: Role, url: str = "") -> tuple[ServerPin, EnrolmentCode]:
    """A pin of the server, met at ``url`` or at its own address, and a code to enrol with."""
    merchant = "blue-bottle" if role is Role.TERMINAL else None
    code = EnrolmentCode(bench.devices.identity.iss, bench.enrolment_code(role, merchant))
    return await meet(url or bench.url, code), code


async def paid_through(bench: Bench, url: str) -> None:
    """Devices pin the server at ``url``, enrol, are asked, told and paid there."""
    pin, code = await pinned(bench, Role.PHONE, url)
    assert (pin.url, pin.certificate) == (url, bench.folder.certificate())
    async with (
        ServerClient(pin, bench.devices.terminal) as terminal,
        ServerClient(pin, bench.devices.phone) as phone,
    ):
        assert (await phone.enrol(Role.PHONE, code)).server == pin.server
        parties = Parties(bench, terminal, phone)
        async with asyncio.timeout(DEADLINE_S):
            events = phone.events()
            assert isinstance(events, AsyncGenerator)
            assert (await anext(events)).kind == "connected"
            _, challenge = await parties.request(CaptureMode.AUTOMATIC)
            # Nothing else comes on this stream that would push it out of a buffer.
            assert (await anext(events)).data["challenge"] == challenge
            assert await parties.approve(challenge) is Status.CAPTURED
            await events.aclose()
    assert findings(bench.folder) == []


@pytest.fixture
async def parties(bench: Bench) -> AsyncIterator[Parties]:
    pin, _ = await pinned(bench, Role.PHONE)
    async with (
        ServerClient(pin, bench.devices.terminal) as terminal,
        ServerClient(pin, bench.devices.phone) as phone,
    ):
        yield Parties(bench, terminal, phone)


@pytest.mark.parametrize("role", [Role.TERMINAL, Role.PHONE])
async def test_a_device_enrols(bench: Bench, role: Role) -> None:
    pin, code = await pinned(bench, role)
    async with ServerClient(pin, new_signer()) as client:
        answer = await client.enrol(role, code)
        assert (answer.id, answer.role, answer.server) == (client.signer.key.kid, role, pin.server)
        assert (answer.merchant is not None) is (role is Role.TERMINAL)


async def test_a_payment_is_held_captured_and_given_back(parties: Parties) -> None:
    request, challenge = await parties.request(CaptureMode.MANUAL, 8000)
    assert await parties.approve(challenge) is Status.AUTHORIZED
    keep = parties.kept.append
    captured = await parties.terminal.capture(request, euros(4217), keep=keep, wait_s=20)
    assert (captured.status, captured.captured_minor) == (Status.CAPTURED, 4217)
    back = await parties.terminal.refund(request, euros(17), "return-1", keep=keep, wait_s=20)
    assert (back.status, back.reference) == (RefundStatus.SUCCEEDED, "return-1")
    for client in (parties.terminal, parties.phone):
        assert await client.refunds(captured.id) == [back]
        assert (await client.payment(captured.id)).refunded_minor == 17
        listed = [each.id async for each in client.payments(reference=captured.reference)]
        assert listed == [captured.id]
    # What was kept is what was sent: sent again it is the same order.
    again = await parties.terminal.send(f"/v1/payments/{captured.id}/captures", parties.kept[2])
    assert again["captured_minor"] == 4217


async def test_the_owner_or_the_terminal_ends_a_payment(parties: Parties) -> None:
    _, challenge = await parties.request(CaptureMode.AUTOMATIC)
    declined = await parties.phone.decline(challenge, keep=parties.kept.append)
    assert (declined.status, declined.reason) == (Status.DECLINED, "owner")
    request, _ = await parties.request(CaptureMode.AUTOMATIC)
    (active,) = [each async for each in parties.terminal.payments(active=True)]
    canceled = await parties.terminal.cancel(request, keep=parties.kept.append, reason="closing")
    assert (canceled.id, canceled.status) == (active.id, Status.CANCELED)


async def test_every_page_is_turned(parties: Parties) -> None:
    for _ in range(101):
        _, challenge = await parties.request(CaptureMode.AUTOMATIC)
        await parties.phone.decline(challenge, keep=parties.kept.append)
    assert len([each.id async for each in parties.phone.payments()]) == 101


async def test_the_owner_orders_methods_and_jacks(parties: Parties) -> None:
    phone, devices = parties.phone, parties.devices
    card = await phone.add_method("tok_success", "Another card")
    assert (await phone.choose_method(card.id)).default
    assert [each.id for each in await phone.methods()] == [card.id, devices.method_id]
    challenge = await phone.coupling_challenge(card.id, devices.jack.key.kid)
    coupled = await phone.couple(card.id, challenge, devices.coupling_answer(challenge))
    assert coupled.jacks == [devices.jack.key.kid]
    assert (await phone.uncouple(card.id, devices.jack.key.kid)).jacks == []
    assert (await phone.remove_method(card.id)).removed_ms is not None
    devices.epoch += 1
    pairing = str(devices.acceptance_claims()["pairing"])
    assert (await phone.pair(devices.jack.key.kid, pairing)).epoch == devices.epoch
    (jack,) = await phone.jacks()
    assert (jack.jack, jack.epoch, jack.released_ms) == (devices.jack.key.kid, devices.epoch, None)
    assert (await phone.release(jack.jack, jack.epoch)).released_ms is not None


async def test_a_refusal_has_its_code(parties: Parties) -> None:
    with pytest.raises(CodedError) as refused:
        await parties.phone.choose_method(new_id())
    assert refused.value.code is ErrorCode.PAYMENT_METHOD_UNKNOWN


async def test_what_a_newer_server_adds_is_let_be(parties: Parties) -> None:
    request, _ = await parties.request(CaptureMode.AUTOMATIC)
    payment = str(unverified_claims(request)["jti"])
    told = await parties.bench.payment(payment)
    for members in (told | {"loyalty": 3}, told | {"merchant": told["merchant"] | {"since": 1}}):
        parties.terminal.get = _answering(members)  # type: ignore[method-assign]
        assert (await parties.terminal.payment(payment)).id == payment
    for members in ({}, told | {"status": "paid"}, told | {"amount": "4.50"}):
        parties.terminal.get = _answering(members)  # type: ignore[method-assign]
        with pytest.raises(ServerUnreachableError, match="PaymentAnswer"):
            await parties.terminal.payment(payment)


def _answering(members: dict[str, Any]) -> Any:
    """A newer server, of which there is none to ask."""

    async def get(*_: object, **__: object) -> dict[str, Any]:
        return members

    return get
