"""The OpenAPI document before devices that are known: what they sign gets past the first door.

The published document is taken with each statement's claims in place of its text; what is made of
them is signed with the keys of an enrolled terminal and phone, and everything else carries a proof.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core import NotSet
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance

import tests.server.jwt_bodies  # noqa: F401 - schemathesis reads answers by it
from server.client import PATHS
from server.state import StateFolder
from tests.server.bench import Bench, copied, running
from tests.server.devices import Devices, new_id, now_s, seal
from tests.server.process import started
from tests.server.test_openapi import DOORS
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Cancel, Capture, PaymentRequest, Refund

#: Left out: a stream that is let in does not end. tests/server/test_events.py has it.
STREAM = ("GET", "/v1/events")
#: Judged by another party's key, or open to anyone: the strangers' test has these.
OTHERS = {"/v1/enrolments", "/v1/pairings", "/v1/processor/stripe/events"}
KNOWN = [
    (method, path)
    for method, path in DOORS
    if path.startswith("/v1/") and (method, path) != STREAM and path not in OTHERS
]
TYPES = {model.__name__: model.TYP for model in PATHS}
STATEMENTS = {
    path.format(sub="{method_id}" if "methods" in path else "{payment_id}"): model.TYP
    for model, path in PATHS.items()
}
OF_TERMINAL = {model.TYP for model in (PaymentRequest, Capture, Cancel, Refund)}
#: What the signer fills in: made by chance they would only ever say that another has signed.
FILLED = ("iss", "aud", "iat", "exp")
#: Well-formed is not enough: lane, payment, method must be there, and no schema says which are.
EXCLUDED: list[Any] = [positive_data_acceptance]
#: Holds a statement of the jack, which is not made here.
HOLDS_ANOTHER = "/v1/couplings"
ASKED = {"/v1/time", "/v1/payment-methods", "/v1/jacks", "/v1/coupling-challenges"}


class Signers:
    """Signs for the devices what a case says."""

    def __init__(self, devices: Devices) -> None:
        self.devices = devices

    def body(self, typ: str, claims: object) -> str:
        signer = self.devices.terminal if typ in OF_TERMINAL else self.devices.phone
        if isinstance(claims, dict):
            claims = self.filled(signer) | claims
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        return seal(payload, signer, typ)

    def filled(self, signer: FileSigner) -> dict[str, Any]:
        begun = now_s()
        return {
            "iss": signer.key.kid,
            "aud": self.devices.server_id,
            "iat": begun,
            "exp": begun + 60,
        }

    def prove(self, case: Case[Any], base_url: str) -> str:
        phone = any(case.path.startswith(path) for path in ASKED)
        signer = self.devices.phone if phone else self.devices.terminal
        wanted = case.as_transport_kwargs(base_url=base_url)
        names = ("method", "url", "params")
        prepared = requests.Request(**{name: wanted.get(name) for name in names}).prepare()
        return self.devices.proof(signer, case.method, prepared.path_url)


def with_claims(document: dict[str, Any], payments: list[str]) -> dict[str, Any]:
    """The document with claims where statements are, and payments that there are."""
    changed = copy.deepcopy(document)
    schemas = changed["components"]["schemas"]
    for name in TYPES:
        for filled in FILLED:
            del schemas[name]["properties"][filled]
        schemas[name]["required"] = [n for n in schemas[name]["required"] if n not in FILLED]
    for methods in changed["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "payment_id":
                    parameter["schema"] = {"enum": payments}
                if parameter["name"] == "Prefer":
                    parameter["example"] = "wait=1"
            jwt = operation.get("requestBody", {}).get("content", {}).get("application/jwt")
            if jwt is not None:
                jwt["schema"] = jwt["schema"]["x-claims"]
    return changed


async def some_payments(bench: Bench) -> list[str]:
    """One that waits, one that holds, one that was captured and given back in part."""
    held, _ = await bench.held()
    done, request = await bench.held()
    path = f"/v1/payments/{done}"
    capture = bench.devices.capture(request, 4000)
    assert (await bench.post(f"{path}/captures", capture, prefer="wait=20")).status_code == 200
    refund = bench.devices.refund(request, 100)
    assert (await bench.post(f"{path}/refunds", refund, prefer="wait=20")).status_code == 201
    waiting, _, _ = await bench.pending()
    return [waiting, held, done, new_id()]


@pytest.fixture(scope="module")
def known(
    prepared: tuple[StateFolder, Devices], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Signers]]:
    folder, devices = copied(prepared, tmp_path_factory.mktemp("known") / "server")

    async def begin() -> tuple[list[str], dict[str, Any]]:
        async with running(folder, devices) as bench:
            document = (await bench.http.get("/openapi.json")).json()
            return await some_payments(bench), document

    payments, document = asyncio.run(begin())
    with started(Path(folder.path), "--port", "0") as process:
        schema = schemathesis.openapi.from_dict(with_claims(document, payments))
        schema.config.update(base_url=process.ready["url"])
        schema.config.request_timeout = 20.0
        schema.config.tls_verify = False
        yield schema, Signers(devices)


def takes_anything(operation: Any) -> bool:
    """Whether there is something in a request that could be wrong."""
    return bool(operation.body) or any(operation.iter_parameters())


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), KNOWN)
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_every_answer_to_a_known_device_is_documented(
    known: tuple[Any, Signers], method: str, path: str, mode: GenerationMode
) -> None:
    schema, signers = known
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not takes_anything(operation):
        return
    typ = STATEMENTS.get(path) if method == "POST" else None
    read: set[bool] = set()
    with requests.Session() as session:

        @settings(max_examples=8, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_door(case: Case[Any]) -> None:
            sent: dict[str, Any] = {}
            if typ is not None and not isinstance(case.body, NotSet):
                sent["data"] = signers.body(typ, case.body)
            if typ is None:
                proof = signers.prove(case, schema.config.base_url)
                case.headers["Authorization"] = f"Bearer {proof}"
            response = case.call_and_validate(session=session, excluded_checks=EXCLUDED, **sent)
            read.add(ErrorCode.MESSAGE_MALFORMED not in response.text)
            if made_badly(case):
                assert response.status_code >= 400, case.as_curl_command()

        try_door()
    if mode is GenerationMode.POSITIVE and path != HOLDS_ANOTHER:
        assert True in read, "no statement got past its envelope"


def made_badly(case: Case[Any]) -> bool:
    """Whether the body is one that its schema does not allow."""
    body = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    return body is not None and body.mode is GenerationMode.NEGATIVE
