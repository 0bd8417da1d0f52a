"""Whoever can reach the server: no key, a key of his own, or bytes that are no HTTP."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any

import pytest

from server.proofs import ProofMemory
from tests.adversaries.scene import connect, nothing_charged, talk
from tests.server.bench import MERCHANT, Bench, check_problem
from tests.server.devices import new_id, new_signer, now_s, seal
from twochannel.bounded_http import MAX_HEAD_BYTES
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.limits import MAX_BODY_BYTES
from twochannel.protocol.statements import Proof, Role
from twochannel.protocol.wire import base64url

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUEST = "payment-request+jwt"


def compact(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, sign: Any) -> str:
    """A JWS with any header and payload; ``sign`` makes the signature of the text."""
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, payload)]
    text = ".".join(base64url(part) for part in parts)
    return f"{text}.{base64url(sign(text.encode()))}"


# --- statements that are not what they say


async def test_no_other_algorithm_is_taken(server: Bench) -> None:
    """Not ``none``, and not an HMAC under the terminal's public key."""
    terminal = server.devices.terminal
    claims = server.devices.request_claims()

    def mac(text: bytes) -> bytes:
        return hmac.digest(terminal.key.point, text, "sha512")

    good = {"alg": "ES256", "kid": terminal.key.kid, "typ": REQUEST}
    for header, sign, code in (
        ({**good, "alg": "none"}, lambda _: b"", ErrorCode.SIGNATURE_INVALID),
        ({**good, "alg": "none"}, lambda _: bytes(64), ErrorCode.SIGNATURE_INVALID),
        ({**good, "alg": "HS512"}, mac, ErrorCode.SIGNATURE_INVALID),
        ({**good, "alg": "es256"}, terminal.sign, ErrorCode.SIGNATURE_INVALID),
        (good, lambda _: b"", ErrorCode.SIGNATURE_INVALID),
        (good, lambda _: bytes(64), ErrorCode.SIGNATURE_INVALID),
        ({**good, "crit": ["b64"], "b64": False}, terminal.sign, ErrorCode.MESSAGE_MALFORMED),
        (
            {**good, "jwk": terminal.key.jwk.model_dump()},
            terminal.sign,
            ErrorCode.MESSAGE_MALFORMED,
        ),
        ({**good, "kid": ["x"]}, terminal.sign, ErrorCode.MESSAGE_MALFORMED),
        ({**good, "typ": "JWT"}, terminal.sign, ErrorCode.STATEMENT_TYPE_WRONG),
    ):
        await server.refused("/v1/payments", compact(header, claims, sign), code)


async def test_a_statement_is_taken_at_its_own_door_alone(server: Bench) -> None:
    """All that devices sign, at every door that it is not for."""
    devices = server.devices
    payment, request, challenge = await server.pending()
    path = f"/v1/payments/{payment}"
    doors = {
        "/v1/enrolments": devices.enrolment(new_signer(), Role.PHONE, "A" * 22),
        "/v1/pairings": devices.acceptance(pairing={"epoch": 2}),
        "/v1/payment-methods": devices.method(),
        "/v1/payments": devices.request(),
        f"{path}/confirmation": devices.confirmation(payment, challenge),
        f"{path}/captures": devices.capture(request, 1),
        f"{path}/cancellation": devices.cancel(request),
    }
    others = [
        challenge,
        devices.proof(devices.phone, "POST", "/v1/payments"),
        server_identity(server),
    ]
    with nothing_charged(server):
        for door, own in doors.items():
            for statement in [s for s in doors.values() if s is not own] + others:
                # An enrolment brings its own key, so that is looked for first.
                keyless = door == "/v1/enrolments" and statement not in others[-1:]
                code = ErrorCode.KEY_INVALID if keyless else ErrorCode.STATEMENT_TYPE_WRONG
                await server.refused(door, statement, code)


def server_identity(server: Bench) -> str:
    return server.folder.identity()


