"""Publishing to a real Mosquitto: found, lost, killed, with TLS, and with a wrong password."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.mosquitto import PASSWORD, USER, Broker
from tests.twochannel.mqtt.certificates import make_certificates
from twochannel.mqtt import publisher
from twochannel.mqtt.publishing import publishing
from twochannel.settings import AgentSettings, SettingsError
from twochannel.trace import Trace

pytestmark = pytest.mark.mosquitto

TOPICS = "site/jack/car-1"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    made = Broker(tmp_path)
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
def trace() -> Trace:
    return Trace("jack", None, boot="b")


def settings(broker: Broker, **further: object) -> AgentSettings:
    scheme = "mqtts" if broker.certificates else "mqtt"
    user = f"{USER}@" if broker.password else ""
    address = f"{scheme}://{user}127.0.0.1:{broker.port}/site"
    return AgentSettings.model_validate({"mqtt": address, "mqtt_name": "car-1", **further})


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.message.startswith("mqtt_")]


async def logged(caplog: pytest.LogCaptureFixture, message: str) -> None:
    async with asyncio.timeout(20):
        while message not in told(caplog):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_condition_and_payments_are_published_as_they_are_noted(
    broker: Broker, trace: Trace
) -> None:
    lines: list[object] = []
    trace.listen(lines.append)
    async with broker.reader() as reader, publishing(settings(broker), trace):
        trace.event("beacon_rotated", handle="0123")
        trace.event("clock_stepped", by_ms=3000)
        trace.event("payment_settled", "p1", status="captured")
        settled = await reader.until(f"{TOPICS}/payment_settled")
        stepped = dict(reader.seen)[f"{TOPICS}/clock_stepped"]
    assert [json.loads(stepped), json.loads(settled)] == lines[1:]
    assert not any("beacon" in topic for topic, _ in reader.seen)


async def test_the_status_is_kept_for_whoever_comes_later(broker: Broker, trace: Trace) -> None:
    async with publishing(settings(broker), trace):
        async with broker.reader() as early:
            await early.until(f"{TOPICS}/status", b"online")
        async with broker.reader() as later:
            assert await later.until(f"{TOPICS}/status") == b"online"
    async with broker.reader() as last:
        assert await last.until(f"{TOPICS}/status") == b"offline"


async def test_what_was_noted_last_is_published_before_it_goes(
    broker: Broker, trace: Trace
) -> None:
    async with broker.reader() as reader:
        async with publishing(settings(broker), trace):
            await reader.until(f"{TOPICS}/status", b"online")
            trace.event("power", under_voltage=True)
        await reader.until(f"{TOPICS}/status", b"offline")
    assert f"{TOPICS}/power" in dict(reader.seen)


async def test_a_broker_that_is_killed_and_comes_back_gets_what_it_missed(
    broker: Broker,
    trace: Trace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(publisher, "_FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(publisher, "_LAST_RETRY_S", 0.1)
    async with publishing(settings(broker), trace):
        await logged(caplog, "mqtt_connected")
        await broker.keep_for_later()
        await broker.kill()
        await logged(caplog, "mqtt_lost")
        trace.event("clock_stepped", by_ms=1)
        trace.event("clock_stepped", by_ms=2)
        await asyncio.sleep(0.5)
        await broker.start()
        async with broker.reader(later=True) as reader:
            trace.event("power", under_voltage=True)
            await reader.until(f"{TOPICS}/power")
    missed = [json.loads(line) for topic, line in reader.seen if topic.endswith("clock_stepped")]
    assert [line["by_ms"] for line in missed] == [1, 2]
    # A line for each change, however often it was tried.
    assert told(caplog) == ["mqtt_connected", "mqtt_lost", "mqtt_connected"]


async def test_a_broker_that_is_not_there_costs_no_time_and_little_room(
    trace: Trace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = Broker(tmp_path)
    loop = asyncio.get_running_loop()
    async with publishing(settings(nobody), trace):
        await logged(caplog, "mqtt_lost")
        began_s = loop.time()
        for number in range(5000):
            trace.event("payment_settled", f"p{number}", status="captured")
        took_s = loop.time() - began_s
        stopped_s = loop.time()
    assert took_s < 2.0
    assert loop.time() - stopped_s < 1.0


async def test_the_oldest_are_dropped_and_counted_in_the_log(
    broker: Broker,
    trace: Trace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(publisher, "_FIRST_RETRY_S", 0.05)
    await broker.kill()
    async with publishing(settings(broker), trace):
        await logged(caplog, "mqtt_lost")
        for number in range(1200):
            trace.event("clock_stepped", by_ms=number)
        await broker.start()
        await logged(caplog, "mqtt_connected")
    (found,) = [record for record in caplog.records if record.message == "mqtt_connected"]
    assert vars(found)["dropped"] == 200


async def test_tls_with_an_own_authority_and_a_password(tmp_path: Path, trace: Trace) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    broker = Broker(tmp_path, certificates=certificates, password=True)
    await broker.start()
    try:
        chosen = settings(broker, mqtt_ca=certificates / "ca.pem", mqtt_password_file=secret)
        async with publishing(chosen, trace), broker.reader() as reader:
            assert await reader.until(f"{TOPICS}/status") == b"online"
    finally:
        await broker.kill()


# paho leaves the socket of a handshake that failed to the collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
async def test_a_broker_of_another_authority_is_told_nothing(
    tmp_path: Path, trace: Trace, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    others = make_certificates(tmp_path / "others")
    broker = Broker(tmp_path, certificates=certificates)
    await broker.start()
    try:
        async with publishing(settings(broker, mqtt_ca=others / "ca.pem"), trace):
            await logged(caplog, "mqtt_lost")
    finally:
        await broker.kill()
    (lost,) = [record for record in caplog.records if record.message == "mqtt_lost"]
    assert "CERTIFICATE_VERIFY_FAILED" in vars(lost)["reason"]


async def test_a_wrong_password_is_told_once_and_harms_nobody(
    tmp_path: Path,
    trace: Trace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "_FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(publisher, "_LAST_RETRY_S", 0.05)
    secret = tmp_path / "password"
    secret.write_text("wrong horse")
    broker = Broker(tmp_path, password=True)
    await broker.start()
    try:
        async with publishing(settings(broker, mqtt_password_file=secret), trace):
            await logged(caplog, "mqtt_lost")
            trace.event("payment_settled", "p1", status="captured")
            await asyncio.sleep(0.5)
    finally:
        await broker.kill()
    assert told(caplog) == ["mqtt_lost"]
    (lost,) = [record for record in caplog.records if record.message == "mqtt_lost"]
    assert "authori" in vars(lost)["reason"].lower()
    assert "wrong horse" not in caplog.text


@pytest.mark.parametrize("setting", ["mqtt_password_file", "mqtt_ca"])
async def test_a_file_that_is_not_there_is_told_at_the_start(
    tmp_path: Path, trace: Trace, setting: str
) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    broker = Broker(tmp_path, certificates=certificates)
    with pytest.raises(SettingsError, match=setting):
        async with publishing(settings(broker, **{setting: tmp_path / "gone"}), trace):
            pass


async def test_nobody_is_told_unless_it_is_set(trace: Trace) -> None:
    async with publishing(AgentSettings(), trace):
        assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"mqtt"})
