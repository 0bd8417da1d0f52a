"""The OpenAPI document: complete, and kept to by the server that publishes it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.client import PATHS
from server.state import StateFolder
from tests.server.bench import make_folder
from tests.server.process import started
from twochannel.protocol.errors import ErrorCode
from twochannel.tls import client_context

HERE = Path(__file__).parent
METHODS = {"get", "post"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Any]]]:
    """The address of a running server, and the document that it publishes."""
    folder = StateFolder(tmp_path_factory.mktemp("openapi"))
    make_folder(folder.path)
    with started(folder.path, "--port", "0") as process:
        url = process.ready["url"]
        context = client_context(folder.certificate())
        document = httpx.get(f"{url}/openapi.json", verify=context, trust_env=False).json()
        yield url, document


DOORS = (
    ("GET", "/.well-known/cigarjack"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/v1/enrolments"),
    ("POST", "/v1/pairings"),
    ("POST", "/v1/processor/stripe/events"),
    ("POST", "/v1/time"),
    ("POST", "/v1/payment-methods"),
    ("GET", "/v1/payment-methods"),
    ("POST", "/v1/payment-methods/{method_id}/default"),
    ("POST", "/v1/payment-methods/{method_id}/removal"),
    ("GET", "/v1/jacks"),
    ("POST", "/v1/releases"),
    ("POST", "/v1/member-removals"),
    ("POST", "/v1/coupling-challenges"),
    ("POST", "/v1/couplings"),
    ("POST", "/v1/uncouplings"),
    ("POST", "/v1/payments"),
    ("GET", "/v1/payments"),
    ("GET", "/v1/payments/{payment_id}"),
    ("POST", "/v1/payments/{payment_id}/confirmation"),
    ("POST", "/v1/payments/{payment_id}/captures"),
    ("POST", "/v1/payments/{payment_id}/cancellation"),
    ("POST", "/v1/payments/{payment_id}/refunds"),
    ("GET", "/v1/payments/{payment_id}/refunds"),
    ("GET", "/v1/payments/{payment_id}/refunds/{refund_id}"),
    ("GET", "/v1/events"),
)


def test_schemathesis_finds_nothing(published: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """Of whatever a stranger sends, well-formed and not; exclusions are in schemathesis.toml."""
    url, _ = published
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
            *("--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{url}/openapi.json", "--tls-verify=false"),
            *("--max-examples=15", "--request-timeout=20", "--generation-database=none"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "jwt_bodies.py")},
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"Tested: {len(DOORS)}" in ended.stdout


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method} {path}", operation


def test_every_door_describes_itself(published: tuple[str, dict[str, Any]]) -> None:
    _, document = published
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert {place for place, _ in operations(document)} == {
        f"{method.lower()} {path}" for method, path in DOORS
    }
    for place, operation in operations(document):
        assert operation["summary"], place
        assert ("requestBody" in operation) == place.startswith("post"), place
        assert "422" not in operation["responses"] or "problem+json" in str(
            operation["responses"]["422"]
        ), place
        assert "security" in operation, place


def test_every_success_says_what_it_is(published: tuple[str, dict[str, Any]]) -> None:
    _, document = published
    others = {
        "post /v1/time": "application/jwt",
        "post /v1/coupling-challenges": "application/jwt",
        "get /v1/events": "text/event-stream",
    }
    for place, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 300:
                kind = others.get(place, "application/json")
                assert set(response["content"]) == {kind}, place
                assert kind != "application/json" or response["content"][kind]["schema"], place


def test_every_code_that_is_documented_exists(published: tuple[str, dict[str, Any]]) -> None:
    _, document = published
    known = {code.value for code in ErrorCode}
    for place, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                content = response["content"]["application/problem+json"]
                codes = content["schema"]["allOf"][1]["properties"]["code"]["enum"]
                assert set(codes) <= known, place


def test_every_statement_body_shows_its_claims(published: tuple[str, dict[str, Any]]) -> None:
    _, document = published
    schemas = document["components"]["schemas"]
    bodies = [
        operation["requestBody"]["content"]["application/jwt"]["schema"]
        for _, operation in operations(document)
        if "application/jwt" in operation.get("requestBody", {}).get("content", {})
    ]
    assert len(bodies) == 14
    for body in bodies:
        claims = schemas[body["x-claims"]["$ref"].rpartition("/")[2]]
        assert {"iss", "aud", "jti"} <= set(claims["required"])


def test_the_client_knows_every_door_for_statements(published: tuple[str, dict[str, Any]]) -> None:
    _, document = published
    doors = set()
    for path, methods in document["paths"].items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/jwt" in body:
            claims = body["application/jwt"]["schema"]["x-claims"]["$ref"].rpartition("/")[2]
            doors.add((claims, path.format(payment_id="{sub}", method_id="{sub}")))
    assert doors == {(model.__name__, path) for model, path in PATHS.items()}
