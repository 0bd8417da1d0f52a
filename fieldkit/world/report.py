"""world-report.html: one file with the figures and pictures of ``fieldkit world``.

No script and nothing from any host (a Content-Security-Policy in the file holds it to that); dark,
light, printed, and on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from fieldkit.world import plots
from fieldkit.world.summary import WRONG_TARGET, Summary
from fieldkit.world.tables import TRUTHS, percent, seconds, told_margin
from fieldkit.world.tally import Culprit, Outcome, Tally, Truth
from fieldkit.world.trial import ALONE, AVERAGE, FACTORY, LAST, POLICIES, SHARED, SWEPT, Result
from payment_device.sightings import LaneRules

_TEMPLATES: Final = Path(__file__).parents[1] / "templates"
_CULPRITS: Final = {
    Culprit.SAME_LANE: "another car of the same lane",
    Culprit.OTHER_LANE: "a car of another lane",
    Culprit.BYSTANDER: "a parked or passing car",
    Culprit.REPLAYED: "a code replayed from elsewhere, which presence refuses",
    Culprit.RELAYED: "a code replayed while its car stood at the next lane",
}


@dataclass(frozen=True, slots=True)
class About:
    """When and how it ran, as text."""

    made_at: str
    took_s: str
    seed: str
    version: str


@dataclass(frozen=True, slots=True)
class _Place:
    """One scenario as the template shows it; pictures are SVG."""

    result: Result
    outcomes: str
    leads: str | None
    trace: str | None
    site: str

    @property
    def shared(self) -> Tally:
        return self.result.tallies[SHARED]

    @property
    def facts(self) -> list[str]:
        scenario = self.result.scenario
        listening = sum(not lane.arrivals_s for lane in scenario.lanes)
        lanes = len(scenario.lanes) - listening
        return [
            f"{lanes} lane{'s' if lanes > 1 else ''}",
            *([f"{listening} listening post{'s' if listening > 1 else ''}"] if listening else []),
            f"{self.result.cars} cars",
            f"{scenario.duration_s / 60:.0f} minutes",
            f"{self.result.adverts:,} adverts heard",
            f"{self.shared.questions} questions",
            f"seed {self.result.seed}",
        ]

    @property
    def culprits(self) -> list[str]:
        """Whose jack was chosen when the choice was wrong, with shared hearing."""
        return [
            f"{number} × {_CULPRITS[culprit]}"
            for culprit, number in sorted(self.shared.culprits.items())
        ]


def render(results: Sequence[Result], summary: Summary, about: About) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": percent, "seconds": seconds}
    return environment.get_template("world.html.j2").render(
        headline=_headline(summary),
        lead=_lead(summary),
        about=about,
        summary=summary,
        places=[_place(result) for result in results],
        pictures=_pictures(summary),
        told_margin=told_margin(summary),
        margin_db=LaneRules().margin_db,
        wrong_target=WRONG_TARGET,
        policies=POLICIES,
        minor={FACTORY},
        swept=SWEPT,
        truths=TRUTHS,
        outcomes=list(Outcome),
        Truth=Truth,
        Outcome=Outcome,
    )


def _headline(summary: Summary) -> str:
    shared = summary.by_policy[SHARED]
    if not shared.wrong:
        return f"No wrong car in {shared.questions} questions"
    return f"The wrong car in {shared.wrong} of {shared.questions} questions"


def _lead(summary: Summary) -> str:
    """What the usual ways and one lane by itself would have come to."""
    counts = {policy: summary.by_policy[policy].wrong for policy in (LAST, AVERAGE, ALONE)}
    shared = summary.by_policy[SHARED]
    with_jack = shared.of(Outcome.WRONG, Truth.JACK)
    told = f"{with_jack or 'None'} of them while a customer with a jack stood there. "
    return (
        f"{told if shared.wrong else ''}The strongest "
        f"last advert would have chosen a wrong one {counts[LAST]} times, a plain average with a "
        f"threshold {counts[AVERAGE]} times, and lanes that do not share what they hear "
        f"{counts[ALONE]} times."
    )


def _pictures(summary: Summary) -> dict[str, str]:
    pictures = {
        "outcomes": plots.outcomes(summary.by_policy, "all"),
        "times": plots.decision_times(summary.by_policy, "times"),
    }
    if summary.margins and summary.margins[0].asked:
        pictures |= {"margins": plots.margins(summary), "price": plots.price(summary)}
    return pictures


def _place(result: Result) -> _Place:
    return _Place(
        result,
        plots.outcomes(result.tallies, f"outcomes-{result.scenario.name}"),
        plots.leads(result) if result.leads_db else None,
        plots.trace(result) if result.glimpses else None,
        plots.site(result),
    )
