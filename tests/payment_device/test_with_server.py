"""The terminal at the real server; jack and phone are played by the server's own bench."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from payment_device.answers import UnsettledError
from payment_device.intents import FILE_NAME, Phase
from payment_device.orders import GivingBack, again
from server.client import ServerPin
from server.registry import revoke
from tests.payment_device.lane import Air, Bench, terminal_at, until
from tests.server.bench import Bench as ServerBench
from tests.server.bench import make_folder, running
from twochannel.protocol.envelope import sign
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.money import Amount
from twochannel.protocol.statements import Role
from twochannel.protocol.wire import base64url
from twochannel.trace import wall_ms


@dataclass
class Site:
    """A server, a phone that answers when it is told to, and a lane where the jack stands."""

    server: ServerBench
    lane: Bench

    def charge(self, reference: str, **changes: Any) -> asyncio.Task[dict[str, Any]]:
        code = self.server.devices.code()
        return asyncio.create_task(self.lane.charge(reference, code=code, **changes))

    async def asked(self) -> tuple[str, str]:
        """Payment and challenge that the phone has been given."""
        await until(lambda: bool(self._challenges()))
        payment, compact = self._challenges()[-1]
        return str(payment), str(compact)

    def _challenges(self) -> list[Any]:
        return self.server.rows(
            "SELECT payment_id, compact FROM statements WHERE typ = 'challenge+jwt'"
        )

    async def approve(self) -> None:
        """The phone approves; the jack has heard the lane."""
        payment, challenge = await self.asked()
        devices = self.server.devices
        nonce = base64url(self.lane.air.nonces()[-1])
        answer = await self.server.confirm(
            payment, devices.confirmation(payment, challenge, auth={"lane_nonce": nonce})
        )
        assert answer.status_code == 200, answer.text

    def revoke_terminal(self) -> None:
        terminal = self.server.devices.terminal.key.kid
        self.server.store.write_now(lambda c: revoke(c, Role.TERMINAL, terminal, wall_ms()))


def pin_of(server: ServerBench) -> ServerPin:
    folder, identity = server.folder, server.devices.identity
    return ServerPin(server.url, identity.iss, folder.certificate(), folder.identity(), 8)


@pytest.fixture
async def site(tmp_path: Path, air: Air) -> AsyncIterator[Site]:
    async with running(make_folder(tmp_path / "server")) as server:
        await server.enrol()
        (tmp_path / "lane").mkdir()
        signer = server.devices.terminal
        async with terminal_at(tmp_path / "lane", pin_of(server), signer, air) as lane:
            await lane.client.synchronise()
            yield Site(server, lane)


async def test_a_payment_is_captured_and_its_receipt_believed(site: Site) -> None:
    charging = site.charge("coffee")
    await site.approve()
    payment = await charging
    assert (payment["status"], payment["paid"]) == ("captured", True)


async def test_a_declined_payment_is_told_with_its_receipt(site: Site) -> None:
    charging = site.charge("coffee")
    payment, challenge = await site.asked()
    await site.server.confirm(payment, site.server.devices.decline(payment, challenge))
    declined = await charging
    assert (declined["status"], declined["phase"]) == ("declined", "settled")
    assert not declined["paid"]


async def test_a_hold_is_captured_for_less(site: Site) -> None:
    charging = site.charge("pump", capture="manual", amount={"value": 8000, "currency": "EUR"})
    await site.approve()
    payment = (await charging)["id"]
    captured = await site.lane.terminal.capture(
        payment, Amount(value=4217, currency="EUR"), wait_s=20
    )
    assert (captured["status"], captured["captured_minor"]) == ("captured", 4217)
    assert (captured["operation"], captured["paid"]) == (None, True)


async def test_more_than_is_held_cannot_be_captured_and_the_hold_can_be_released(
    site: Site,
) -> None:
    charging = site.charge("pump", capture="manual", amount={"value": 8000, "currency": "EUR"})
    await site.approve()
    payment = (await charging)["id"]
    with pytest.raises(CodedError) as refused:
        await site.lane.terminal.capture(payment, Amount(value=8001, currency="EUR"), wait_s=20)
    assert refused.value.code is ErrorCode.AMOUNT_EXCEEDED
    voided = await site.lane.terminal.cancel(payment, "drove off", wait_s=20)
    assert (voided["status"], voided["paid"]) == ("voided", False)


async def test_a_pending_payment_is_cancelled(site: Site) -> None:
    charging = site.charge("coffee")
    payment, _ = await site.asked()
    canceled = await site.lane.terminal.cancel(payment, "", wait_s=20)
    assert canceled["status"] == "canceled"
    assert (await charging)["status"] == "canceled"


async def test_the_terminal_restarts_in_the_middle_of_a_payment(
    tmp_path: Path, site: Site, air: Air
) -> None:
    charging = site.charge("coffee", wait_s=0)
    payment = (await charging)["id"]
    signer = site.server.devices.terminal
    async with terminal_at(tmp_path / "lane", pin_of(site.server), signer, air) as again:
        await site.approve()
        assert (await again.terminal.payment(payment, wait_s=20))["paid"]
        assert (await again.charge("coffee"))["id"] == payment


async def test_parts_of_a_payment_are_given_back(site: Site) -> None:
    charging = site.charge("coffee")
    await site.approve()
    payment = (await charging)["id"]
    for value, sum_minor in ((100, 100), (50, 150)):
        asked = GivingBack(Amount(value=value, currency="EUR"), f"r-{value}", "", wait_s=20)
        told = await site.lane.terminal.refund(payment, asked)
        assert (told["refund"]["phase"], told["refunded_minor"]) == ("done", sum_minor)
    asked = GivingBack(Amount(value=301, currency="EUR"), "too-much", "", wait_s=20)
    with pytest.raises(CodedError) as refused:
        await site.lane.terminal.refund(payment, asked)
    assert refused.value.code is ErrorCode.AMOUNT_EXCEEDED


def before_the_answer(lane: Path, forgets: str) -> Path:
    """The terminal's folder as a power cut left it, before what the server told was on disk."""
    cut = lane.with_name("cut")
    cut.mkdir()
    with (
        closing(sqlite3.connect(lane / FILE_NAME)) as now,
        closing(sqlite3.connect(cut / FILE_NAME)) as then,
    ):
        now.backup(then)
        then.execute(forgets)
        then.commit()
    return cut


