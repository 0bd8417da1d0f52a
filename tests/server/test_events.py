"""What a phone is told, as it happens and after it was away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.registry import revoke
from tests.server.bench import Bench, Prepared, check_problem, running_on
from tests.server.streams import listening
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role


@pytest.fixture
async def bench(database: str, prepared: Prepared, tmp_path: Path) -> AsyncIterator[Bench]:
    """On either kind of database: a phone is woken by LISTEN and NOTIFY on the other."""
    async with running_on(database, prepared, tmp_path / "server") as bench:
        yield bench


async def test_a_phone_hears_of_its_payments_as_they_happen(bench: Bench) -> None:
    async with listening(bench) as stream:
        payment, _, challenge = await bench.pending()
        told = await stream.next()
        assert told.event == "challenge"
        assert told.json()["challenge"] == challenge
        assert told.json()["payment"]["status"] == "pending"
        await bench.confirm(payment, bench.devices.confirmation(payment, challenge))
        seen: list[str] = []
        ids = [int(told.id)]
        while not seen or seen[-1] != "captured":
            event = await stream.next()
            assert event.event == "payment"
            assert event.json()["payment"]["id"] == payment
            seen.append(event.json()["payment"]["status"])
            ids.append(int(event.id))
        assert ids == sorted(set(ids))


async def test_a_phone_that_connects_anew_gets_what_is_still_open(bench: Bench) -> None:
    first, _, challenge = await bench.pending()
    await bench.confirm(first, bench.devices.decline(first, challenge))
    payment, _, challenge = await bench.pending()
    async with listening(bench) as stream:
        told = await stream.next()
        assert (told.event, told.json()["challenge"]) == ("challenge", challenge)
        await bench.confirm(payment, bench.devices.decline(payment, challenge))
        assert (await stream.next()).json()["payment"]["id"] == payment


async def test_a_phone_that_was_away_gets_what_it_missed(bench: Bench) -> None:
    payment, _, challenge = await bench.pending()
    async with listening(bench) as stream:
        last = (await stream.next()).id
    await bench.confirm(payment, bench.devices.decline(payment, challenge))
    missed, _, _ = await bench.pending()
    async with listening(bench, last) as stream:
        declined, asked = await stream.next(), await stream.next()
    assert declined.json()["payment"]["status"] == "declined"
    assert (asked.event, asked.json()["payment"]["id"]) == ("challenge", missed)
    assert int(last) < int(declined.id) < int(asked.id)


async def test_a_challenge_that_is_over_is_not_repeated(bench: Bench) -> None:
    payment, _, challenge = await bench.pending()
    await bench.confirm(payment, bench.devices.decline(payment, challenge))
    async with listening(bench, "0") as stream:
        event = await stream.next()
    assert (event.event, event.json()["payment"]["status"]) == ("payment", "declined")


async def test_streams_end_when_the_server_stops(bench: Bench) -> None:
    async with listening(bench) as stream:
        await bench.pending()
        await stream.next()
        bench.stop.set()
        with pytest.raises(StopAsyncIteration):
            await stream.next()


async def test_a_revoked_phone_hears_no_more(bench: Bench) -> None:
    phone = bench.devices.phone.key.kid
    async with listening(bench) as stream:
        payment, request, _ = await bench.pending()
        await stream.next()
        bench.store.write_now(lambda c: revoke(c, Role.PHONE, phone, 1))
        path = f"/v1/payments/{payment}/cancellation"
        await bench.post(path, bench.devices.cancel(request))
        with pytest.raises(StopAsyncIteration):
            await stream.next()
    answer = await bench.get("/v1/events", bench.devices.phone)
    check_problem(answer, ErrorCode.DEVICE_REVOKED)


async def test_other_event_ids_and_devices_are_refused(bench: Bench) -> None:
    for text in ("x", "-1", "1e3", "9" * 16):
        headers = {"last-event-id": text}
        answer = await bench.get("/v1/events", bench.devices.phone, **headers)
        check_problem(answer, ErrorCode.MESSAGE_MALFORMED)
    answer = await bench.get("/v1/events", bench.devices.terminal)
    check_problem(answer, ErrorCode.KEY_UNKNOWN)
