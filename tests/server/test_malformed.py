"""What no door lets in: every malformed statement, at every door, answered with its code.

Whatever is refused leaves every table as it was, and in the end the audit is clean.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.adversaries.scene import findings
from tests.server.bench import check_problem, make_folder, running
from tests.server.devices import new_id, now_s, seal
from tests.server.doors import DOORS, Door, Scene
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role
from twochannel.protocol.wire import base64url

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with running(make_folder(tmp_path_factory.mktemp("server"))) as bench:
        await bench.enrol()
        scene = Scene(bench)
        await scene.prepare()
        yield scene
        await bench.clear()
        assert findings(bench.folder) == []


def flipped(compact: str) -> str:
    """Another signature of the same length."""
    head, _, signature = compact.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def foreign_payload(door: Door) -> str:
    """The signature of one statement under the claims of another."""
    head, _, signature = door.sealed().rpartition(".")
    other = base64url(json.dumps(door.claims | {"jti": new_id()}).encode())
    return f"{head.partition('.')[0]}.{other}.{signature}"


def old(door: Door) -> str:
    return door.sealed({"iat": now_s() - 50, "exp": now_s() - 1})


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


Spoil = Callable[[Door], str]

SPOILED: dict[str, tuple[Spoil, ErrorCode]] = {
    "empty": (lambda door: "", ErrorCode.MESSAGE_MALFORMED),
    "prose": (lambda door: "hello", ErrorCode.MESSAGE_MALFORMED),
    "two parts": (lambda door: door.sealed().rpartition(".")[0], ErrorCode.MESSAGE_MALFORMED),
    "padded": (lambda door: door.sealed() + "=", ErrorCode.MESSAGE_MALFORMED),
    "over 8 KiB": (lambda door: door.sealed({"x": "x" * 8192}), ErrorCode.MESSAGE_TOO_LARGE),
    "over 64 KiB": (lambda door: door.sealed({"x": "x" * 65536}), ErrorCode.MESSAGE_TOO_LARGE),
    "other type": (lambda door: door.sealed(typ="receipt+jwt"), ErrorCode.STATEMENT_TYPE_WRONG),
    "plain jwt": (lambda door: door.sealed(typ="JWT"), ErrorCode.STATEMENT_TYPE_WRONG),
    "alg none": (lambda door: door.sealed(alg="none"), ErrorCode.SIGNATURE_INVALID),
    "alg HS256": (lambda door: door.sealed(alg="HS256"), ErrorCode.SIGNATURE_INVALID),
    "more header": (lambda door: door.sealed(jku="https://evil"), ErrorCode.MESSAGE_MALFORMED),
    "unknown key": (lambda door: door.sealed(kid="A" * 43), ErrorCode.KEY_UNKNOWN),
    "other signature": (lambda door: flipped(door.sealed()), ErrorCode.SIGNATURE_INVALID),
    "other payload": (foreign_payload, ErrorCode.SIGNATURE_INVALID),
    "other audience": (lambda door: door.sealed({"aud": "A" * 43}), ErrorCode.AUDIENCE_WRONG),
    "other issuer": (lambda door: door.sealed({"iss": "A" * 43}), ErrorCode.ISSUER_WRONG),
    "slow clock": (
        lambda door: door.sealed({"iat": now_s() - 3600, "exp": now_s() - 3540}),
        ErrorCode.CLOCK_SKEW,
    ),
    "fast clock": (
        lambda door: door.sealed({"iat": now_s() + 3600, "exp": now_s() + 3660}),
        ErrorCode.CLOCK_SKEW,
    ),
    "expired": (old, ErrorCode.STATEMENT_EXPIRED),
    "ends before it begins": (lambda door: door.sealed({"exp": 1}), ErrorCode.CLAIM_INVALID),
    "float": (
        lambda door: door.with_text('"iat":', '"x":1.0,"iat":'),
        ErrorCode.MESSAGE_MALFORMED,
    ),
    "float for integer": (
        lambda door: door.sealed({"iat": float(now_s())}),
        ErrorCode.MESSAGE_MALFORMED,
    ),
    "boolean for integer": (lambda door: door.sealed({"iat": True}), ErrorCode.CLAIM_INVALID),
    "text for integer": (lambda door: door.sealed({"iat": str(now_s())}), ErrorCode.CLAIM_INVALID),
    "not a number": (
        lambda door: door.with_text('"iat":', '"x":NaN,"iat":'),
        ErrorCode.MESSAGE_MALFORMED,
    ),
    "beyond 64 bit": (
        lambda door: door.with_text('"iat":', f'"x":{2**63},"iat":'),
        ErrorCode.MESSAGE_MALFORMED,
    ),
    "duplicate key": (
        lambda door: door.with_text('"iat":', '"iat":1,"iat":'),
        ErrorCode.MESSAGE_MALFORMED,
    ),
    "deep": (
        lambda door: door.with_text('"iat":', f'"x":{nested(20)},"iat":'),
        ErrorCode.MESSAGE_MALFORMED,
    ),
    "abyss": (
        lambda door: seal(nested(2500).encode(), door.signer, door.typ),
        ErrorCode.MESSAGE_MALFORMED,
    ),
    "bad UTF-8": (
        lambda door: seal(b'{"iss":"\xff"}', door.signer, door.typ),
        ErrorCode.MESSAGE_MALFORMED,
    ),
    "list": (lambda door: seal(b"[]", door.signer, door.typ), ErrorCode.MESSAGE_MALFORMED),
    "unknown claim": (lambda door: door.sealed({"admin": True}), ErrorCode.CLAIM_INVALID),
    "no claims": (lambda door: seal({}, door.signer, door.typ), ErrorCode.CLAIM_INVALID),
    "bad id": (lambda door: door.sealed({"jti": "1"}), ErrorCode.CLAIM_INVALID),
}

#: Enrolment and pairing carry the keys that they are judged by, which comes before their claims.
ELSEWHERE: dict[tuple[str, str], ErrorCode] = {
    ("enrolments", "no claims"): ErrorCode.KEY_INVALID,
}


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("spoiled", SPOILED)
async def test_it_is_refused_and_leaves_no_trace(scene: Scene, name: str, spoiled: str) -> None:
    spoil, code = SPOILED[spoiled]
    door = await scene.door(name)
    before = scene.bench.row_counts()
    answer = await scene.bench.post(door.path, spoil(door))
    check_problem(answer, ELSEWHERE.get((name, spoiled), code))
    assert scene.bench.row_counts() == before


@pytest.mark.parametrize("name", DOORS)
async def test_other_media_types_are_refused(scene: Scene, name: str) -> None:
    door = await scene.door(name)
    before = scene.bench.row_counts()
    for kind in ("application/json", "text/plain", ""):
        headers = {"content-type": kind}
        answer = await scene.bench.http.post(door.path, content=door.sealed(), headers=headers)
        check_problem(answer, ErrorCode.MEDIA_TYPE_UNSUPPORTED)
    assert scene.bench.row_counts() == before


@pytest.mark.parametrize("name", DOORS)
async def test_other_alphabets_are_refused(scene: Scene, name: str) -> None:
    door = await scene.door(name)
    answer = await scene.bench.http.post(
        door.path, content="é.é.é".encode(), headers={"content-type": "application/jwt"}
    )
    check_problem(answer, ErrorCode.MESSAGE_MALFORMED)


@pytest.mark.parametrize("name", DOORS)
async def test_other_methods_are_refused(scene: Scene, name: str) -> None:
    door = await scene.door(name)
    check_problem(await scene.bench.http.delete(door.path), ErrorCode.METHOD_NOT_ALLOWED)


async def test_a_refused_method_is_told_all_that_the_address_takes(scene: Scene) -> None:
    document = (await scene.bench.http.get("/openapi.json")).json()
    assert {len(operations) for operations in document["paths"].values()} == {1, 2}
    for path, operations in document["paths"].items():
        answer = await scene.bench.http.delete(path)
        check_problem(answer, ErrorCode.METHOD_NOT_ALLOWED)
        assert answer.headers["allow"] == ", ".join(sorted(operations)).upper(), path


async def test_unknown_addresses_are_told(scene: Scene) -> None:
    for path in ("/", "/v1", "/v1/payments/", "/v2/payments"):
        check_problem(await scene.bench.http.get(path), ErrorCode.NOT_FOUND)


@pytest.mark.parametrize("name", DOORS)
async def test_the_good_statement_is_accepted(scene: Scene, name: str) -> None:
    """What the others spoil is good: without this test they might all fail for another reason."""
    await scene.bench.clear()
    door = await scene.door(name)
    if name == "enrolments":
        door.claims["code"] = scene.bench.enrolment_code(Role.PHONE)
    answer = await scene.bench.post(door.path, door.sealed(), prefer="wait=1")
    assert answer.status_code in (200, 201), answer.text
    await scene.bench.clear()
    await scene.mend(name)


async def test_no_door_that_takes_statements_is_left_out(scene: Scene) -> None:
    document = (await scene.bench.http.get("/openapi.json")).json()
    takers = {
        path
        for path, operations in document["paths"].items()
        if "application/jwt" in operations.get("post", {}).get("requestBody", {}).get("content", {})
    }
    tried = [(await scene.door(name)).path for name in DOORS]
    assert takers
    for path in takers:
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        assert any(re.fullmatch(pattern, door) for door in tried), path