async def test_a_terminal_that_was_revoked_before_the_answer_came_learns_that_it_was_paid(
    tmp_path: Path, site: Site, air: Air
) -> None:
    charging = site.charge("coffee")
    await site.approve()
    payment = (await charging)["id"]
    cut = before_the_answer(
        tmp_path / "lane", "UPDATE payments SET phase = 'stored', answer = NULL"
    )
    site.revoke_terminal()
    signer = site.server.devices.terminal
    async with terminal_at(cut, pin_of(site.server), signer, air) as again:
        told = await again.terminal.payment(payment, wait_s=20)
    assert (told["phase"], told["status"], told["paid"]) == ("settled", "captured", True)


async def test_a_terminal_that_was_revoked_before_the_answer_came_learns_what_it_gave_back(
    tmp_path: Path, site: Site, air: Air
) -> None:
    charging = site.charge("coffee")
    await site.approve()
    payment = (await charging)["id"]
    asked = GivingBack(Amount(value=100, currency="EUR"), "milk", "", wait_s=20)
    await site.lane.terminal.refund(payment, asked)
    cut = before_the_answer(tmp_path / "lane", "UPDATE operations SET phase = 'stored'")
    site.revoke_terminal()
    signer = site.server.devices.terminal
    async with terminal_at(cut, pin_of(site.server), signer, air) as again:
        told = await again.terminal.refund(payment, asked)
    assert (told["refund"]["phase"], told["refunded_minor"]) == ("done", 100)


async def test_what_is_pending_at_a_terminal_that_is_revoked_is_not_taken_for_refused(
    tmp_path: Path, site: Site, air: Air
) -> None:
    payment = (await site.charge("coffee", wait_s=0))["id"]
    site.revoke_terminal()
    cut = before_the_answer(tmp_path / "lane", "DELETE FROM operations")
    signer = site.server.devices.terminal
    async with terminal_at(cut, pin_of(site.server), signer, air, patience_s=0) as again:
        with pytest.raises(UnsettledError):
            await again.terminal.payment(payment, wait_s=20)
        assert again.intents.get(payment).phase is Phase.PENDING


async def test_what_a_revoked_terminal_has_signed_again_is_not_taken_for_refused(
    tmp_path: Path, site: Site, air: Air
) -> None:
    """The server holds the payment under the other signature."""
    charging = site.charge("coffee")
    await site.approve()
    payment = (await charging)["id"]
    signer, request = site.server.devices.terminal, site.lane.intents.get(payment).asked
    other = sign(again(request, request.iat - 1), signer)
    cut = before_the_answer(
        tmp_path / "lane",
        f"UPDATE payments SET phase = 'stored', answer = NULL, request = '{other}'",
    )
    site.revoke_terminal()
    async with terminal_at(cut, pin_of(site.server), signer, air, patience_s=0) as lane:
        with pytest.raises(UnsettledError):
            await lane.terminal.payment(payment, wait_s=20)
        assert lane.intents.get(payment).phase is Phase.STORED


async def test_a_code_of_nobody_is_no_payment(site: Site) -> None:
    with pytest.raises(CodedError) as refused:
        await site.lane.charge("coffee", code="00" * 8)
    assert refused.value.code is ErrorCode.CODE_UNKNOWN
    assert site.server.rows("SELECT id FROM payments") == []
