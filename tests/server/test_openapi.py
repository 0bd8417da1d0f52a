"""The OpenAPI document: complete, and kept to by the server that publishes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server.client import PATHS
from server.state import StateFolder
from tests.server.bench import make_folder
from tests.server.process import started
from twochannel.protocol.errors import ErrorCode
from twochannel.tls import client_context

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
METHODS = {"get", "post"}


@schemathesis.serializer("application/jwt")
def _as_text(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    return str(value).encode("utf-8", "replace")


@schemathesis.deserializer("application/json")
def _from_text(_context: schemathesis.DeserializationContext, response: Any) -> Any:
    """Schemathesis (4.32) takes a JWT for a kind of JSON."""
    jwt = response.headers["content-type"] == ["application/jwt"]
    return str(response.content, "ascii") if jwt else response.json()


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


@pytest.fixture(scope="module")
def api(published: tuple[str, dict[str, Any]]) -> Any:
    url, document = published
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    schema.config.request_timeout = 20.0
    schema.config.tls_verify = False
    return schema


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


def takes_anything(operation: Any) -> bool:
    """Whether there is something in a request that could be wrong."""
    return bool(operation.body) or any(operation.iter_parameters())


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), DOORS)
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_every_answer_is_documented(api: Any, method: str, path: str, mode: GenerationMode) -> None:
    """Of whatever a stranger sends: well-formed, and not."""
    operation = api[path][method]
    if mode is GenerationMode.NEGATIVE and not takes_anything(operation):
        return
    with requests.Session() as session:

        @settings(max_examples=6, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_door(case: Case[Any]) -> None:
            case.call_and_validate(checks=list(CHECKS), session=session)

        try_door()


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
