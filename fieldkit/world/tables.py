"""What came of the scenarios, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.table import Table

from fieldkit.world.summary import WRONG_TARGET, Summary
from fieldkit.world.tally import Outcome, Tally, Truth
from fieldkit.world.trial import POLICIES, SHARED, SWEPT, Result
from payment_device.sightings import LaneRules

TRUTHS = {
    Truth.JACK: "a car with a jack",
    Truth.CAR_WITHOUT: "a car without",
    Truth.NOBODY: "nobody",
}


def tables(results: Sequence[Result], summary: Summary) -> Group:
    """Scenarios, confusion matrix and margins, one below the other."""
    parts = [_scenarios(results, summary), _matrix(summary.by_policy)]
    if summary.margins and summary.margins[0].asked:
        parts.append(_margins(summary))
    return Group(*parts)


def _table(title: str, caption: str) -> Table:
    return Table(
        box=None,
        header_style="dim",
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
    )


def _scenarios(results: Sequence[Result], summary: Summary) -> Table:
    margin_db = LaneRules().margin_db
    table = _table(
        f"Wrong car chosen, share of all questions (margin {margin_db:g} dB)",
        "Right and ambiguous: of the customers with a jack, with shared hearing.\n"
        "Seconds: from the question to a right choice, half and 95 % of them.",
    )
    table.add_column("scenario", no_wrap=True)
    for heading in ("asked", *POLICIES, "right", "ambiguous", "50 %", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(*_scenario_row(result.scenario.title, result.tallies))
    if len(results) > 1:
        table.add_section()
        table.add_row(*_scenario_row("all of them", summary.by_policy), style="bold")
    return table


def _scenario_row(title: str, tallies: Mapping[str, Tally]) -> list[str]:
    shared = tallies[SHARED]
    return [
        title,
        f"{shared.questions}",
        *(percent(tallies[policy].share(Outcome.WRONG)) for policy in POLICIES),
        percent(shared.share(Outcome.RIGHT, Truth.JACK)),
        percent(shared.share(Outcome.AMBIGUOUS, Truth.JACK)),
        seconds(shared.decided_at(50)),
        seconds(shared.decided_at(95)),
    ]


def _matrix(by_policy: Mapping[str, Tally]) -> Table:
    table = _table("What the till is told", "")
    table.add_column("by", no_wrap=True)
    table.add_column("who stands there", no_wrap=True)
    for outcome in Outcome:
        table.add_column(f"{outcome.value} jack" if outcome.value in _JACKS else outcome.value)
        table.columns[-1].justify = "right"
    for policy in POLICIES:
        tally = by_policy[policy]
        for number, truth in enumerate(truth for truth in Truth if tally.asked(truth)):
            cells = (str(tally.matrix[truth, outcome] or "·") for outcome in Outcome)
            table.add_row("" if number else policy, TRUTHS[truth], *cells)
    return table


_JACKS = {"right", "wrong"}


def _margins(summary: Summary) -> Table:
    table = _table(
        "By margin, where nobody attacks",
        f"Wrong: other cars chosen for customers with a jack; at most: with 95 % confidence.\n"
        f"{told_margin(summary)}",
    )
    table.add_column("by", no_wrap=True)
    for heading in ("margin", "wrong", "share", "at most", "right", "ambiguous", "without a jack"):
        table.add_column(heading, justify="right", no_wrap=True)
    for policy in SWEPT:
        for number, row in enumerate(summary.of(policy)):
            table.add_row(
                "" if number else policy,
                f"{row.margin_db:g} dB",
                f"{row.wrong} of {row.asked}",
                percent(row.wrong_share),
                percent(row.wrong_at_most),
                percent(row.right),
                percent(row.ambiguous),
                percent(row.wrong_without_share),
                style="bold" if row.is_default else None,
            )
    return table


def told_margin(summary: Summary) -> str:
    """The sentence that says which margin the figures ask for."""
    found = {policy: summary.least_margin_db(policy) for policy in SWEPT}
    told = ", ".join(
        f"{policy} {'none of these' if margin_db is None else f'{margin_db:g} dB'}"
        for policy, margin_db in found.items()
    )
    return (
        f"The least margin with at most {percent(WRONG_TARGET)} wrong: {told}. "
        f"The default is {LaneRules().margin_db:g} dB."
    )


def percent(share: float) -> str:
    """A share from 0 to 1; small ones with the digits that matter."""
    if 0 < share < 0.0995:
        return f"{share:.2%}" if share < 0.00995 else f"{share:.1%}"
    return f"{share:.0%}"


def seconds(value: float | None) -> str:
    """To a tenth; a dash if there is none."""
    return "–" if value is None else f"{value:.1f} s"
