"""demo-report.html: one file that shows a demo, with nothing loaded from anywhere.

No script and no external host (a Content-Security-Policy in the file holds it to that); dark,
light, printed, and on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from fieldkit import rssi_plot, statement_view, waterfall
from fieldkit.legs import ENDS
from fieldkit.results import DemoResult, JourneyResult
from fieldkit.trace import TraceEvent, of_payment
from fieldkit.waterfall_view import MIDDLE, Leg, legs_shown, milliseconds, steps, words
from twochannel.protocol.money import format_minor

_TEMPLATES: Final = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class About:
    """When and how the demo ran, as text."""

    made_at: str
    took_s: str
    seed: int
    version: str


@dataclass(frozen=True, slots=True)
class _Journey:
    """A journey as the template shows it."""

    result: JourneyResult
    waterfall: waterfall.Waterfall | None
    statements: Sequence[statement_view.StatementView]

    @property
    def legs(self) -> list[Leg]:
        return legs_shown(self.result.legs)

    @property
    def total(self) -> str:
        return milliseconds(self.result.legs.total_ms)

    @property
    def status(self) -> str:
        return str(self.result.payment["status"]) if self.result.payment else "no payment"

    @property
    def amount(self) -> str:
        """What was taken if that is less than what was asked, else what was asked."""
        payment = self.result.payment
        if payment is None:
            return "—"
        currency, asked = payment["amount"]["currency"], payment["amount"]["value"]
        taken = payment["captured_minor"]
        of = f"{format_minor(taken, currency)} of " if 0 < taken < asked else ""
        return of + _money(asked, currency)

    @property
    def sentence(self) -> str:
        """Who wanted how much, and what came of it."""
        if self.result.payment is None:
            return ""
        return _sentence(self.result.payment)


def render(result: DemoResult, events: Sequence[TraceEvent], about: About) -> str:
    """The report as HTML. ``events``: those of all agents, sorted by time."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
    )
    journeys = [_journey(journey, events) for journey in result.journeys]
    marks = [(j.name, j.began_ns, j.ended_ns) for j in result.journeys]
    return environment.get_template("report.html.j2").render(
        headline=_headline(result),
        result=result,
        audit_text=_audit_text(result),
        about=about,
        journeys=journeys,
        leg_names=[words(leg) for leg in ENDS],
        parties=waterfall.PARTIES,
        middle=MIDDLE,
        steps=steps,
        rssi=rssi_plot.plot(events, marks),
    )


def _journey(result: JourneyResult, events: Sequence[TraceEvent]) -> _Journey:
    own = of_payment(events, str(result.payment["id"])) if result.payment else []
    lane_heard = _lane_heard(result.statements, events)
    return _Journey(
        result,
        waterfall.draw(sorted(own + lane_heard, key=lambda event: event.mono_ns)),
        statement_view.view(result.statements),
    )


def _lane_heard(statements: Sequence[str], events: Sequence[TraceEvent]) -> list[TraceEvent]:
    """When the jack first heard this payment's lane, by digest: it cannot know the payment yet."""
    digest = statement_view.lane_digest(statements)
    heard = (e for e in events if e.event == "lane_heard" and e.fields.get("lane"))
    return [event for event in heard if digest.startswith(event.fields["lane"])][:1]


def _headline(result: DemoResult) -> str:
    good, all_of_them = sum(journey.ok for journey in result.journeys), len(result.journeys)
    if good == all_of_them:
        but = "" if result.clean else ", but the audit is not clean"
        return f"All {all_of_them} journeys ended as they must{but}"
    return f"{all_of_them - good} of {all_of_them} journeys did not end as they must"


def _audit_text(result: DemoResult) -> str:
    if not result.audit:
        return "Audit did not run"
    count = len(result.findings)
    return f"Audit: {count} findings" if count else "Audit clean"


def _sentence(payment: Mapping[str, Any]) -> str:
    currency = payment["amount"]["currency"]
    asked = _money(payment["amount"]["value"], currency)
    text = (
        f"{payment['merchant']['name']}, {payment['lane']}, asked for {asked}: {payment['status']}"
    )
    if payment["captured_minor"]:
        text += f", {_money(payment['captured_minor'], currency)} taken"
        released = payment["authorized_minor"] - payment["captured_minor"]
        text += f", {_money(released, currency)} released" if released else ""
    else:
        text += ", nothing taken"
    return text + "."


def _money(minor: int, currency: str) -> str:
    return f"{format_minor(minor, currency)} {currency}"
