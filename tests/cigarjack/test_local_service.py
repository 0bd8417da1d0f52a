"""Bad input at every endpoint of the jack, over real TLS: a stable code, and a jack that lives."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from cigarjack.client import JackPin
from tests.cigarjack.parties import NOW_MS, Jack, Phone, Server, served
from twochannel import tls
from twochannel.protocol import envelope
from twochannel.protocol.errors import PROBLEMS, ErrorCode
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import Identity

JWT = {"content-type": "application/jwt"}


@asynccontextmanager
async def https(port: int | None, context: ssl.SSLContext) -> AsyncIterator[httpx.AsyncClient]:
    url = f"https://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, verify=context, trust_env=False) as http:
        yield http


def pin_of(jack: Jack) -> JackPin:
    return JackPin(
        jack.id, jack.identity.signer.key.jwk, jack.identity.certificate, bytes(32), epoch=1
    )


def problem(response: httpx.Response) -> ErrorCode:
    assert response.headers["content-type"] == "application/problem+json"
    code = ErrorCode(response.json()["code"])
    assert response.status_code == PROBLEMS[code].status
    return code


@dataclass
class Wire:
    jack: Jack
    http: httpx.AsyncClient

    async def put_time(self, body: str | bytes) -> httpx.Response:
        return await self.http.put("/v1/time", content=body, headers=JWT)

    async def ask(self, body: str | bytes) -> httpx.Response:
        return await self.http.post("/v1/auth-codes", content=body, headers=JWT)

    async def nonce(self) -> str:
        return str((await self.http.get("/v1/status")).json()["time_nonce"])


@pytest.fixture
async def wire(paired: Jack, phone: Phone) -> AsyncIterator[Wire]:
    async with (
        served(paired) as (services, _),
        https(services.port, phone.tls_context(pin_of(paired))) as http,
    ):
        yield Wire(paired, http)


async def test_status_hands_out_a_fresh_nonce_each_time(wire: Wire) -> None:
    response = await wire.http.get("/v1/status")
    assert response.json()["jack"] == wire.jack.id
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["time_nonce"] != await wire.nonce()


async def test_time_is_taken_once(wire: Wire, server: Server) -> None:
    told = server.time(wire.jack.id, await wire.nonce())
    assert (await wire.put_time(told)).status_code == 204
    assert wire.jack.clock.now_ms() == NOW_MS
    assert wire.jack.synchronised == 1
    assert problem(await wire.put_time(told)) is ErrorCode.NONCE_UNKNOWN
    assert wire.jack.synchronised == 1


async def test_time_that_is_not_taken(wire: Wire, phone: Phone, server: Server) -> None:
    jack, nonce = wire.jack.id, await wire.nonce()
    cases: dict[str | bytes, ErrorCode] = {
        Server().time(jack, nonce): ErrorCode.KEY_UNKNOWN,
        server.time(phone.id, nonce): ErrorCode.AUDIENCE_WRONG,
        server.time(jack, "x" * 21 + "A"): ErrorCode.NONCE_UNKNOWN,
        server.signed_challenge(jack, phone.id): ErrorCode.STATEMENT_TYPE_WRONG,
        server.time(jack, nonce)[:-4] + "AAAA": ErrorCode.SIGNATURE_INVALID,
        b"": ErrorCode.MESSAGE_MALFORMED,
        "é".encode(): ErrorCode.MESSAGE_MALFORMED,
        b"x" * 9_000: ErrorCode.MESSAGE_TOO_LARGE,
        b"x" * 70_000: ErrorCode.MESSAGE_TOO_LARGE,
    }
    assert {body: problem(await wire.put_time(body)) for body in cases} == cases
    assert not wire.jack.clock.trusted


async def test_time_does_not_go_back(wire: Wire, server: Server) -> None:
    await wire.put_time(server.time(wire.jack.id, await wire.nonce()))
    early = server.time(wire.jack.id, await wire.nonce(), NOW_MS - 61_000)
    assert problem(await wire.put_time(early)) is ErrorCode.TIME_REFUSED


async def test_challenges_that_get_no_auth_code(wire: Wire, phone: Phone, server: Server) -> None:
    jack = wire.jack.id
    await wire.put_time(server.time(jack, await wire.nonce()))
    cases: dict[str | bytes, ErrorCode] = {
        Server().signed_challenge(jack, phone.id): ErrorCode.KEY_UNKNOWN,
        server.signed_challenge(phone.id, phone.id): ErrorCode.AUDIENCE_WRONG,
        server.signed_challenge(jack, Phone().id): ErrorCode.EPOCH_OUTDATED,
        server.signed_challenge(jack, phone.id, iat=1, exp=2): ErrorCode.STATEMENT_EXPIRED,
        server.time(jack, "x" * 21 + "A"): ErrorCode.STATEMENT_TYPE_WRONG,
        b"{}": ErrorCode.MESSAGE_MALFORMED,
        b"\xff\xfe": ErrorCode.MESSAGE_MALFORMED,
        b"y" * 9_000: ErrorCode.MESSAGE_TOO_LARGE,
    }
    assert {body: problem(await wire.ask(body)) for body in cases} == cases
    assert wire.jack.memory.counter() == 0
    answer = await wire.ask(server.signed_challenge(jack, phone.id))
    assert answer.headers["content-type"] == "application/jwt"


async def test_addresses_methods_and_media_types_have_their_codes(wire: Wire) -> None:
    http = wire.http
    assert problem(await http.get("/v1/nothing")) is ErrorCode.NOT_FOUND
    assert problem(await http.post("/v1/pairings")) is ErrorCode.NOT_FOUND
    assert problem(await http.get("/v1/time")) is ErrorCode.METHOD_NOT_ALLOWED
    plain = await http.post("/v1/auth-codes", content="{}", headers={"content-type": "text/plain"})
    assert problem(plain) is ErrorCode.MEDIA_TYPE_UNSUPPORTED


async def test_storage_that_fails_is_an_internal_error_and_loses_no_counter(
    wire: Wire, phone: Phone, server: Server
) -> None:
    db = wire.jack.memory._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    codes = []
    for _ in range(10):
        response = await wire.ask(server.signed_challenge(wire.jack.id, phone.id))
        codes.append(response.status_code)
    db.execute("PRAGMA max_page_count = 100000")
    signed = codes.count(200)
    assert 500 in codes
    assert wire.jack.memory.counter() == signed
    await wire.ask(server.signed_challenge(wire.jack.id, phone.id))
    assert wire.jack.memory.counter() == signed + 1


async def test_no_other_phone_gets_through_the_handshake(paired: Jack, phone: Phone) -> None:
    async with served(paired) as (services, _):
        strangers = (
            Phone().tls_context(pin_of(paired)),
            tls.client_context(paired.identity.certificate),
        )
        for context in strangers:
            async with https(services.port, context) as http:
                with pytest.raises(httpx.TransportError):
                    await http.get("/v1/status")
        async with https(services.port, phone.tls_context(pin_of(paired))) as http:
            assert (await http.get("/v1/status")).status_code == 200


async def test_tls_before_1_3_is_not_spoken(paired: Jack, phone: Phone) -> None:
    context = phone.tls_context(pin_of(paired))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with served(paired) as (services, _), https(services.port, context) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/v1/status")


# --- the pairing listener


@pytest.fixture
async def stranger(unpaired: Jack) -> AsyncIterator[httpx.AsyncClient]:
    async with served(unpaired) as (services, _):
        await services.open_pairing()
        async with https(services.pairing_port, tls.first_contact_context()) as http:
            yield http


async def test_the_jack_says_who_it_is(unpaired: Jack, stranger: httpx.AsyncClient) -> None:
    compact = (await stranger.get("/v1/identity")).text
    key = VerifyingKey.from_jwk(unpaired.identity.signer.key.jwk)
    identity = envelope.verify(compact, Identity, key)
    assert identity.iss == unpaired.id
    assert identity.tls_sha256 == tls.fingerprint(unpaired.identity.certificate)


async def test_pairing_requests_that_pair_nobody(
    unpaired: Jack, stranger: httpx.AsyncClient, phone: Phone, server: Server
) -> None:
    def request(**changes: object) -> str:
        asked = phone.request(unpaired.id, server.identity(), **changes)
        return envelope.sign(asked, phone.signer)

    cases: dict[str | bytes, ErrorCode] = {
        request(claim_secret="w" * 21 + "A"): ErrorCode.CLAIM_REFUSED,
        request(): ErrorCode.CLAIM_REFUSED,
        request(aud=phone.id): ErrorCode.AUDIENCE_WRONG,
        request(iss=Phone().id): ErrorCode.ISSUER_WRONG,
        request(tls_certificate="A" * 300): ErrorCode.CLAIM_INVALID,
        request(server="a.b.c"): ErrorCode.MESSAGE_MALFORMED,
        server.signed_challenge(unpaired.id, phone.id): ErrorCode.CLAIM_INVALID,
        b"": ErrorCode.MESSAGE_MALFORMED,
        b"z" * 70_000: ErrorCode.MESSAGE_TOO_LARGE,
    }
    for body, code in cases.items():
        response = await stranger.post("/v1/pairings", content=body, headers=JWT)
        assert problem(response) is code
    state = unpaired.memory.pairing_state()
    assert (state.owner, state.wrong_tries) == (None, 1)
    assert problem(await stranger.get("/v1/status")) is ErrorCode.NOT_FOUND


async def test_the_phone_before_is_out_once_another_is_paired(
    paired: Jack, phone: Phone, server: Server
) -> None:
    async with served(paired) as (services, _):
        port = services.port
        async with https(port, phone.tls_context(pin_of(paired))) as before:
            assert (await before.get("/v1/status")).status_code == 200
            label = await services.open_pairing()
            assert services.pairing_port is not None
            successor = Phone()
            assert (await successor.pair(services.pairing_port, str(label), server)).port == port
            with pytest.raises(httpx.TransportError):
                await before.get("/v1/status")
        async with successor.client(port or 0, pin_of(paired)) as now:
            assert (await now.status())["epoch"] == 2
