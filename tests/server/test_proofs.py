"""Requests without a statement: the proof, once, for this request alone."""

from __future__ import annotations

from typing import Any

import pytest

from server.proofs import ProofMemory
from tests.server.bench import Bench, check_problem
from tests.server.devices import new_id, new_signer, now_s
from twochannel.protocol.envelope import verify
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError
from twochannel.protocol.limits import MAX_STATEMENT_BYTES
from twochannel.protocol.statements import Proof, Time

NOW_S = 1_700_000_000
#: At the server that all tests of this module share.
over_http = pytest.mark.asyncio(loop_scope="module")


def proof(**changes: Any) -> Proof:
    claims = {
        "iss": "A" * 43,
        "aud": "B" * 43,
        "jti": new_id(),
        "iat": NOW_S,
        "exp": NOW_S + 60,
        "htm": "GET",
        "htu": "/v1/payments?limit=2",
    }
    return Proof.from_claims(claims | changes)


def test_a_proof_is_used_once() -> None:
    memory, one = ProofMemory(), proof()
    memory.use(one, "GET", "/v1/payments?limit=2", NOW_S)
    with pytest.raises(CodedError) as refused:
        memory.use(one, "GET", "/v1/payments?limit=2", NOW_S + 59)
    assert refused.value.code is ErrorCode.STATEMENT_REPLAYED
    memory.use(proof(), "GET", "/v1/payments?limit=2", NOW_S)


def test_a_proof_is_remembered_as_long_as_it_could_be_used() -> None:
    memory = ProofMemory()
    one = proof(iat=NOW_S + 60, exp=NOW_S + 10_000)
    memory.use(one, "GET", "/v1/payments?limit=2", NOW_S)
    for late_s, code in ((120, ErrorCode.STATEMENT_REPLAYED), (121, ErrorCode.CLOCK_SKEW)):
        with pytest.raises(CodedError) as refused:
            memory.use(one, "GET", "/v1/payments?limit=2", NOW_S + late_s)
        assert refused.value.code is code


def test_what_is_over_is_forgotten_and_the_rest_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.proofs._MAX_PROOFS", 2)
    memory = ProofMemory()
    target = "/v1/payments?limit=2"
    memory.use(proof(), "GET", target, NOW_S)
    memory.use(proof(), "GET", target, NOW_S)
    with pytest.raises(CodedError) as refused:
        memory.use(proof(), "GET", target, NOW_S)
    assert refused.value.code is ErrorCode.NOT_READY
    memory.use(proof(iat=NOW_S + 61, exp=NOW_S + 120), "GET", target, NOW_S + 61)


@pytest.mark.parametrize(
    ("ahead_s", "wait_s"), [((0, 0), 61), ((60, 60), 121), ((60, -30), 31), ((-30, 60), 31)]
)
def test_a_device_that_waits_as_long_as_it_is_told_is_let_through(
    monkeypatch: pytest.MonkeyPatch, ahead_s: tuple[int, int], wait_s: int
) -> None:
    monkeypatch.setattr("server.proofs._MAX_OF_DEVICE", 2)
    memory, target = ProofMemory(), "/v1/payments?limit=2"

    def ask(at_s: int, iat: int, **changes: str) -> None:
        one = proof(iat=iat, exp=iat + 200, **changes)
        memory.use(one, "GET", target, at_s)

    ask(NOW_S, NOW_S + 60, iss="B" * 43)  # somebody else's clock is no matter
    for seconds in ahead_s:
        ask(NOW_S, NOW_S + seconds)
    for waited_s in (0, wait_s - 1):
        now_s = NOW_S + waited_s
        with pytest.raises(LimitError) as refused:
            ask(now_s, now_s)
        assert refused.value.retry_after_s == wait_s - waited_s
    ask(NOW_S + wait_s, NOW_S + wait_s)


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/v1/payments?limit=2"), ("GET", "/v1/payments"), ("GET", "/v1/payments?limit=3")],
)
def test_a_proof_is_for_one_request(method: str, target: str) -> None:
    with pytest.raises(CodedError) as refused:
        ProofMemory().use(proof(), method, target, NOW_S)
    assert refused.value.code is ErrorCode.PROOF_REQUIRED


