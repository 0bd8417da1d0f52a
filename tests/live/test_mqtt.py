"""Agents that publish to a real Mosquitto: what, until when, and that no payment waits for it."""

from __future__ import annotations

import json
import time

import pytest

from fieldkit import journeys
from fieldkit.stage import SERVER
from tests.live.observed import Observed
from tests.mosquitto import Broker

pytestmark = [pytest.mark.mosquitto, pytest.mark.asyncio(loop_scope="session")]


def topic(observed: Observed, agent: str, event: str) -> str:
    cast = observed.stage.cast
    parties = {SERVER: "server", cast.jack.name: "jack", cast.phone.name: "phone"}
    return f"site/{parties.get(agent, 'terminal')}/{agent}/{event}"


async def test_every_agent_says_that_it_is_there(observed: Observed, broker: Broker) -> None:
    for agent in observed.ports:
        async with broker.reader(topic(observed, agent, "status")) as reader:
            assert await reader.until(topic(observed, agent, "status")) == b"online"


async def test_what_became_of_a_payment_is_published(observed: Observed, broker: Broker) -> None:
    told = topic(observed, observed.lane, "payment_settled")
    async with broker.reader() as reader:
        payment = await journeys.charge(observed.stage, observed.lane, "4.50")
        line = json.loads(await reader.until(told))
    assert (line["payment"], line["status"]) == (payment["id"], "captured")
    noted = observed.stage.traces[observed.lane].find("payment_settled", payment=payment["id"])
    assert noted is not None
    assert noted.mono_ns == line["mono_ns"]


async def test_a_payment_does_not_wait_for_a_broker_that_was_killed(
    observed: Observed, broker: Broker
) -> None:
    await broker.keep_for_later()
    await broker.kill()
    before_ns = time.monotonic_ns()
    payment = await journeys.charge(observed.stage, observed.lane, "4.50")
    assert payment["status"] == "captured"
    await broker.start()
    told = topic(observed, observed.lane, "payment_settled")
    async with broker.reader(later=True) as reader:
        line = json.loads(await reader.until(told))
    assert line["payment"] == payment["id"]
    assert line["mono_ns"] > before_ns


async def test_an_agent_that_dies_is_said_to_be_offline(observed: Observed, broker: Broker) -> None:
    phone, status = observed.stage.cast.phone.name, topic(observed, "phone", "status")
    async with broker.reader(status) as reader:
        await reader.until(status, b"online")
        await observed.stage.kill(phone)
        await reader.until(status, b"offline")
        started_ns = time.monotonic_ns()
        await observed.stage.restart(phone)
        await reader.until(status, b"online")
    await observed.stage.seen(phone, "server_connected", after_ns=started_ns)
