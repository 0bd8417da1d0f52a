"""On the car's Wi-Fi: strangers at a real jack's door, and the owner's phone turned hostile."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import httpx
import pytest

from fieldkit.journeys import arrive, charge
from fieldkit.stage import SERVER, Stage
from tests.cigarjack.parties import LOOPBACK, Phone, Server
from tests.server.devices import new_id, now_s, seal
from twochannel import tls
from twochannel.keystore.file import FileKeyStore
from twochannel.protocol.errors import PROBLEMS, ErrorCode
from twochannel.protocol.limits import MAX_BODY_BYTES
from twochannel.protocol.wire import base64url

pytestmark = pytest.mark.asyncio(loop_scope="session")

JWT = {"content-type": "application/jwt"}


def port(stage: Stage) -> int:
    """Where the jack serves its owner's phone."""
    found = stage.traces[stage.cast.phone.name].find("jack_found")
    assert found is not None
    return int(str(found.fields["address"]).rpartition(":")[2])


def certificate(stage: Stage) -> bytes:
    return (stage.state(stage.cast.jack.name) / "tls.der").read_bytes()


async def visit(stage: Stage, context: ssl.SSLContext | None, said: bytes) -> bytes:
    """What the jack answers before it ends the connection."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port(stage), ssl=context)
    try:
        async with asyncio.timeout(20):
            writer.write(said)
            return await reader.read(1024)
    except (OSError, ssl.SSLError):
        return b""
    finally:
        writer.transport.abort()


@asynccontextmanager
async def owners_phone(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """The paired phone's own keys in an attacker's hands."""
    keys = stage.state(stage.cast.phone.name) / "keys"
    own = (keys / "tls.der").read_bytes()
    context = tls.client_context(certificate(stage), own, FileKeyStore(keys).private_key("tls"))
    url = f"https://{LOOPBACK}:{port(stage)}"
    async with httpx.AsyncClient(base_url=url, verify=context, trust_env=False) as http:
        yield http


async def refused(http: httpx.AsyncClient, path: str, said: str | bytes, code: ErrorCode) -> None:
    method = "PUT" if path == "/v1/time" else "POST"
    answer = await http.request(method, path, content=said, headers=JWT)
    assert (answer.json()["code"], answer.status_code) == (code.value, PROBLEMS[code].status)


async def still_pays(stage: Stage) -> None:
    await arrive(stage, "lane-1")
    assert (await charge(stage, "lane-1", "2.20"))["status"] == "captured"


REQUEST = b"GET /v1/status HTTP/1.1\r\nhost: jack\r\n\r\n"


async def test_no_stranger_gets_a_word_out_of_it(stage: Stage) -> None:
    """Without a certificate, with one of his own, with the jack's own, and in plain text."""
    pin, phone = certificate(stage), Phone()
    for context in (
        tls.first_contact_context(),
        tls.client_context(pin),
        tls.client_context(pin, phone.certificate, phone.tls_key),
        None,
    ):
        try:
            heard = await visit(stage, context, REQUEST)
        except ssl.SSLError:
            continue
        assert b"HTTP/1.1" not in heard
    await still_pays(stage)


async def test_pairing_is_closed_and_the_label_is_used_up(stage: Stage) -> None:
    status = await stage.ask(stage.cast.jack.name, "GET", "/v1/status")
    assert status["pairing_port"] is None
    assert status["phone"] is not None
    code, _ = await stage.say(stage.cast.jack.name, "label", expect=(1,))
    assert code == 1


