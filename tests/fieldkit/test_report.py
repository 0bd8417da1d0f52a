"""The report, on made-up traces and truly signed statements."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fieldkit import legs, report, waterfall
from fieldkit.results import AuditCheck, DemoResult, EvidenceStep, JourneyResult
from fieldkit.trace import TraceEvent
from twochannel.protocol.envelope import Statement, digest, sign
from twochannel.protocol.keys import VerifyingKey, jwk_of
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode, Status
from twochannel.protocol.statements import (
    AuthCode,
    Challenge,
    Confirmation,
    DecidedBy,
    Decision,
    Merchant,
    PaymentRequest,
    Presence,
    Receipt,
    SightingReport,
)

PAYMENT = "01890a5d-ac96-774b-bcce-b302099a8057"
SECRET_CODE = "0123456789abcdef"
ABOUT = report.About("23 November 2026, 10:00 UTC", "18.2", 7, "0.1.0")
TIMELINE: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
    ("terminal", "charge_asked", 0, {"amount_minor": 450, "currency": "EUR"}),
    ("terminal", "jack_chosen", 2, {"jack": "3f2a", "rssi_dbm": -58, "others": 0}),
    ("terminal", "lane_broadcast", 5, {}),
    ("terminal", "intent_stored", 7, {}),
    ("terminal", "request_sent", 8, {}),
    ("server", "request_received", 12, {}),
    ("server", "challenge_issued", 17, {}),
    ("phone", "challenge_received", 20, {}),
    ("phone", "auth_code_asked", 21, {}),
    ("jack", "challenge_received", 24, {}),
    ("jack", "auth_code_signed", 38, {"counter": 1, "presence": True}),
    ("phone", "auth_code_received", 42, {"presence": True}),
    ("phone", "decision", 43, {"decision": "approve", "decided_by": "policy"}),
    ("phone", "confirmation_sent", 45, {}),
    ("server", "confirmation_received", 49, {"decision": "approve"}),
    ("server", "payment_confirmed", 55, {}),
    ("phone", "confirmation_answered", 58, {"status_code": 200}),
    ("server", "processor_called", 57, {"operation": "charge"}),
    ("server", "processor_answered", 62, {"outcome": "succeeded"}),
    ("server", "payment_status", 64, {"status": "captured"}),
    ("terminal", "request_answered", 68, {"status_code": 201}),
    ("terminal", "payment_settled", 69, {"status": "captured"}),
    ("terminal", "lane_silenced", 70, {}),
)


class HeldKey:
    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.key = VerifyingKey.from_jwk(jwk_of(self._private.public_key()))

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


def signed_chain() -> list[str]:
    terminal, server, jack, phone = (HeldKey() for _ in range(4))
    amount = Amount(value=450, currency="EUR")
    lane_digest = "A" * 43

    def common(by: HeldKey, to: HeldKey, number: int) -> dict[str, Any]:
        jti = f"01890a5d-ac96-774b-bcce-b30209900{number:03d}"
        return {"iss": by.key.kid, "aud": to.key.kid, "jti": jti, "sub": PAYMENT}

    times: dict[str, Any] = {"iat": 1_700_000_000, "exp": 1_700_000_060}
    request: Statement = PaymentRequest(
        **common(terminal, server, 1) | {"jti": PAYMENT},
        **times,
        code=SECRET_CODE,
        amount=amount,
        capture=CaptureMode.AUTOMATIC,
        lane="Lane 1",
        lane_digest=lane_digest,
        reference="order-17",
        sighting=SightingReport(rssi_dbm=-58, heard_ms_ago=12, other_jacks=0),
    )
    first = sign(request, terminal)
    challenge = Challenge(
        **common(server, jack, 2),
        **times,
        prev=digest(first),
        amount=amount,
        capture=CaptureMode.AUTOMATIC,
        merchant=Merchant(id="blue-bottle", name="Blue <Bottle>"),
        lane="Lane 1",
        lane_digest=lane_digest,
        presence=Presence.PREFER,
        phone=phone.key.kid,
        nonce="B" * 22,
        match_code="42",
    )
    second = sign(challenge, server)
    auth_code = AuthCode(
        **common(jack, server, 3),
        prev=digest(second),
        counter=1,
        epoch=1,
        lane_nonce=None,
        phone=phone.key.kid,
    )
    third = sign(auth_code, jack)
    confirmation = Confirmation(
        **common(phone, server, 4),
        **times,
        prev=digest(second),
        decision=Decision.APPROVE,
        decided_by=DecidedBy.POLICY,
        auth_code=third,
        payment_method="01890a5d-ac96-774b-bcce-b30209900009",
    )
    fourth = sign(confirmation, phone)
    receipt = Receipt(
        **common(server, terminal, 5),
        iat=1_700_000_001,
        prev=digest(fourth),
        status=Status.CAPTURED,
        currency="EUR",
        authorized_minor=450,
        captured_minor=450,
        refunded_minor=0,
        processor_reference="ch_1",
    )
    return [first, second, fourth, sign(receipt, server)]


def trace(party: str, event: str, at_ms: float, payment: str | None, **fields: Any) -> TraceEvent:
    return TraceEvent(
        f"{party}-1", party, event, payment, int(at_ms * 1e6), 0, "boot", "system", fields
    )


def events() -> list[TraceEvent]:
    own = [trace(party, name, at, PAYMENT, **more) for party, name, at, more in TIMELINE]
    heard = [
        trace("terminal", "code_heard", at, None, jack="3f2a", rssi_dbm=-60 - at // 100)
        for at in range(-1000, 2500, 100)
    ]
    lane = trace("jack", "lane_heard", 9, None, lane="A" * 8)
    return sorted([*own, *heard, lane], key=lambda event: event.mono_ns)


def journey(failure: str = "", **changes: Any) -> JourneyResult:
    payment = {
        "id": PAYMENT,
        "status": "captured",
        "amount": {"value": 450, "currency": "EUR"},
        "authorized_minor": 450,
        "captured_minor": 450,
        "merchant": {"id": "blue-bottle", "name": "Blue <Bottle>"},
        "lane": "Lane 1",
    }
    members: dict[str, Any] = {
        "name": "coffee",
        "title": "Coffee at a drive-through",
        "payment": payment,
        "legs": legs.measure(events(), PAYMENT),
        "checks": ["captured 4.50 EUR"],
        "failure": failure,
        "statements": signed_chain(),
        "evidence": [EvidenceStep("auth code", "The jack did not hear <that> lane.", True)],
        "began_ns": -1_000_000,
        "ended_ns": 1_500_000_000,
    }
    return JourneyResult(**members | changes)


def rendered(*journeys: JourneyResult, findings: tuple[str, ...] = ()) -> str:
    return report.render(DemoResult(journeys, [AuditCheck("Sums", 5, findings)]), events(), ABOUT)


class Reading(HTMLParser):
    """Every element and attribute, with a check that what is opened is closed."""

    VOID = frozenset({"meta", "link", "br", "img", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.found if name in (attrs.get("class") or "").split()]


def test_the_report_is_whole_and_loads_nothing() -> None:
    page = Reading(rendered(journey()))
    tags = {tag for tag, _ in page.found}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    loading = {"src", "srcset", "action", "data", "xlink:href", "poster", "background"}
    assert all(loading.isdisjoint(attrs) for _, attrs in page.found)
    links = [attrs["href"] for _, attrs in page.found if attrs.get("href")]
    assert links
    assert all(link and link.startswith("#") for link in links)
    policies = [a["content"] for _, a in page.found if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    style = rendered(journey()).partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_the_headline_is_the_verdict() -> None:
    assert "All 1 journeys ended as they must" in rendered(journey())
    failed = rendered(journey(), journey("the payment is pending", name="refuelling"))
    assert "1 of 2 journeys did not end as they must" in failed
    assert "the payment is pending" in failed
    assert "2 findings" in rendered(journey(), findings=("one is missing", "one too many"))
    assert "but the audit is not clean" in rendered(journey(), findings=("one too many",))
    assert "one too many" in rendered(journey(), findings=("one is missing", "one too many"))


def test_the_overview_says_what_was_taken_of_a_hold() -> None:
    payment = journey().payment
    assert payment
    part = {"amount": {"value": 8000, "currency": "EUR"}, "captured_minor": 4217}
    assert "42.17 of 80.00 EUR" in Reading(rendered(journey(payment={**payment, **part}))).texts
    assert "4.50 EUR" in Reading(rendered(journey())).texts


def test_each_party_has_its_lane_and_each_message_an_end_in_two() -> None:
    page = Reading(rendered(journey()))
    for party in ("terminal", "server", "phone", "jack"):
        assert [a for a in page.of_class("lane") if party in str(a["class"])]
    messages = [str(attrs["d"]) for attrs in page.of_class("message")]
    assert len(messages) == 8
    ends = [re.fullmatch(r"M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)", message) for message in messages]
    assert all(end and float(end[1]) <= float(end[3]) and end[2] != end[4] for end in ends)
    assert len(page.of_class("radio")) == 1
    elsewhere = trace("jack", "lane_heard", 9, None, lane="B" * 8)
    heard = [elsewhere if e.event == "lane_heard" else e for e in events()]
    text = report.render(DemoResult([journey()], ()), heard, ABOUT)
    assert Reading(text).of_class("radio") == []


def test_every_step_lies_inside_the_drawing() -> None:
    page = Reading(rendered(journey()))
    for name in ("bar", "point"):
        styles = [str(attrs["style"]) for attrs in page.of_class(name)]
        assert styles
        for style in styles:
            places = dict(re.findall(r"(left|width): ([\d.]+)%", style))
            assert 0 <= float(places["left"]) <= 100
            assert float(places["left"]) + float(places.get("width", 0)) <= 100.1


def test_the_statements_show_their_signers_and_links() -> None:
    texts = [text.strip() for text in Reading(rendered(journey())).texts if text.strip()]
    names = [text for text in texts if re.fullmatch(r"\d · [a-z-]+", text)]
    assert names == [
        "1 · payment-request",
        "2 · challenge",
        "3 · auth-code",
        "4 · confirmation",
        "5 · receipt",
    ]
    signers = [after for text, after in pairwise(texts) if text == "signed by"]
    assert signers == ["terminal", "server", "jack", "phone", "server"]
    linked = [text for text in texts if text.startswith("statement ")]
    assert linked == ["statement 1", "statement 2", "statement 2", "statement 4"]


def test_codes_and_auth_codes_stay_out() -> None:
    result = journey()
    text = rendered(result)
    assert SECRET_CODE not in text
    assert SECRET_CODE[:4] in text
    assert all(compact not in text for compact in result.statements)
    assert "eyJ" not in text


def test_text_from_elsewhere_cannot_become_markup() -> None:
    text = rendered(journey())
    assert "<that>" not in text
    assert "&lt;that&gt;" in text
    assert "Blue &lt;Bottle&gt;" in text


def test_a_journey_without_payment_is_shown_too() -> None:
    bare = journey("no jack was heard", payment=None, statements=[], evidence=[])
    text = rendered(bare, journey(name="refuelling"))
    assert "no jack was heard" in text
    assert "no payment" in Reading(rendered(journey(payment=None, statements=[]))).texts


def test_a_report_without_radio_has_no_plot() -> None:
    result = DemoResult([journey(payment=None, statements=[])], ())
    text = report.render(result, [], ABOUT)
    assert "What the terminals heard" not in text
    assert "Audit did not run" in text


@pytest.mark.parametrize("wait_ms", [0, 90, 4000])
def test_a_long_wait_is_folded(wait_ms: float) -> None:
    own = [e for e in events() if e.payment]
    late = [trace("terminal", "request_answered", 69 + wait_ms, PAYMENT)]
    drawing = waterfall.draw([*own, *late])
    assert drawing
    assert [fold.text for fold in drawing.folds] == (["4.0 s"] if wait_ms > 100 else [])
    assert max(point.left for point in drawing.points) <= 100
