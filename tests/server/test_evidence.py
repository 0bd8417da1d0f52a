"""Evidence files: what they prove, what they refuse, and that no byte of one can be changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.evidence_chain import verify_document, verify_evidence
from server.evidence_file import Evidence, EvidenceError, read, write
from server.expiry import sweep
from server.schema.tables import metadata
from server.store import Store
from tests.server.devices import new_id, new_signer
from tests.server.evidence_bench import evidence_of, finish, refusal, resigned, with_a_changed_byte
from tests.server.world import World, identity
from twochannel.protocol.envelope import (
    digest,
    read_header,
    sign,
    verify,
)
from twochannel.protocol.errors import PaymentError
from twochannel.protocol.payment import CaptureMode, Event, Status
from twochannel.protocol.statements import (
    AuthCode,
    Capture,
    Confirmation,
    DecidedBy,
    Decision,
    Presence,
    Role,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('evidence') / 'server.sqlite3'}")
    metadata.create_all(store.engine)
    yield World(store)
    store.close_now()


def captured(world: World) -> Evidence:
    payment = world.request()
    world.confirm(payment)
    finish(world, payment, Event.CAPTURE)
    return evidence_of(world, payment)


@pytest.fixture(scope="module")
def coffee(world: World) -> Evidence:
    return captured(world)


@pytest.fixture(scope="module")
def fuel(world: World) -> Evidence:
    payment = world.request(8000, CaptureMode.MANUAL)
    world.confirm(payment)
    finish(world, payment, Event.AUTHORIZE)
    world.capture(payment, 4217)
    finish(world, payment, Event.CAPTURE, 4217)
    return evidence_of(world, payment)


def test_a_coffee_is_proven_step_by_step(world: World, coffee: Evidence) -> None:
    verdict = verify_document(write(coffee), world.server.key.kid)
    assert (verdict.payment, verdict.status) == (coffee.payment, Status.CAPTURED)
    assert (verdict.authorized_minor, verdict.captured_minor, verdict.currency) == (450, 450, "EUR")
    signers = [step.signer for step in verdict.steps]
    assert signers == [
        Role.SERVER,
        Role.PHONE,
        Role.TERMINAL,
        Role.SERVER,
        Role.JACK,
        Role.JACK,
        Role.PHONE,
        Role.SERVER,
    ]
    assert not any(step.warning for step in verdict.steps)
    assert "The jack heard the nonce of lane “Lane 1”." in [step.text for step in verdict.steps]
    assert "4.50 EUR captured of 4.50 authorised" in verdict.steps[-1].text


def test_a_refuelling_is_proven_with_its_capture(fuel: Evidence) -> None:
    verdict = verify_document(write(fuel))
    assert (verdict.status, verdict.authorized_minor, verdict.captured_minor) == (
        Status.CAPTURED,
        8000,
        4217,
    )
    assert "42.17 EUR captured of 80.00 authorised" in verdict.steps[-1].text


@pytest.mark.parametrize("by_operator", [False, True])
def test_it_shows_who_cancelled(world: World, by_operator: bool) -> None:
    payment = world.request()
    (world.operator_cancel if by_operator else world.cancel)(payment)
    verdict = verify_document(write(evidence_of(world, payment)))
    assert verdict.ended_by is (Role.SERVER if by_operator else Role.TERMINAL)
    assert world.payment(payment)["reason"] == (
        "canceled_by_operator" if by_operator else "canceled_by_terminal"
    )


def test_without_a_trusted_thumbprint_the_server_vouches_for_itself(coffee: Evidence) -> None:
    first = verify_document(write(coffee)).steps[0]
    assert first.warning
    assert "own word" in first.text


def test_another_server_than_the_trusted_one_is_refused(coffee: Evidence) -> None:
    with pytest.raises(EvidenceError, match="another server"):
        verify_document(write(coffee), new_signer().key.kid)


def test_a_jack_that_did_not_hear_the_lane_says_so(world: World) -> None:
    payment = world.request()
    world.confirm(payment, Decision.DECLINE, heard=False)
    verdict = verify_evidence(evidence_of(world, payment))
    assert verdict.status is Status.DECLINED
    (warning,) = [step for step in verdict.steps[1:] if step.warning]
    assert "did NOT hear lane “Lane 1”" in warning.text


@pytest.mark.parametrize(
    "ending",
    [
        lambda w, p: w.confirm(p, Decision.DECLINE),
        lambda w, p: w.confirm(p, Decision.DECLINE, decided_by=DecidedBy.TIMEOUT),
        lambda w, p: w.cancel(p),
    ],
)
def test_payments_that_end_before_a_charge(
    world: World, ending: Callable[[World, str], None]
) -> None:
    payment = world.request()
    ending(world, payment)
    verdict = verify_evidence(evidence_of(world, payment))
    assert verdict.status == world.payment(payment)["status"]
    assert (verdict.authorized_minor, verdict.captured_minor) == (0, 0)


def test_a_pending_and_an_expired_payment(world: World) -> None:
    payment = world.request()
    assert verify_evidence(evidence_of(world, payment)).status is Status.PENDING
    later_ms = world.now_ms + 60_000
    world.store.write_now(lambda c: sweep(c, later_ms, world.issuer))
    assert verify_evidence(evidence_of(world, payment)).status is Status.EXPIRED


def test_a_refused_charge_and_one_that_was_unknown_for_a_while(world: World) -> None:
    payment = world.request()
    world.confirm(payment)
    assert verify_evidence(evidence_of(world, payment)).status is Status.CONFIRMED
    finish(world, payment, Event.LOSE)
    assert verify_evidence(evidence_of(world, payment)).status is Status.CONFIRMED
    finish(world, payment, Event.REFUSE)
    assert verify_evidence(evidence_of(world, payment)).status is Status.REFUSED


@pytest.mark.parametrize("canceled", [True, False])
def test_a_hold_that_is_released(world: World, canceled: bool) -> None:
    payment = world.request(8000, CaptureMode.MANUAL)
    world.confirm(payment)
    finish(world, payment, Event.AUTHORIZE)
    if canceled:
        world.cancel(payment)
    finish(world, payment, Event.VOID)
    verdict = verify_evidence(evidence_of(world, payment))
    assert (verdict.status, verdict.captured_minor) == (Status.VOIDED, 0)


def test_the_evidence_of_an_unknown_payment_is_refused(world: World) -> None:
    with pytest.raises(PaymentError):
        evidence_of(world, new_id())


def test_every_changed_byte_is_found(coffee: Evidence) -> None:
    document = write(coffee)
    verify_document(document)
    for forged in with_a_changed_byte(document):
        with pytest.raises(EvidenceError):
            verify_document(forged)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_every_random_change_is_found(fuel: Evidence, data: st.DataObject) -> None:
    document = bytearray(write(fuel))
    position = data.draw(st.integers(0, len(document) - 1))
    document[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(EvidenceError):
        verify_document(bytes(document))


@given(st.binary(max_size=2000))
def test_any_bytes_are_evidence_or_the_documented_error(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        verify_document(data)


@pytest.mark.parametrize("change", [b" ", b"\n", b"{}"])
def test_anything_before_or_after_the_file_is_refused(coffee: Evidence, change: bytes) -> None:
    document = write(coffee)
    for forged in (change + document, document + change, document[:-1]):
        with pytest.raises(EvidenceError, match="file"):
            verify_document(forged)


def test_a_file_is_read_as_it_was_written(coffee: Evidence) -> None:
    assert read(write(coffee)) == coffee
    compact = json.dumps(coffee.model_dump(mode="json")).encode()
    with pytest.raises(EvidenceError, match="one way"):
        read(compact)


def test_statements_of_another_payment_do_not_fit(world: World, coffee: Evidence) -> None:
    other = captured(world)
    for position in range(len(coffee.statements)):
        chain = [*coffee.statements]
        chain[position] = other.statements[position]
        mixed = coffee.model_copy(update={"statements": chain})
        assert f"statement {position + 1}" in refusal(mixed)


def test_statements_in_another_order_or_twice_do_not_fit(coffee: Evidence) -> None:
    request, challenge, confirmation, receipt = coffee.statements
    for chain in (
        [challenge, request, confirmation, receipt],
        [request, challenge, receipt, confirmation],
        [request, challenge, confirmation, confirmation, receipt],
        [request, challenge, confirmation, receipt, receipt],
        [request, request, challenge],
        [request, challenge, challenge],
        [request, confirmation],
        [coffee.server],
    ):
        assert "statement" in refusal(coffee.model_copy(update={"statements": chain}))


def test_keys_and_parties_must_be_those_that_signed(world: World, coffee: Evidence) -> None:
    stranger = new_signer()
    for name in ("phone", "terminal"):
        keys = coffee.keys.model_copy(update={name: stranger.key.jwk})
        refusal(coffee.model_copy(update={"keys": keys}))
    foreign = identity(Role.SERVER, stranger)
    refusal(coffee.model_copy(update={"server": foreign}))
    jack = identity(Role.JACK, world.server)
    assert "not of a server" in refusal(coffee.model_copy(update={"server": jack}))


@pytest.mark.parametrize(
    ("claims", "complaint"),
    [
        ({"captured_minor": 451, "authorized_minor": 451}, "more is authorised"),
        ({"captured_minor": 450, "authorized_minor": 449}, "more is taken"),
        ({"refunded_minor": 1}, "nobody asked for"),
        ({"captured_minor": 0}, "does not fit"),
        ({"currency": "USD"}, "another currency"),
        ({"status": "voided"}, "wrong kind"),
        ({"status": "refused"}, "does not fit"),
        ({"status": "authorized", "captured_minor": 0}, "cannot authorize"),
        ({"prev": digest("nothing")}, "not here"),
        ({"jti": "same"}, "used before"),
    ],
)
def test_a_receipt_that_tells_another_story(
    world: World, coffee: Evidence, claims: dict[str, object], complaint: str
) -> None:
    if "jti" in claims:
        claims = {"jti": coffee.payment}
    assert complaint in refusal(resigned(world, coffee, 3, Role.SERVER, **claims))


def test_a_receipt_for_more_than_the_terminal_captured(world: World, fuel: Evidence) -> None:
    forged = resigned(world, fuel, 5, Role.SERVER, captured_minor=4218)
    assert "another amount was asked for" in refusal(forged)


def test_a_capture_above_the_hold(world: World, fuel: Evidence) -> None:
    forged = resigned(world, fuel, 4, Role.TERMINAL, amount={"value": 8001, "currency": "EUR"})
    assert "capture" in refusal(forged)


def test_a_challenge_for_another_amount(world: World, coffee: Evidence) -> None:
    forged = resigned(world, coffee, 1, Role.SERVER, amount={"value": 449, "currency": "EUR"})
    assert "the challenge has another amount" in refusal(forged)


def test_a_confirmation_signed_long_after_the_challenge(world: World, coffee: Evidence) -> None:
    late_s = world.now_ms // 1000 + 121
    forged = resigned(world, coffee, 2, Role.PHONE, iat=late_s, exp=late_s + 60)
    assert "lifetime of the challenge" in refusal(forged)


def test_an_auth_code_of_another_pairing(world: World, coffee: Evidence) -> None:
    confirmation = verify(coffee.statements[2], Confirmation, world.phone.key)
    auth_code = verify(str(confirmation.auth_code), AuthCode, world.jack.key)
    forged = sign(auth_code.model_copy(update={"epoch": 2}), world.jack)
    assert "another pairing" in refusal(resigned(world, coffee, 2, Role.PHONE, auth_code=forged))


def test_an_approval_without_presence_where_the_merchant_requires_it(world: World) -> None:
    payment = world.request()
    world.confirm(payment, heard=False)
    finish(world, payment, Event.REFUSE)
    evidence = evidence_of(world, payment)
    (warning,) = [step.text for step in verify_evidence(evidence).steps[1:] if step.warning]
    assert "NOT hear" in warning
    strict = resigned(world, evidence, 1, Role.SERVER, presence=Presence.REQUIRE.value)
    prev = digest(strict.statements[1])
    confirmation = verify(evidence.statements[2], Confirmation, world.phone.key)
    auth_code = verify(str(confirmation.auth_code), AuthCode, world.jack.key)
    again = sign(auth_code.model_copy(update={"prev": prev}), world.jack)
    forged = resigned(world, strict, 2, Role.PHONE, prev=prev, auth_code=again)
    assert "without the presence" in refusal(forged)


def test_an_approval_by_policy_without_presence(world: World) -> None:
    payment = world.request()
    world.confirm(payment, heard=False)
    finish(world, payment, Event.CAPTURE)
    by_owner = evidence_of(world, payment)
    by_policy = resigned(world, by_owner, 2, Role.PHONE, decided_by=DecidedBy.POLICY.value)
    assert "by policy without proof of presence" in refusal(by_policy)
    prev = digest(by_policy.statements[2])
    assert "by policy" in refusal(resigned(world, by_policy, 3, Role.SERVER, prev=prev))


def test_a_capture_that_was_refused_and_one_for_less(world: World) -> None:
    payment = world.request(8000, CaptureMode.MANUAL)
    world.confirm(payment)
    finish(world, payment, Event.AUTHORIZE)
    world.capture(payment, 8000)
    world.refuse(payment, "over_limit")
    world.capture(payment, 4217)
    finish(world, payment, Event.CAPTURE, 4217)
    evidence = evidence_of(world, payment)
    assert verify_evidence(evidence).captured_minor == 4217
    first = digest(evidence.statements[4])
    assert read_header(evidence.statements[4]).typ == Capture.TYP
    other = resigned(world, evidence, len(evidence.statements) - 1, Role.SERVER, prev=first)
    assert "another amount was asked for" in refusal(other)
