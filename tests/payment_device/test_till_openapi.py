"""The till's API is what its OpenAPI document says, and is shut to whoever has no token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route

from payment_device.pump_api import pump_routes
from payment_device.till_openapi import document
from tests.payment_device.forecourt_bench import forecourt_at, pump_at
from tests.payment_device.lane import CODE, Bench
from tests.payment_device.scripted_server import ScriptedServer
from tests.payment_device.till import TOKEN, a_till, served_at
from twochannel.protocol.payment import Status

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
#: Its answers have no end; tests/payment_device/test_till_events.py reads them.
STREAM = "/v1/events"
DOORS = [
    (method.upper(), path)
    for path, methods in document()["paths"].items()
    for method in methods
    if path != STREAM
]


def make_meaningful(case: Case[Any], payment: str) -> None:
    """Every other case: about a payment that is there, in a currency that there is."""
    if len(str(case.path_parameters.get("payment", ""))) % 2:
        case.path_parameters["payment"] = payment
    if isinstance(case.body, dict) and len(str(case.body)) % 2:
        case.body["amount"] = {"value": 1 + len(str(case.body)), "currency": "EUR"}
        case.body.pop("code", None)


def tried(url: str, method: str, path: str, payment: str) -> None:
    """Send what the document allows and what it does not; in a thread, for it is slow and sync."""
    schema = schemathesis.openapi.from_dict(document())
    schema.config.update(base_url=url)
    schema.config.request_timeout = 20.0
    headers = {"authorization": f"Bearer {TOKEN}"}
    with requests.Session() as session:
        session.trust_env = False

        @settings(
            max_examples=25, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=schema[path][method].as_strategy())
        def try_door(case: Case[Any]) -> None:
            make_meaningful(case, payment)
            case.call_and_validate(checks=list(CHECKS), session=session, headers=headers)

        try_door()


@pytest.fixture
async def pump(lane: Bench, tmp_path: Path) -> AsyncIterator[list[Route]]:
    """The addresses of a pump that stands there."""
    async with pump_at(tmp_path) as pump, forecourt_at(lane, pump, tmp_path) as bench:
        yield pump_routes(bench.forecourt)


@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_every_answer_is_documented(
    lane: Bench, pump: list[Route], server: ScriptedServer, method: str, path: str
) -> None:
    server.outcome = Status.AUTHORIZED
    # By its code, for making ready may take longer than a jack counts as here.
    held = await lane.charge("held", capture="manual", code=CODE.hex())
    server.outcome = Status.CAPTURED
    async with lane.air.standing((CODE, -55), seconds=0), served_at(lane, *pump) as url:
        await asyncio.to_thread(tried, url, method, path, held["id"])


async def test_the_document_is_published_to_all_and_nothing_else_is(lane: Bench) -> None:
    async with served_at(lane) as url, httpx.AsyncClient(base_url=url) as stranger:
        assert (await stranger.get("/openapi.json")).json() == document()
        for token in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN):
            for method, path in (*DOORS, ("GET", STREAM), ("GET", "/nothing")):
                answer = await stranger.request(method, path, headers={"authorization": token})
                assert (answer.status_code, answer.json()["code"]) == (401, "token_required")
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_operation_is_one_of_the_api(lane: Bench, pump: list[Route]) -> None:
    async with a_till(lane, *pump) as till:
        for method, path in DOORS:
            answer = await till.request(method, path.replace("{payment}", "none"), json={})
            assert answer.json().get("code") not in ("not_found", "method_not_allowed"), path


async def test_without_a_pump_nothing_is_there(lane: Bench) -> None:
    async with a_till(lane) as till:
        assert (await till.get("/v1/pump")).json()["code"] == "not_found"