async def test_a_statement_for_another_server_is_refused(server: Bench) -> None:
    devices = server.devices
    payment, request, challenge = await server.pending()
    elsewhere: dict[str, Any] = {"aud": "A" * 43}
    approval = devices.confirmation(payment, challenge, **elsewhere)
    proof = devices.proof(devices.phone, "GET", "/v1/payments", **elsewhere)
    with nothing_charged(server):
        for path, statement in (
            ("/v1/payments", devices.request(**elsewhere)),
            (f"/v1/payments/{payment}/confirmation", approval),
            (f"/v1/payments/{payment}/cancellation", devices.cancel(request, **elsewhere)),
            ("/v1/pairings", devices.acceptance(pairing={"epoch": 2}, **elsewhere)),
            ("/v1/pairings", devices.acceptance(pairing={"epoch": 2, **elsewhere})),
        ):
            await server.refused(path, statement, ErrorCode.AUDIENCE_WRONG)
        headers = {"authorization": f"Bearer {proof}"}
        answer = await server.http.get("/v1/payments", headers=headers)
        check_problem(answer, ErrorCode.AUDIENCE_WRONG)


KEY = '{"alg":"ES256","kid":"%s","typ":"payment-request+jwt"}'
#: Header and payload; ``%s`` of the header is the terminal's own key id.
JSON_ODDITIES: dict[str, tuple[str, bytes]] = {
    "half a character as key id": (KEY.replace("%s", "\\ud800"), b"{}"),
    "half a character as type": (KEY.replace("payment", "\\udfff"), b"{}"),
    "half a character as claim": (KEY, b'{"\\ud800":1}'),
    "half a character as value": (KEY, b'{"iss":"\\udc00\\ud800"}'),
    "two types": (KEY.replace('"typ"', '"typ":"JWT","typ"'), b"{}"),
    "two amounts": (KEY, b'{"amount":{"value":1,"value":2}}'),
    "a float": (KEY, b'{"amount":{"value":1.0}}'),
    "an exponent": (KEY, b'{"amount":{"value":1e2}}'),
    "not a number": (KEY, b'{"amount":{"value":NaN}}'),
    "2^63": (KEY, b'{"iat":9223372036854775808}'),
    "ten thousand digits": (KEY, b'{"iat":' + b"9" * 5000 + b"}"),
    "nested deeply": (KEY, b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    "never closed": (KEY, b"[" * 5000),
    "broken UTF-8": (KEY, b'{"lane":"\xff\xfe"}'),
    "an overlong slash": (KEY, b'{"lane":"\xc0\xaf"}'),
    "UTF-16": (KEY, "{}".encode("utf-16")),
    "a list": (KEY, b"[]"),
    "nothing": (KEY, b""),
}


@pytest.mark.parametrize("case", JSON_ODDITIES)
async def test_json_has_one_reading_or_none(server: Bench, case: str) -> None:
    header, payload = JSON_ODDITIES[case]
    terminal = server.devices.terminal
    statement = compact(header.replace("%s", terminal.key.kid).encode(), payload, terminal.sign)
    await server.refused("/v1/payments", statement, ErrorCode.MESSAGE_MALFORMED)
    # The connection on which it came goes on: nothing broke behind the answer.
    assert (await server.http.get("/healthz")).status_code == 200


async def test_a_nul_is_a_character_of_no_known_key(server: Bench) -> None:
    header = KEY.replace("%s", "a\\u0000b").encode()
    statement = compact(header, b"{}", server.devices.terminal.sign)
    await server.refused("/v1/payments", statement, ErrorCode.KEY_UNKNOWN)


POINTS = (
    {"x": "A" * 43, "y": "A" * 43},
    {"x": base64url(b"\xff" * 32), "y": base64url(b"\xff" * 32)},
    {"x": base64url(bytes(31) + b"\1")},
    {"crv": "P-384"},
    {"crv": "secp256k1"},
    {"kty": "oct"},
    {"y": None},
    {"d": "A" * 43},
)


@pytest.mark.parametrize("point", POINTS)
async def test_a_key_is_a_point_of_the_curve(server: Bench, point: dict[str, Any]) -> None:
    signer = new_signer()
    claims = enrolment_claims(server, signer, "A" * 22)
    claims["key"] = {**claims["key"], **point}
    statement = seal(claims, signer, "enrolment+jwt")
    await server.refused("/v1/enrolments", statement, ErrorCode.KEY_INVALID)


def enrolment_claims(server: Bench, signer: FileSigner, code: str, role: str = "phone") -> Any:
    return {
        "iss": signer.key.kid,
        "aud": server.devices.server_id,
        "jti": new_id(),
        "iat": now_s(),
        "exp": now_s() + 60,
        "role": role,
        "key": signer.key.jwk.model_dump(),
        "code": code,
    }


# --- enrolment codes


async def test_an_enrolment_code_serves_one_device_of_one_kind(server: Bench) -> None:
    code = server.enrolment_code(Role.TERMINAL, MERCHANT)
    first, second = new_signer(), new_signer()
    as_phone = server.devices.enrolment(second, Role.PHONE, code)
    await server.refused("/v1/enrolments", as_phone, ErrorCode.ENROLMENT_CODE_REFUSED)
    honest = server.devices.enrolment(first, Role.TERMINAL, code)
    assert (await server.post("/v1/enrolments", honest)).status_code == 201
    for signer in (first, second):
        again = server.devices.enrolment(signer, Role.TERMINAL, code)
        await server.refused("/v1/enrolments", again, ErrorCode.ENROLMENT_CODE_REFUSED)
    # Whoever has read the statement may send it again: it is answered, and changes nothing.
    assert (await server.post("/v1/enrolments", honest)).status_code == 200


async def test_racing_for_a_code_has_one_winner(server: Bench) -> None:
    code = server.enrolment_code(Role.PHONE)
    rivals = [server.devices.enrolment(new_signer(), Role.PHONE, code) for _ in range(8)]
    answers = await asyncio.gather(*(server.post("/v1/enrolments", each) for each in rivals))
    assert sorted(a.status_code for a in answers) == [201] + [403] * 7


async def test_codes_are_not_guessed_and_roles_not_invented(server: Bench) -> None:
    for guess in ("A" * 22, "_" * 22):
        guessed = server.devices.enrolment(new_signer(), Role.PHONE, guess)
        await server.refused("/v1/enrolments", guessed, ErrorCode.ENROLMENT_CODE_REFUSED)
    code = server.enrolment_code(Role.PHONE)
    for role in ("server", "jack", "admin"):
        signer = new_signer()
        claims = enrolment_claims(server, signer, code, role)
        statement = seal(claims, signer, "enrolment+jwt")
        await server.refused("/v1/enrolments", statement, ErrorCode.CLAIM_INVALID)


async def test_a_key_is_enrolled_by_its_holder_alone(server: Bench) -> None:
    code, victim, thief = server.enrolment_code(Role.PHONE), new_signer(), new_signer()
    claims = enrolment_claims(server, victim, code)
    for forged, expected in (
        (seal(claims, thief, "enrolment+jwt"), ErrorCode.KEY_UNKNOWN),
        (seal(claims, thief, "enrolment+jwt", kid=victim.key.kid), ErrorCode.SIGNATURE_INVALID),
        (
            seal({**claims, "key": thief.key.jwk.model_dump()}, thief, "enrolment+jwt"),
            ErrorCode.ISSUER_WRONG,
        ),
    ):
        await server.refused("/v1/enrolments", forged, expected)


# --- HTTP


HEAD = b"POST /v1/payments HTTP/1.1\r\nhost: x\r\ncontent-type: application/jwt\r\n"
HIDDEN = b"GET /.well-known/cigarjack HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
#: Requests of which two readers could disagree where they end.
SMUGGLED: dict[str, bytes] = {
    "length and chunks": b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "two lengths": b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!" + HIDDEN,
    "the same length twice": b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello" + HIDDEN,
    "an unknown coding": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two codings": b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a signed length": b"content-length: +5\r\n\r\nhello" + HIDDEN,
    "a space before the colon": b"content-length : 5\r\n\r\nhello" + HIDDEN,
    "a folded header": b"x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n" + HIDDEN,
    "bare line feeds": b"content-length: 0\n\n" + HIDDEN,
    "a NUL in a header": b"x-a: \0\r\ncontent-length: 0\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("case", SMUGGLED)
async def test_nothing_is_smuggled_behind_a_request(server: Bench, case: str) -> None:
    heard = await talk(server, HEAD + SMUGGLED[case])
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert b"identity+jwt" not in heard
    assert heard.count(b"HTTP/1.1") == 1


PATHS = (
    b"/v1/payments/../../.well-known/cigarjack",
    b"/v1/payments/%2e%2e/%2e%2e/healthz",
    b"//healthz",
    b"/healthz/",
    b"/healthz%00",
    b"/healthz;x",
    b"/v1/./payments",
    b"/V1/payments",
    b"/docs",
    b"/redoc",
    b"/control.sock",
)


@pytest.mark.parametrize("path", PATHS)
async def test_paths_mean_what_they_say(server: Bench, path: bytes) -> None:
    line = b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    heard = await talk(server, line)
    assert heard.startswith(b"HTTP/1.1 404 "), heard[:200]
    assert b'"code":"not_found"' in heard


async def test_ids_that_are_none_open_nothing(server: Bench) -> None:
    for ident in ("' OR '1'='1", "%", "..%2f..", "%00", "%ff", "*", "a" * 900):
        path = f"/v1/payments/{ident}"
        target = str(server.http.base_url.join(path).raw_path, "ascii")
        answer = await server.get(target, server.devices.terminal)
        assert answer.status_code == 404, ident


async def test_a_large_body_is_refused_and_forgotten(server: Bench) -> None:
    for size in (MAX_BODY_BYTES + 1, 20 * MAX_BODY_BYTES):
        answer = await server.post("/v1/payments", "a" * size)
        check_problem(answer, ErrorCode.MESSAGE_TOO_LARGE)
    bomb = await server.http.post(
        "/v1/payments",
        content=b"\x1f\x8b" + bytes(1000),
        headers={"content-type": "application/jwt", "content-encoding": "gzip"},
    )
    check_problem(bomb, ErrorCode.MESSAGE_MALFORMED)


async def test_a_head_without_end_is_cut_off(server: Bench) -> None:
    endless = [b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: ", *[b"a" * 8192] * 500]
    assert b"HTTP/1.1 200" not in await talk(server, *endless)
    thousands = b"".join(b"x-%d: y\r\n" % number for number in range(MAX_HEAD_BYTES // 4))
    heard = await talk(server, b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + thousands + b"\r\n")
    assert b"HTTP/1.1 200" not in heard


async def test_a_phone_pays_through_a_crowd_that_says_nothing(server: Bench) -> None:
    """Idle connections, half a head, half a body: 240 of them, while a payment goes through."""
    crowd = await asyncio.gather(*(connect(server) for _ in range(240)))
    for number, (_, writer) in enumerate(crowd):
        half = (b"", b"GET /heal", HEAD + b"content-length: 9\r\n\r\nabc")[number % 3]
        writer.write(half)
    try:
        async with asyncio.timeout(20):
            payment, _, challenge = await server.pending()
            answer = await server.confirm(payment, server.devices.confirmation(payment, challenge))
            assert answer.json()["status"] == "captured"
    finally:
        for _, writer in crowd:
            writer.transport.abort()


async def test_one_device_cannot_use_up_the_memory_of_proofs(server: Bench) -> None:
    """It is bounded for each device, so that the others are still served."""
    stranger = await server.enrolled(Role.PHONE)
    memory = ProofMemory()
    codes = set()
    for _ in range(1100):
        try:
            memory.use(proof_of(server, stranger), "GET", "/v1/payments", now_s())
        except CodedError as error:
            codes.add(error.code)
    assert codes == {ErrorCode.TOO_MANY_REQUESTS}
    memory.use(proof_of(server, server.devices.phone), "GET", "/v1/payments", now_s())


def proof_of(server: Bench, signer: FileSigner) -> Proof:
    proof = server.devices.proof(signer, "GET", "/v1/payments")
    return Proof.from_claims(unverified_claims(proof))
