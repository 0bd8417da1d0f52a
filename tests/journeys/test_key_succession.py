"""The server's signing key is replaced under everybody's hands, and while some of them sleep."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from fieldkit.journeys import arrive, charge
from fieldkit.stage import SERVER, Stage
from twochannel.protocol.envelope import read_header
from twochannel.protocol.wire import parse_object

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Long enough for everybody who is on to hear of the key, short enough to wait for its end.
OVERLAP_S = 6
DEADLINE_S = 60.0


async def rotate(stage: Stage) -> str:
    """Announce a key that begins now; its id."""
    overlap = ("--overlap-hours", str(OVERLAP_S / 3600))
    _, told = await stage.cli(SERVER, "keys", "rotate", "--begins-hours", "0", *overlap)
    return str(told["key"])


async def states(stage: Stage) -> list[str]:
    _, told = await stage.cli(SERVER, "keys", "list")
    return [each["state"] for each in told["items"]]


async def until(stage: Stage, state: str) -> None:
    """The key before the newest is ``state``; its operator looks."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if (await states(stage))[1] == state:
                return
            await asyncio.sleep(0.2)


async def signers(stage: Stage, payment: str, folder: Path) -> set[str]:
    """The keys of the server that have signed in a payment; its evidence holds."""
    file = folder / f"{payment}.json"
    await stage.say(SERVER, "evidence", "export", payment, "--out", str(file))
    await stage.cli(SERVER, "evidence", "verify", str(file))
    document: dict[str, Any] = parse_object(file.read_bytes(), max_bytes=1 << 20)
    headers = [read_header(compact) for compact in document["statements"]]
    return {each.kid for each in headers if each.typ in ("challenge+jwt", "receipt+jwt")}


async def pay(stage: Stage, folder: Path) -> set[str]:
    payment = await charge(stage, "lane-1", "2.40")
    assert payment["status"] == "captured"
    return await signers(stage, payment["id"], folder)


async def test_devices_follow_a_key_that_begins_and_find_one_that_they_missed(
    stage: Stage, tmp_path: Path
) -> None:
    phone, jack, terminal = stage.cast.phone.name, stage.cast.jack.name, "lane-1"
    await arrive(stage, terminal)
    (before,) = await pay(stage, tmp_path)
    announced_ns = time.monotonic_ns()
    second = await rotate(stage)
    # Whoever is on follows by itself: the first payment may still be of the old key.
    await pay(stage, tmp_path)
    await stage.traces[jack].wait(
        "server_key_learned", after_ns=announced_ns, deadline_s=DEADLINE_S
    )
    assert await pay(stage, tmp_path) == {second}
    await until(stage, "over")
    assert await pay(stage, tmp_path) == {second}
    # Whoever sleeps while a key comes and the one before it ends walks on from what it knows.
    for party in (phone, jack, terminal):
        await stage.kill(party)
    third = await rotate(stage)
    await until(stage, "over")
    for party in (jack, phone, terminal):
        await stage.restart(party)
    await arrive(stage, terminal)
    assert await pay(stage, tmp_path) == {third}
    assert len({before, second, third}) == 3
    _, told = await stage.cli(SERVER, "keys", "retire")
    assert told["destroyed"] == ["signing-2", "signing"]
    await stage.kill(SERVER)
    await stage.restart(SERVER)
    assert await pay(stage, tmp_path) == {third}
