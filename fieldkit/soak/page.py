"""soak-report.html: one file, without a script and with nothing from any host."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from fieldkit.bench.quantiles import summary
from fieldkit.soak import plots
from fieldkit.soak.growth import WARM_UP_S, Growth
from fieldkit.soak.soak import Outcome

_TEMPLATES: Final = Path(__file__).parents[1] / "templates"
_S_PER_HOUR: Final = 3600


def render(outcome: Outcome) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
    )
    environment.filters["ms"] = lambda took_ms: "–" if took_ms is None else f"{took_ms:.0f} ms"
    problems = outcome.problems
    return environment.get_template("soak.html.j2").render(
        headline=_headline(outcome, len(problems)),
        outcome=outcome,
        problems=problems,
        made_at=datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        version=version("cigarjack"),
        lasted=told_s(outcome.lasted_s),
        statuses=sorted(Counter(paid.status for paid in outcome.paid).items()),
        faults=sorted(Counter(fault["name"] for fault in outcome.faults).items()),
        took_ms=summary([paid.took_ms for paid in outcome.paid if paid.status == "captured"]),
        agents=[_row(outcome, agent) for agent in outcome.samples.agents],
        warm_up_minutes=round(WARM_UP_S / 60),
        pictures={
            "rss": plots.held(outcome.samples, "RSS, MiB", lambda sample: sample.rss_mib),
            "pss": plots.held(outcome.samples, "PSS, MiB", lambda sample: sample.pss_mib),
            "descriptors": plots.held(outcome.samples, "descriptors", lambda s: s.descriptors),
            "latencies": plots.latencies(outcome),
        },
    )


def _headline(outcome: Outcome, problems: int) -> str:
    lasted = told_s(outcome.lasted_s)
    if problems:
        return f"{problems} problem{'s' if problems > 1 else ''} in {lasted}"
    return f"All well for {lasted}"


def told_s(lasted_s: float) -> str:
    """A time as people say it."""
    if lasted_s < _S_PER_HOUR:
        return f"{lasted_s / 60:.1f} minutes"
    return f"{lasted_s / _S_PER_HOUR:.1f} hours"


def _row(outcome: Outcome, agent: str) -> dict[str, object]:
    samples = outcome.samples.of(agent)
    return {
        "name": agent,
        "starts": len({sample.process for sample in samples}),
        "first_mib": samples[0].rss_mib,
        "last_mib": samples[-1].rss_mib,
        "most_mib": max(sample.rss_mib for sample in samples),
        "memory": told_growth(outcome.memory(agent)),
        "descriptors": told_growth(outcome.descriptors(agent)),
        "most_descriptors": max(sample.descriptors for sample in samples),
    }


def told_growth(grown: Growth) -> str:
    """The interval and what follows of it."""
    if grown.low is None or grown.high is None:
        return "too short to tell"
    return f"{grown.low:+.2f} to {grown.high:+.2f} ({grown.verdict})"