async def test_a_crowd_at_the_door_does_not_keep_the_phone_from_paying(stage: Stage) -> None:
    """Three hundred who say nothing, who speak no TLS, who stop in the middle."""
    halves = (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01")
    crowd = [await asyncio.open_connection(LOOPBACK, port(stage)) for _ in range(300)]
    try:
        for number, (_, writer) in enumerate(crowd):
            writer.write(halves[number % 3])
        await still_pays(stage)
        # And a phone that comes anew gets in too.
        async with owners_phone(stage) as http:
            assert (await http.get("/v1/status", timeout=20)).status_code == 200
    finally:
        for _, writer in crowd:
            writer.transport.abort()


async def test_a_phone_that_sends_rubbish_harms_nobody(stage: Stage) -> None:
    async with owners_phone(stage) as http:
        for path in ("/v1/auth-codes", "/v1/time"):
            await refused(http, path, "a" * (MAX_BODY_BYTES + 1), ErrorCode.MESSAGE_TOO_LARGE)
            await refused(http, path, b"\xff\xfe", ErrorCode.MESSAGE_MALFORMED)
            await refused(http, path, "a.b.c", ErrorCode.MESSAGE_MALFORMED)
            half = base64url(b'{"alg":"ES256","kid":"\\ud800","typ":"challenge+jwt"}')
            halved = f"{half}.e30.{base64url(bytes(64))}"
            await refused(http, path, halved, ErrorCode.MESSAGE_MALFORMED)
        for path, method in (("/v1/status", "DELETE"), ("/v1/pairings", "POST"), ("/..", "GET")):
            assert (await http.request(method, path)).status_code in (404, 405)
        head = {"x": "a" * 100_000}
        assert (await http.get("/v1/status", headers=head)).status_code == 400
    await still_pays(stage)


async def test_nothing_is_signed_for_a_forged_challenge(stage: Stage) -> None:
    """The phone has no server's key: neither its own, nor one that says that it is the server."""
    jack = str((await stage.ask(stage.cast.jack.name, "GET", "/v1/status"))["jack"])
    keys = FileKeyStore(stage.state(stage.cast.phone.name) / "keys")
    phone, forger = keys.signer("signing"), Server()
    true = FileKeyStore(stage.state(SERVER) / "keys").signer("signing").key.kid
    challenge = forger.challenge(jack, phone.key.kid, iss=true, iat=now_s(), exp=now_s() + 60)
    counted = signed(stage)
    async with owners_phone(stage) as http:
        for forged, code in (
            (seal(challenge.claims(), forger.signer, challenge.TYP), ErrorCode.KEY_UNKNOWN),
            (seal(challenge.claims(), phone, challenge.TYP), ErrorCode.KEY_UNKNOWN),
            (
                seal(challenge.claims(), forger.signer, challenge.TYP, kid=true),
                ErrorCode.SIGNATURE_INVALID,
            ),
        ):
            await refused(http, "/v1/auth-codes", forged, code)
    assert signed(stage) == counted


async def test_an_old_challenge_gets_its_old_answer_and_no_new_counter(stage: Stage) -> None:
    """Asking again harvests nothing."""
    await arrive(stage, "lane-1")
    payment = await charge(stage, "lane-1", "2.40")
    challenge = challenge_of(stage, payment["id"])
    counted = signed(stage)
    async with owners_phone(stage) as http:
        answers = [
            (await http.post("/v1/auth-codes", content=challenge, headers=JWT)).text
            for _ in range(3)
        ]
    assert len(set(answers)) == 1
    assert answers[0].count(".") == 2
    assert signed(stage) == counted


def challenge_of(stage: Stage, payment: str) -> str:
    """What the phone was sent, from the server's database."""
    query = "SELECT compact FROM statements WHERE payment_id = ? AND typ = 'challenge+jwt'"
    with closing(sqlite3.connect(stage.state(SERVER) / "server.sqlite3")) as database:
        return str(database.execute(query, (payment,)).fetchone()[0])


def signed(stage: Stage) -> int:
    """How many auth codes the jack has ever signed."""
    events = stage.traces[stage.cast.jack.name].events()
    return sum(event.event == "auth_code_signed" for event in events)


async def test_nobody_sets_its_clock(stage: Stage) -> None:
    """Not without the server's key, not with a nonce that it has not handed out last."""
    jack = str((await stage.ask(stage.cast.jack.name, "GET", "/v1/status"))["jack"])
    keys = FileKeyStore(stage.state(stage.cast.phone.name) / "keys")
    true = FileKeyStore(stage.state(SERVER) / "keys").signer("signing")
    async with owners_phone(stage) as http:
        nonce = str((await http.get("/v1/status")).json()["time_nonce"])
        claims = {
            "iss": true.key.kid,
            "aud": jack,
            "jti": new_id(),
            "nonce": nonce,
            "time_ms": 4_070_908_800_000,
        }
        by_phone = seal(claims, keys.signer("signing"), "time+jwt")
        await refused(http, "/v1/time", by_phone, ErrorCode.KEY_UNKNOWN)
        disguised = seal(claims, keys.signer("signing"), "time+jwt", kid=true.key.kid)
        await refused(http, "/v1/time", disguised, ErrorCode.SIGNATURE_INVALID)
        guessed = {**claims, "nonce": base64url(secrets.token_bytes(16))}
        other_nonce = seal(guessed, true, "time+jwt")
        await refused(http, "/v1/time", other_nonce, ErrorCode.NONCE_UNKNOWN)
        past = {**claims, "time_ms": 1}
        fresh = str((await http.get("/v1/status")).json()["time_nonce"])
        back = seal({**past, "nonce": fresh}, true, "time+jwt")
        await refused(http, "/v1/time", back, ErrorCode.TIME_REFUSED)
    await still_pays(stage)