@over_http
async def test_proofs_over_http(shared: Bench) -> None:
    devices, path = shared.devices, "/v1/payments"
    good = devices.proof(devices.phone, "GET", path)
    cases = (
        ("", ErrorCode.PROOF_REQUIRED),
        (f"Basic {good}", ErrorCode.PROOF_REQUIRED),
        ("Bearer", ErrorCode.PROOF_REQUIRED),
        ("Bearer a.b", ErrorCode.PROOF_REQUIRED),
        (f"Bearer {good}{'A' * MAX_STATEMENT_BYTES}", ErrorCode.PROOF_REQUIRED),
        (f"Bearer {good[:-3]}AAA", ErrorCode.SIGNATURE_INVALID),
        (
            f"Bearer {devices.proof(devices.phone, 'GET', path, aud='A' * 43)}",
            ErrorCode.AUDIENCE_WRONG,
        ),
        (
            f"Bearer {devices.proof(devices.phone, 'GET', path, iat=1, exp=2)}",
            ErrorCode.CLOCK_SKEW,
        ),
        (f"Bearer {devices.proof(new_signer(), 'GET', path)}", ErrorCode.KEY_UNKNOWN),
        (f"Bearer {devices.proof(devices.jack, 'GET', path)}", ErrorCode.KEY_UNKNOWN),
        (f"Bearer {devices.method()}", ErrorCode.STATEMENT_TYPE_WRONG),
    )
    for header, code in cases:
        answer = await shared.http.get(path, headers={"authorization": header} if header else {})
        check_problem(answer, code)
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
    headers = {"authorization": f"bearer {good}"}
    assert (await shared.http.get(path, headers=headers)).status_code == 200
    check_problem(await shared.http.get(path, headers=headers), ErrorCode.STATEMENT_REPLAYED)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=", "cursor=x"])
@over_http
async def test_pages_that_do_not_exist(shared: Bench, query: str) -> None:
    answer = await shared.get(f"/v1/payments?{query}", shared.devices.phone)
    check_problem(answer, ErrorCode.MESSAGE_MALFORMED)


async def tell_time(shared: Bench, body: bytes, kind: str = "application/json") -> Any:
    sealed = shared.devices.proof(shared.devices.phone, "POST", "/v1/time")
    headers = {"authorization": f"Bearer {sealed}", "content-type": kind}
    return await shared.http.post("/v1/time", content=body, headers=headers)


@over_http
async def test_a_jack_is_told_the_time(shared: Bench) -> None:
    jack, nonce = shared.devices.jack.key.kid, "A" * 22
    answer = await tell_time(shared, f'{{"jack":"{jack}","nonce":"{nonce}"}}'.encode())
    assert answer.headers["content-type"].startswith("application/jwt")
    statement = verify(answer.text, Time, shared.folder.keys.signer("signing").key, audience=jack)
    assert statement.nonce == nonce
    assert abs(statement.time_ms / 1000 - now_s()) < 5


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", ErrorCode.MESSAGE_MALFORMED),
        (b"[]", ErrorCode.MESSAGE_MALFORMED),
        (b'{"jack":1.5}', ErrorCode.MESSAGE_MALFORMED),
        (b'{"jack":"a","jack":"b"}', ErrorCode.MESSAGE_MALFORMED),
        (b"[" * 5000, ErrorCode.MESSAGE_MALFORMED),
        (b"\xff", ErrorCode.MESSAGE_MALFORMED),
        (b"{}", ErrorCode.CLAIM_INVALID),
        (b'{"jack":"a","nonce":"b"}', ErrorCode.CLAIM_INVALID),
        (b'{"x":"' + b"x" * 70_000 + b'"}', ErrorCode.MESSAGE_TOO_LARGE),
    ],
)
@over_http
async def test_other_questions_for_the_time(shared: Bench, body: bytes, code: ErrorCode) -> None:
    check_problem(await tell_time(shared, body), code)


@over_http
async def test_the_time_is_asked_for_in_json(shared: Bench) -> None:
    check_problem(await tell_time(shared, b"{}", "text/plain"), ErrorCode.MEDIA_TYPE_UNSUPPORTED)
