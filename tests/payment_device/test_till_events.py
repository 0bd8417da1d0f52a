"""What a till is told as it happens, and what it has missed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.payment_device.lane import CODE, Air, Bench, terminal_at
from tests.payment_device.scripted_server import ScriptedServer
from tests.payment_device.till import Event, a_till, listening, next_of
from twochannel.keystore.file import FileSigner
from twochannel.protocol.payment import Status


async def test_a_payment_is_told_from_the_request_to_the_receipt(
    lane: Bench, server: ScriptedServer
) -> None:
    server.outcome = None
    async with a_till(lane) as till, listening(till) as events:
        asked = await lane.charge(wait_s=0)
        pending = await next_of(events, "payment", phase="pending")
        assert (pending.data["id"], pending.data["match_code"]) == (asked["id"], "42")
        await server.decide(asked["id"], Status.CAPTURED)
        paid = await next_of(events, "payment", paid=True)
        assert paid.data["receipt"]
        assert int(paid.id or "") > int(pending.id or "")


async def test_the_jacks_are_told_when_what_is_heard_changes(lane: Bench) -> None:
    async with a_till(lane) as till, listening(till) as events:
        async with lane.air.standing((CODE, -55), seconds=0):
            heard = await next_of(events, "jacks", reason=None)
        assert heard.data["items"][0]["state"] == "chosen"
        gone = await next_of(events, "jacks", reason="stale")
        assert gone.data["items"][0]["state"] == "quiet"


async def test_what_changed_while_nobody_listened_is_told_once_over_a_restart(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    server.outcome = None
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane:
        await lane.client.synchronise()
        air.jack()
        async with a_till(lane) as till, listening(till) as events:
            asked = await lane.charge(wait_s=0)
            seen = await next_of(events, "payment", phase="pending")
    await server.decide(asked["id"], Status.CAPTURED)
    async with terminal_at(tmp_path, server.pin(), signer, air) as lane, a_till(lane) as till:
        async with listening(till, seen.id) as events:
            paid = await next_of(events, "payment", id=asked["id"], paid=True)
        async with listening(till, paid.id) as events:
            assert (await first(events)).name == "jacks"
        async with listening(till) as events:
            # Nothing is open, so a till that knows nothing is told no payment.
            assert (await first(events)).name == "jacks"
        for strange in ("999999", "-1", "x" * 40):
            async with listening(till, strange) as events:
                assert (await first(events)).name == "jacks"


async def first(events: asyncio.Queue[Event]) -> Event:
    async with asyncio.timeout(20):
        return await events.get()


async def test_streams_are_few(lane: Bench) -> None:
    async with a_till(lane) as till, AsyncExitStack() as open_streams:
        for _ in range(8):
            events = await open_streams.enter_async_context(listening(till))
            await first(events)
        refused = await till.get("/v1/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
