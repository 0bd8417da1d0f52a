"""The local API over its Unix socket: problems for people and programs, and nothing half done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from payment_device.local_api import LocalApi
from tests.payment_device.lane import CODE, Bench, until
from tests.payment_device.scripted_server import ScriptedServer
from twochannel.serving import Address, serve

OTHER = bytes.fromhex("fedcba9876543210")
EUR = {"value": 450, "currency": "EUR"}
STATUS = {"lane": "Lane 1", "payment": None}
CHARGE = {"amount": EUR, "reference": "r-1"}


@pytest.fixture
async def till(lane: Bench, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    socket = tmp_path / "control.sock"
    api = LocalApi(lane.terminal, lane.radio, lane.changes, lambda: STATUS)
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with (
        serve(api.application(), Address(socket=socket)),
        httpx.AsyncClient(transport=transport, base_url="http://till", timeout=20) as client,
    ):
        yield client


async def test_a_till_charges_and_looks(till: httpx.AsyncClient) -> None:
    paid = (await till.post("/v1/payments", json=CHARGE)).json()
    assert paid["paid"]
    assert (await till.get(f"/v1/payments/{paid['id']}")).json() == paid
    assert (await till.get("/v1/payments?limit=1")).json() == {"items": [paid]}
    (jack,) = (await till.get("/v1/jacks")).json()["items"]
    assert (jack["handle"], jack["rssi_dbm"], jack["state"]) == ("0123", -55, "chosen")
    assert (await till.get("/v1/status")).json() == STATUS


async def test_ambiguous_jacks_are_listed(till: httpx.AsyncClient, lane: Bench) -> None:
    async with lane.air.standing((CODE, -55), (OTHER, -58)):
        await until(lambda: len(lane.radio.nearby()) == 2)
        answer = await till.post("/v1/payments", json=CHARGE)
        heard = (await till.get("/v1/jacks")).json()
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "jack_ambiguous"
    assert {jack["handle"] for jack in problem["candidates"]} == {"0123", "fedc"}
    assert heard["reason"] == "equally_near"
    assert {jack["state"] for jack in heard["items"]} == {"ambiguous"}


async def test_a_till_is_told_which_payment_goes_on(
    till: httpx.AsyncClient, lane: Bench, server: ScriptedServer
) -> None:
    lane.terminal.patience.silent_s = 0.0
    server.faults.extend(["drop"] * 50)
    answer = await till.post("/v1/payments", json=CHARGE)
    assert (answer.status_code, answer.json()["code"]) == (502, "server_unreachable")
    stored = (await till.get(f"/v1/payments/{answer.json()['payment']}")).json()
    assert (stored["phase"], stored["status"], stored["paid"]) == ("stored", None, False)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "message_malformed"),
        (b"[]", "message_malformed"),
        (b"\xff", "message_malformed"),
        (b'{"reference": "r", "reference": "s"}', "message_malformed"),
        (b'{"amount": {"value": 4.5, "currency": "EUR"}, "reference": "r"}', "message_malformed"),
        (b'{"amount": {"value": 0, "currency": "EUR"}, "reference": "r"}', "claim_invalid"),
        (b'{"amount": {"value": true, "currency": "EUR"}, "reference": "r"}', "claim_invalid"),
        (b'{"amount": {"amount": "-1", "currency": "EUR"}, "reference": "r"}', "claim_invalid"),
        (b'{"amount": {"amount": "1", "currency": "EUX"}, "reference": "r"}', "currency_unknown"),
        (b'{"reference": "r"}', "claim_invalid"),
        (b"[" * 70_000, "message_too_large"),
    ],
)
async def test_a_charge_that_cannot_be_read_is_refused(
    till: httpx.AsyncClient, lane: Bench, body: bytes, code: str
) -> None:
    answer = await till.post("/v1/payments", content=body)
    assert (answer.json()["code"], answer.headers["content-type"]) == (
        code,
        "application/problem+json",
    )
    assert lane.intents.newest(1) == []


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/v1/nothing", None, "not_found"),
        ("DELETE", "/v1/payments", None, "method_not_allowed"),
        ("GET", "/v1/payments?limit=x", None, "claim_invalid"),
        ("GET", "/v1/payments/none", None, "payment_unknown"),
        ("POST", "/v1/payments/none/captures", {"amount": EUR}, "payment_unknown"),
        ("POST", "/v1/payments/none/captures", {"amount": 450}, "claim_invalid"),
        ("POST", "/v1/payments/none/cancellation", {}, "payment_unknown"),
        ("POST", "/v1/payments/none/cancellation", {"reason": 1}, "claim_invalid"),
    ],
)
async def test_other_mistakes_are_problems_too(
    till: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None, code: str
) -> None:
    answer = await till.request(method, path, json=body)
    assert answer.json()["code"] == code
